// How many requests each user made, by verb and resource: what the real server's audit log is counted for.
import type { RequestInfo } from "./faults.ts";

/** One line of the count. */
export interface RequestCount {
  readonly user: string;
  readonly verb: string;
  readonly resource: string;
  readonly count: number;
}

/** What to count; absent fields match everything. */
export type RequestFilter = Partial<Pick<RequestInfo, "user" | "verb" | "resource">>;

/** Counts of one server since its start or the last reset. */
export class RequestCounts {
  #lines = new Map<
    string,
    { readonly user: string; readonly verb: string; readonly resource: string; count: number }
  >();

  /** Counts one request. */
  add(request: Pick<RequestInfo, "user" | "verb" | "resource">): void {
    const { user, verb, resource } = request;
    const key = `${user} ${verb} ${resource}`;
    const line = this.#lines.get(key);
    if (line === undefined) this.#lines.set(key, { user, verb, resource, count: 1 });
    else line.count++;
  }

  /** Sum of the lines that match. */
  count(filter: RequestFilter = {}): number {
    return this.list(filter).reduce((sum, line) => sum + line.count, 0);
  }

  /** The lines that match. */
  list(filter: RequestFilter = {}): RequestCount[] {
    return [...this.#lines.values()].filter((line) =>
      (filter.user ?? line.user) === line.user && (filter.verb ?? line.verb) === line.verb &&
      (filter.resource ?? line.resource) === line.resource
    ).map((line) => ({ ...line }));
  }

  /** Starts anew. */
  reset(): void {
    this.#lines.clear();
  }
}
