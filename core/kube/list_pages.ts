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
  const { labelSelector, fieldSelector } = options;
  let { pageSize: limit = DEFAULT_PAGE_SIZE, resourceVersion } = options;
  let token = "";
  for (;;) {
    // A token carries the point in time; giving both is an error.
    const start = token === "" ? { resourceVersion } : { continue: token };
    let page: ListPage<T>;
    try {
      page = await ask({ labelSelector, fieldSelector, ...start, limit: String(limit) });
    } catch (error) {
      if (!isK3slbError(error, "kube-answer-too-large")) throw error;
      // The answer from the server's cache is whole, whatever the limit says.
      if (resourceVersion === "0") resourceVersion = undefined;
      else if (limit === 1) throw error;
      else limit = Math.ceil(limit / PAGE_DIVISOR);
      continue;
    }
    for (const item of page.items ?? []) take(item);
    token = page.metadata?.continue ?? "";
    if (token === "") return page.metadata?.resourceVersion ?? "";
  }
}

const DEFAULT_PAGE_SIZE = 500;
const PAGE_DIVISOR = 8;
