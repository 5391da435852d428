// Charts in `server/static/charts` of the data folder: a reference to the API server's static files is answered from there, as only
// K3s's own API server serves them. The chart then travels inline.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isNoSuchFile } from "../../shared/errors.ts";
import { chartsFolder } from "../../shared/k3s_names.ts";
import type { HelmChart } from "../helm_chart.ts";
import { CHART_URL_ANNOTATION } from "../names.ts";

const REFERENCE_REGEXP = /^https?:\/\/%\{KUBERNETES_API\}%\/static\/charts\/([A-Za-z0-9._+-]+\.tgz)$/;

/** The chart with its archive inside, or as it is if it names no static file or the file is not there. */
export async function withStaticChart(chart: HelmChart, dataDir: string): Promise<HelmChart> {
  const { metadata, spec } = chart;
  const url = spec?.chart ?? "";
  const name = spec?.chartContent ? undefined : REFERENCE_REGEXP.exec(url)?.[1];
  if (name === undefined) return chart;
  try {
    const chartContent = await readFile(join(chartsFolder(dataDir), name), "base64");
    const annotations = { ...metadata?.annotations, [CHART_URL_ANNOTATION]: url };
    return { ...chart, metadata: { ...metadata, annotations }, spec: { ...spec, chartContent } };
  } catch (error) {
    if (isNoSuchFile(error)) return chart;
    throw error;
  }
}
