// Finds Maps and Sets that grow: those that a program makes while it starts are kept in sight, with the line of the source that made each. What
// is made later is reached from one of them, or forgotten by itself.

import { fileURLToPath } from "node:url";

/** Maps and Sets that are kept in sight. */
export interface LivingCollections {
  /** From now on nothing new is taken into sight. */
  settle(): void;
  /** Entries of the largest that each line made, by `core/…ts:LINE`; without those that are empty. */
  sizes(): ReadonlyMap<string, number>;
}

/** Keeps in sight what product code makes from now on. */
export function watchCollections(): LivingCollections {
  const originals = { Map: globalThis.Map, Set: globalThis.Set };
  const known: { readonly line: string; readonly collection: { readonly size: number } }[] = [];
  const watched = <T extends MapConstructor | SetConstructor>(original: T): T =>
    new Proxy(original, {
      construct: function construct(target, args, newTarget): { readonly size: number } {
        const collection: { readonly size: number } = Reflect.construct(target, args, newTarget);
        const line = PRODUCT_LINE_REGEXP.exec(lineCalling(construct))?.[1];
        if (line !== undefined) known.push({ line, collection });
        return collection;
      },
    });
  globalThis.Map = watched(originals.Map);
  globalThis.Set = watched(originals.Set);
  return {
    settle: () => void Object.assign(globalThis, originals),
    sizes: () => {
      const sizes = new Map<string, number>();
      for (const { line, collection } of known) {
        if (collection.size > (sizes.get(line) ?? 0)) sizes.set(line, collection.size);
      }
      return sizes;
    },
  };
}

/** Where `callee` was called. Each line of a stack costs a look into source maps: one is enough. */
function lineCalling(callee: (...args: never[]) => unknown): string {
  const limit = Error.stackTraceLimit;
  const seen: { stack?: string } = {};
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(seen, callee);
  Error.stackTraceLimit = limit;
  return seen.stack ?? "";
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PRODUCT_LINE_REGEXP = new RegExp(`${RegExp.escape(ROOT)}((?:core|node_agent)/[^\\s():]+:\\d+)`);
