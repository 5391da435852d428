// Values that a chart does not know, which helm takes without a word, and the known path that was probably meant. Pure.
// Facts: helm merges the user's mapping over the chart's values.yaml; `global` is always open; a key whose default is empty or absent
// takes anything. What else the chart takes is in chart_values.ts.
import type { ChartValues } from "./chart_values.ts";

/** One unknown key. */
export interface UnknownValue {
  /** With dots, as in `service.externalTrafficPolicy`. */
  readonly path: string;
  /** The known path that is nearest; `undefined` if nothing is near. */
  readonly nearest: string | undefined;
}

type Mapping = Readonly<Record<string, unknown>>;

/** Keys of `values` that are not in `defaults`, the chart's values.yaml, of which only the outermost is told. */
export function unknownValues(values: unknown, { defaults, chart }: {
  readonly defaults: unknown;
  readonly chart: ChartValues;
}): readonly UnknownValue[] {
  if (!isMapping(values) || !isMapping(defaults) || Object.keys(defaults).length === 0) return [];
  const known = knownPaths(defaults);
  const knownKeys = new Set(known.map((path) => path.at(-1)));
  return unknownPaths(values, { defaults, chart, path: [] })
    .filter((path) => !chart.isRead(path, knownKeys.has(path.at(-1))))
    .map((path) => ({ path: path.join("."), nearest: nearestPath(path, known) }));
}

function unknownPaths(
  values: Mapping,
  { defaults, chart, path }: {
    readonly defaults: Mapping;
    readonly chart: ChartValues;
    readonly path: readonly string[];
  },
): readonly (readonly string[])[] {
  return Object.entries(values).flatMap(([key, value]) => {
    if (path.length === 0 && (key === "global" || chart.open.includes(key))) return [];
    const here = [...path, key];
    if (!(key in defaults)) return [here];
    const inner = defaults[key];
    if (!isMapping(value) || !isMapping(inner) || Object.keys(inner).length === 0 || chart.isOpen(here)) return [];
    return unknownPaths(value, { defaults: inner, chart, path: here });
  });
}

function knownPaths(defaults: Mapping, path: readonly string[] = []): readonly (readonly string[])[] {
  return Object.entries(defaults).flatMap(([key, value]) => {
    const here = [...path, key];
    return [here, ...(isMapping(value) ? knownPaths(value, here) : [])];
  });
}

/** Same last key elsewhere first, then the fewest changed characters, at most a third of them. */
function nearestPath(path: readonly string[], known: readonly (readonly string[])[]): string | undefined {
  const last = path.at(-1) ?? "";
  const text = path.join(".");
  const ranked = known.map((candidate) => {
    const isMoved = candidate.at(-1) === last;
    const isSibling = candidate.length === path.length && candidate.slice(0, -1).join() === path.slice(0, -1).join();
    const distance = isSibling ? editDistance(candidate.at(-1) ?? "", last) : editDistance(candidate.join("."), text);
    const limit = Math.ceil((isSibling ? last : text).length / 3);
    return {
      candidate: candidate.join("."),
      distance: isMoved ? distance / 1000 : distance,
      isNear: isMoved || distance <= limit,
    };
  });
  return ranked.filter(({ isNear }) => isNear).toSorted((a, b) => a.distance - b.distance)[0]?.candidate;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
