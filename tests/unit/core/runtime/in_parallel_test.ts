// Work beside work: never more at a time than the bound, results in their order, and what happens when one fails.
import assert from "node:assert/strict";
import { inParallel } from "../../../../core/runtime/in_parallel.ts";

/** Tasks that end when they are told to, and which of them have been started. */
function heldTasks(count: number): {
  readonly tasks: readonly (() => Promise<number>)[];
  readonly started: readonly number[];
  readonly ends: readonly PromiseWithResolvers<number>[];
} {
  const started: number[] = [];
  const ends = Array.from({ length: count }, () => Promise.withResolvers<number>());
  const tasks = ends.map(({ promise }, index) => () => {
    started.push(index);
    return promise;
  });
  return { tasks, started, ends };
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

Deno.test("inParallel: as many at a time as the bound, results in the order of the items", async () => {
  const { tasks, started, ends } = heldTasks(4);
  const results = inParallel(tasks, 2, (task) => task());
  assert.deepEqual(started, [0, 1]);
  ends[1]?.resolve(1);
  await turn();
  assert.deepEqual(started, [0, 1, 2]);
  for (const [index, { resolve }] of ends.entries()) resolve(index);
  assert.deepEqual(await results, [0, 1, 2, 3]);
  assert.deepEqual(await inParallel([], 2, () => Promise.resolve(1)), []);
});

Deno.test("inParallel: after a failure nothing is started, what runs is waited for, and the failure is thrown", async () => {
  const { tasks, started, ends } = heldTasks(4);
  const results = inParallel(tasks, 2, (task) => task());
  let isOver = false;
  const thrown = assert.rejects(results, /no room/).finally(() => isOver = true);
  ends[0]?.reject(new Error("no room"));
  await turn();
  assert.equal(isOver, false);
  ends[1]?.resolve(1);
  await thrown;
  assert.deepEqual(started, [0, 1]);
});
