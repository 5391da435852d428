// Work that other programs do, as packing is, spread over this machine's processors.

/**
 * Runs `tasks` in their order, as many at a time as there are processors, and returns their results in that order. After the first failure
 * none is started any more, and those that run are waited for.
 * @throws what the first failed task throws
 */
export async function inParallel<T>(
  tasks: readonly (() => Promise<T>)[],
  processors: number = navigator.hardwareConcurrency,
): Promise<readonly T[]> {
  const results: T[] = [];
  const waiting = [...tasks.entries()];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, task] = next;
      try {
        results[index] = await task();
      } catch (error) {
        waiting.length = 0;
        throw error;
      }
    }
  };
  for (const end of await Promise.allSettled(Array.from({ length: processors }, work))) {
    if (end.status === "rejected") throw end.reason;
  }
  return results;
}
