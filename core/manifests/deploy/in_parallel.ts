// Work on many objects with a bound on how many requests are under way.

/** How many requests one file may have under way. */
export const PARALLEL_REQUESTS = 8;

/** Calls `work` for each item, at most `limit` at a time; rejects with the first failure, after which no new item is begun. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  let isFailed = false;
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (isFailed) return;
      try {
        await work(item);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  // All workers are waited for: nobody writes any more once this settles.
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
