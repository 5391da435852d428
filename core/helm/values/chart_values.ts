// What a chart's files say of the values that it takes, beyond its values.yaml. Pure. In doubt a value is taken: a warning about
// one that works is worse than none.
// Facts: helm's Chart.yaml and requirements.yaml (names, aliases, conditions, tags, import-values of dependencies); templates read values as
// `.Values.a.b`, inside `with` and `range` as `.b`, by name as `"b"`, and hand mappings on as a whole with `toYaml`.

/** What is known of a chart's values. */
export interface ChartValues {
  /** Top-level keys that take anything. */
  readonly open: readonly string[];
  /** Whether something in the chart reads `path`, a value that has no default; `isMoved` if another path ends with the same key. */
  isRead(path: readonly string[], isMoved: boolean): boolean;
  /** Whether the mapping at `path` takes keys that have no default. */
  isOpen(path: readonly string[]): boolean;
}

/** Mappings that charts hand to Kubernetes as they are. */
const HANDED_ON_REGEXP =
  /(?:annotations|labels|selector|affinity|tolerations|resources|securityContext|probe|strategy|env|environment|config|configMap|data|limits|requests|args|arguments)$|^extra|^additional/i;
/** How far behind `with` its `toYaml .` is looked for. */
const NEAR_CHARACTERS = 300;

/** Reads a chart's files; `chartYaml` is its Chart.yaml, or requirements.yaml of old charts, as values. `undefined` if nothing can be said. */
export function chartValues(
  files: ReadonlyMap<string, string>,
  chartYaml: readonly unknown[],
): ChartValues | undefined {
  const dependencies = chartYaml.flatMap((one) => list(field(one, "dependencies")));
  // Values of a dependency become the chart's own, which only the dependency's files could tell.
  if (dependencies.some((one) => list(field(one, "import-values")).length > 0)) return undefined;
  const names = dependencies.flatMap((one) => [text(field(one, "alias")) || text(field(one, "name"))]);
  const conditions = dependencies.flatMap((one) => text(field(one, "condition")).split(","))
    .map((path) => path.trim().split(".", 1)[0] ?? "");
  const packed = [...files.keys()].flatMap((path) => /^charts\/([^/]+?)(?:-v?\d[^/]*\.tgz$|\/)/.exec(path)?.[1] ?? []);
  const templates = [...files].flatMap(([path, content]) => path.startsWith("templates/") ? [content] : []).join("\n");
  const readable = `${templates}\n${files.get("values.schema.json") ?? ""}`;
  return {
    open: ["tags", ...names, ...conditions, ...packed],
    isRead: (path, isMoved) => {
      const key = escaped(path.at(-1) ?? "");
      const parent = escaped(path.at(-2) ?? "Values");
      if (new RegExp(`\\b${parent}\\.${key}\\b`).test(readable)) return true;
      return !isMoved && new RegExp(`\\.${key}\\b|"${key}"`).test(readable);
    },
    isOpen: (path) => {
      const last = path.at(-1) ?? "";
      if (HANDED_ON_REGEXP.test(last)) return true;
      const name = `\\.${escaped(last)}(?![\\w.-])`;
      const whole = `to(?:Yaml|Json)[^}]*${name}|${name}[^}]*to(?:Yaml|Json)|\\brange\\b[^}]*${name}`;
      const inside =
        `\\bwith\\b[^}]*${name}[^}]*\\}\\}[^]{0,${NEAR_CHARACTERS}}?(?:to(?:Yaml|Json) \\$?\\.?[\\s|)]|\\. \\| to(?:Yaml|Json))`;
      return new RegExp(`${whole}|${inside}`).test(templates);
    },
  };
}

function escaped(text: string): string {
  return text.replaceAll(/\W/g, "\\$&");
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
