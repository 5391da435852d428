// One world for all tests of a file: made before the first, removed after the last, each test in a namespace of its own.
import { startWorld, type World, worldKind, type WorldOptions } from "./world.ts";
import type { WorldKind } from "./world_api.ts";
import type { TestNamespace } from "./world_objects.ts";

/** What a test gets. */
export interface WorldTest {
  readonly world: World;
  /** A namespace of this test alone. */
  readonly ns: TestNamespace;
}

/** How one test differs from the others. */
export interface WorldTestOptions {
  /** Only in this kind of world, because of `reason`. Real nodes have a real control plane too. */
  readonly only?: { readonly kind: WorldKind; readonly reason: string };
  /** Why this machine can't run it; absent if it can. */
  readonly skip?: string;
}

/** Registers tests that share one world. */
export type RegisterWorldTest = (
  name: string,
  fn: (test: WorldTest) => Promise<void>,
  options?: WorldTestOptions,
) => void;

/** Says that a file's tests share one world; the returned function registers them. */
export function worldSuite(options: WorldOptions = {}): RegisterWorldTest {
  let world: World | undefined;
  let broken: unknown;
  let isNeeded = false;
  Deno.test.beforeAll(async () => {
    if (!isNeeded) return;
    try {
      world = await startWorld(options);
    } catch (error) {
      // Thrown here it would name no test: every test fails with it instead.
      broken = error;
    }
  });
  Deno.test.afterAll(async () => {
    await world?.stop();
  });
  return (name, fn, { only, skip } = {}) => {
    const kind = worldKind();
    const fits = only === undefined || only.kind === kind || (only.kind === "real" && kind === "nodes");
    const reason = fits ? skip : only.reason;
    isNeeded ||= reason === undefined;
    Deno.test({
      name: reason === undefined ? name : `${name} (skipped: ${reason})`,
      ignore: reason !== undefined,
      // Kubelets' watches and the programs of the world live on from test to test.
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        if (world === undefined) throw broken;
        const ns = await world.namespace("test");
        await fn({ world, ns });
      },
    });
  };
}
