// Faults on order, for tests of clients against bad servers: which requests, how often, and what goes wrong.

/** What identifies a request. */
export interface RequestInfo {
  readonly user: string;
  readonly verb: string;
  /** Plural name with the subresource, such as `pods/status`; the path for what is no resource. */
  readonly resource: string;
  readonly path: string;
}

/** What goes wrong. */
export type FaultEffect =
  /** The answer comes later. */
  | { readonly type: "delay"; readonly ms: number }
  /** A Status with this code instead of an answer. */
  | { readonly type: "status"; readonly code: number; readonly reason: string; readonly retryAfterSeconds?: number }
  /** The connection closes without an answer. */
  | { readonly type: "close" }
  /** Half of the body, then the connection closes. */
  | { readonly type: "half-answer" }
  /** Never an answer, the connection stays open. */
  | { readonly type: "hang" }
  /** 403 with the server's words. */
  | { readonly type: "forbid" }
  /** 410: as an answer to a list, as an event of a watch. */
  | { readonly type: "expire" };

/** One order. */
export interface Fault {
  readonly effect: FaultEffect;
  readonly user?: string;
  readonly verb?: string;
  readonly resource?: string;
  /** How many requests; all until removed if absent. */
  readonly times?: number;
  /** Called for each request that it hits. */
  readonly onUse?: () => void;
}

interface Order extends Fault {
  left: number;
}

/** The orders of one server. */
export class Faults {
  #orders: Order[] = [];

  /** Adds an order; the returned function takes it back. Earlier orders come first. */
  add(fault: Fault): () => void {
    const order: Order = { ...fault, left: fault.times ?? Infinity };
    this.#orders.push(order);
    return () => void (this.#orders = this.#orders.filter((it) => it !== order));
  }

  /** Takes all orders back. */
  clear(): void {
    this.#orders = [];
  }

  /** The effect for a request, which counts as one use; nothing if all is well. */
  take(request: RequestInfo): FaultEffect | undefined {
    const order = this.#orders.find((it) =>
      it.left > 0 && (it.user ?? request.user) === request.user && (it.verb ?? request.verb) === request.verb &&
      (it.resource ?? request.resource) === request.resource
    );
    if (order === undefined) return undefined;
    order.left--;
    order.onUse?.();
    return order.effect;
  }
}
