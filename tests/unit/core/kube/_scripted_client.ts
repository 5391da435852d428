// A KubeClient whose calls are answered by functions of the test; what is not given fails the test.
import type { KubeClient, WatchEvent } from "../../../../core/kube/contract.ts";

/** A client that has only the given methods. */
export function scriptedClient(methods: Partial<Record<keyof KubeClient, unknown>>): KubeClient {
  const missing = (name: string) => () => {
    throw new TypeError(`The test does not expect ${name}`);
  };
  const names = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "apply",
    "patch",
    "delete",
    "discover",
    "apiVersions",
    "raw",
  ];
  return {
    ...Object.fromEntries(names.map((name) => [name, missing(name)])),
    close: () => {},
    ...methods,
  } as unknown as KubeClient;
}

/** Events that a test sends while the reader waits. */
export class EventChannel<T> implements AsyncIterable<WatchEvent<T>> {
  readonly #queue: (WatchEvent<T> | Error | "end")[] = [];
  #wake: (() => void) | undefined;

  send(...items: (WatchEvent<T> | Error | "end")[]): void {
    this.#queue.push(...items);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent<T>, void, undefined> {
    for (;;) {
      const item = this.#queue.shift();
      if (item === undefined) await new Promise<void>((resolve) => this.#wake = resolve);
      else if (item === "end") return;
      else if (item instanceof Error) throw item;
      else yield item;
    }
  }
}
