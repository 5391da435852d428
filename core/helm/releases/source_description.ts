// Where a chart comes from, as its Events say it. Pure. Facts: helm-controller v0.17.9 `pkg/controllers/chart`, with its words.
import type { HelmChart } from "../helm_chart.ts";
import { CHART_URL_ANNOTATION } from "../names.ts";

/** One phrase for "Applying HelmChart from …". */
export function sourceDescription(chart: HelmChart): string {
  const { chart: name = "", chartContent, repo = "", version } = chart.spec ?? {};
  const url = chart.metadata?.annotations?.[CHART_URL_ANNOTATION];
  if (chartContent) return `inline spec.chartContent${url ? ` from ${url}` : ""}`;
  if (name.startsWith("oci://")) {
    return version ? `version ${version} from OCI registry ${name}` : `latest stable version from OCI registry ${name}`;
  }
  if (/^https?:\/\//.test(name)) return name;
  return version
    ? `${name} version ${version} from chart repository ${repo}`
    : `latest stable version of ${name} from chart repository ${repo}`;
}
