// Charts as tests find them: folders or archives below a folder, by name and version.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseYaml, parseYamlDocuments } from "../../core/shared/yaml.ts";
import { runToEnd } from "../support/programs.ts";

/** One chart with all its files. */
export interface Chart {
  readonly name: string;
  readonly version: string;
  /** Its folder. */
  readonly path: string;
  /** Chart.yaml. */
  readonly meta: Readonly<Record<string, unknown>>;
  /** values.yaml. */
  readonly values: unknown;
  /** values.schema.json, if the chart has one. */
  readonly schema: unknown;
  /** The definitions in `crds`. */
  readonly definitions: readonly Definition[];
}

/** A CustomResourceDefinition as far as tests read it. */
export interface Definition {
  readonly metadata: { readonly name: string };
  readonly [field: string]: unknown;
}

/** `folder/name/Chart.yaml` in a folder of folders is as deep as charts are looked for. */
const MAX_DEPTH = 3;

/** Every chart below `folder`; archives are unpacked into `work`. */
export async function findCharts(folder: string, work: string): Promise<readonly Chart[]> {
  mkdirSync(work, { recursive: true });
  const found: Chart[] = [];
  const look = async (path: string, depth: number): Promise<void> => {
    if (existsSync(join(path, "Chart.yaml"))) {
      found.push(readChart(path));
      return;
    }
    for (const name of readdirSync(path).sort()) {
      const inner = join(path, name);
      if (statSync(inner).isDirectory()) {
        if (depth < MAX_DEPTH) await look(inner, depth + 1);
      } else if (name.endsWith(".tgz")) {
        const unpacked = mkdtempSync(join(work, "chart-"));
        await runToEnd(["tar", "-xzf", inner, "-C", unpacked]);
        await look(unpacked, MAX_DEPTH - 1);
      }
    }
  };
  await look(folder, 0);
  return found;
}

/** Runs `body` with the charts below `folder`. */
export async function withCharts<T>(folder: string, body: (charts: readonly Chart[]) => T | Promise<T>): Promise<T> {
  const work = mkdtempSync(join(tmpdir(), "charts-"));
  try {
    return await body(await findCharts(folder, work));
  } finally {
    rmSync(work, { recursive: true });
  }
}

/** The chart of this name and version. */
export function chartOf(charts: readonly Chart[], name: string, version: string): Chart | undefined {
  return charts.find((chart) => chart.name === name && chart.version === version);
}

function readChart(path: string): Chart {
  const meta = parseYaml(readFileSync(join(path, "Chart.yaml"), "utf8")) as Readonly<Record<string, unknown>>;
  const crds = join(path, "crds");
  const schema = join(path, "values.schema.json");
  const texts = existsSync(crds) ? readdirSync(crds).sort().map((file) => readFileSync(join(crds, file), "utf8")) : [];
  return {
    name: String(meta["name"]),
    version: String(meta["version"]),
    path,
    meta,
    values: parseYaml(readFileSync(join(path, "values.yaml"), "utf8")),
    schema: existsSync(schema) ? JSON.parse(readFileSync(schema, "utf8")) : undefined,
    definitions: texts.flatMap((text) => parseYamlDocuments(text).map(({ value }) => value)).filter(isDefinition),
  };
}

function isDefinition(value: unknown): value is Definition {
  return typeof value === "object" && value !== null && "kind" in value && value.kind === "CustomResourceDefinition";
}
