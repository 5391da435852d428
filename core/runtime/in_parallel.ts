// Work of one kind beside each other, with a bound on how much is under way.

/**
 * Calls `work` for each of `items` in their order, at most `limit` at a time, and returns the results in that order. After the first failure none
 * is begun any more, and those that run are waited for: nobody works any more once this settles.
 * @throws what the first failure throws
 */
export async function inParallel<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  let isFailed = false;
  const worker = async (): Promise<void> => {
    for (const [index, item] of waiting) {
      if (isFailed) return;
      try {
        results[index] = await work(item);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  for (const end of await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker))) {
    if (end.status === "rejected") throw end.reason;
  }
  return results;
}
