// A list in pages that can be read, however large its objects are: whoever may create objects decides how large they are.
// Facts: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks.
import { isK3slbError } from "../shared/errors.ts";
import type { ListOptions } from "./contract.ts";
import type { PathQuery } from "./request_path.ts";

/** One page as the server sends it. */
export interface ListPage<T> {
  readonly items?: readonly T[] | null;
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
}

/**
 * Asks for page after page, in smaller ones if one is too large, and gives `take` each item. Returns the list's resource version.
 *
 * @param ask Gets one page; throws a {@linkcode K3slbError} with code "kube-answer-too-large" if it is.
 */
export async function listPages<T>(
  ask: (query: PathQuery) => Promise<ListPage<T>>,
  options: Pick<ListOptions, "labelSelector" | "fieldSelector" | "pageSize" | "resourceVersion">,
  take: (item: T) => void,
): Promise<string> {
  const { labelSelector, fieldSelector, pageSize: limit = DEFAULT_PAGE_SIZE } = options;
  const position = { limit, resourceVersion: options.resourceVersion, token: "" };
  for (;;) {
    const page = await readablePage(ask, { labelSelector, fieldSelector, position });
    for (const item of page.items ?? []) take(item);
    position.token = page.metadata?.continue ?? "";
    if (position.token === "") return page.metadata?.resourceVersion ?? "";
  }
}

interface Selectors {
  readonly labelSelector: string | undefined;
  readonly fieldSelector: string | undefined;
}

interface Position {
  limit: number;
  resourceVersion: string | undefined;
  /** Where the next page begins; empty: at the start. */
  token: string;
}

async function readablePage<T>(
  ask: (query: PathQuery) => Promise<ListPage<T>>,
  { position, labelSelector, fieldSelector }: Selectors & { readonly position: Position },
): Promise<ListPage<T>> {
  for (;;) {
    const { limit, resourceVersion, token } = position;
    // A token carries the point in time; giving both is an error.
    const start = token === "" ? { resourceVersion } : { continue: token };
    try {
      return await ask({ labelSelector, fieldSelector, ...start, limit: String(limit) });
    } catch (error) {
      if (!isK3slbError(error, "kube-answer-too-large")) throw error;
      // The answer from the server's cache is whole, whatever the limit says.
      if (resourceVersion === "0") position.resourceVersion = undefined;
      else if (limit === 1) throw error;
      else position.limit = Math.ceil(limit / PAGE_DIVISOR);
    }
  }
}

const DEFAULT_PAGE_SIZE = 500;
const PAGE_DIVISOR = 8;
