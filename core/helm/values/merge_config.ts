// What a HelmChartConfig changes in the settings of its chart's Job. Values are not merged here: helm does that with the files.
// Pure. Facts: helm-controller v0.17.9 `pkg/controllers/chart`, helm's own rule that force-conflicts needs server-side apply.
import type { HelmChart, HelmChartConfig } from "../helm_chart.ts";
import type { JobAction } from "../names.ts";

/** How the Job lets helm treat releases. */
export interface ReleasePolicy {
  readonly failurePolicy: "abort" | "reinstall" | "retry";
  readonly serverSide: "true" | "false" | "auto";
  readonly forceConflicts: boolean;
}

/** The policy for one Job. A HelmChartConfig counts only where it says something, and not on deletion. */
export function releasePolicy(
  chart: HelmChart,
  options: { readonly action: JobAction; readonly config?: HelmChartConfig | undefined },
): ReleasePolicy {
  const over = options.action === "install" ? options.config?.spec : undefined;
  const serverSide = over?.serverSide ?? chart.spec?.serverSide ?? "auto";
  const forceConflicts = over?.forceConflicts ?? chart.spec?.forceConflicts ?? false;
  return {
    failurePolicy: over?.failurePolicy ?? chart.spec?.failurePolicy ?? "reinstall",
    serverSide,
    // Helm refuses the pair, and the Job would fail for ever.
    forceConflicts: forceConflicts && serverSide !== "false",
  };
}
