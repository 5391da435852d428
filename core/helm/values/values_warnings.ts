// Warnings about what a chart and its config say in vain: each is said once for each text of it.
import { createHash } from "node:crypto";
import type { EventRecorder } from "../../kube/events.ts";
import { referenceTo } from "../../kube/events.ts";
import { isK3slbError } from "../../shared/errors.ts";
import { parseYaml } from "../../shared/yaml.ts";
import { chartFiles } from "../releases/chart_archive.ts";
import { chartValues } from "./chart_values.ts";
import { chartWarnings } from "../releases/check_chart.ts";
import type { HelmChart, HelmChartConfig } from "../helm_chart.ts";
import { unknownValues } from "./unknown_values.ts";

const MAX_NAMED = 5;

/** Says warnings as Events on the chart. */
export class ValuesWarnings {
  readonly #events: Pick<EventRecorder, "record">;
  /** Hash of what was looked at last, by the chart's uid. */
  readonly #seen = new Map<string, string>();

  constructor(events: Pick<EventRecorder, "record">) {
    this.#events = events;
  }

  /** Looks at chart and config if they have changed. */
  say(chart: HelmChart, config: HelmChartConfig | undefined): void {
    const uid = chart.metadata?.uid ?? "";
    const now = createHash("sha256").update(JSON.stringify([chart.spec, config?.spec])).digest("hex");
    if (this.#seen.get(uid) === now) return;
    this.#seen.set(uid, now);
    const reference = referenceTo({ apiVersion: "helm.cattle.io/v1", kind: "HelmChart", ...chart });
    for (const message of chartWarnings(chart, config)) {
      this.#events.record(reference, { type: "Warning", reason: "IneffectiveSetting", message });
    }
    const message = unknownValuesMessage(chart, config);
    if (message !== undefined) this.#events.record(reference, { type: "Warning", reason: "UnknownValues", message });
  }
}

/** One sentence about values that the chart does not know; `undefined` if there are none or the chart is not at hand. */
export function unknownValuesMessage(chart: HelmChart, config: HelmChartConfig | undefined): string | undefined {
  const content = chart.spec?.chartContent;
  if (!content) return undefined;
  const files = chartFiles(content);
  const known = chartValues(files, ["Chart.yaml", "requirements.yaml"].map((name) => parsed(files.get(name))));
  if (known === undefined) return undefined;
  const defaults = parsed(files.get("values.yaml"));
  const texts = [
    ["HelmChart", parsed(chart.spec?.valuesContent)],
    ["HelmChart", chart.spec?.values],
    ["HelmChartConfig", parsed(config?.spec?.valuesContent)],
    ["HelmChartConfig", config?.spec?.values],
  ] as const;
  const found = texts.flatMap(([kind, values]) =>
    unknownValues(values, { defaults, chart: known }).map(({ path, nearest }) =>
      `"${path}" (${kind}${nearest === undefined ? "" : `; did you mean "${nearest}"?`})`
    )
  );
  if (found.length === 0) return undefined;
  const more = found.length > MAX_NAMED ? ` and ${found.length - MAX_NAMED} more` : "";
  return `The chart's values.yaml does not have ${
    found.slice(0, MAX_NAMED).join(", ")
  }${more}; they may have no effect`;
}

/** A text that can't be read is helm's to complain about. */
function parsed(text: string | undefined): unknown {
  try {
    return text === undefined ? undefined : parseYaml(text);
  } catch (error) {
    if (isK3slbError(error, "yaml-invalid")) return undefined;
    throw error;
  }
}
