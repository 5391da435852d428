// The arguments of the Job's container. Pure. Facts: helm-controller v0.17.9 `args`; klipper-helm's `entry` passes them to helm.
import type { HelmChart } from "../helm_chart.ts";
import type { JobAction } from "../names.ts";
import { setArguments } from "../values/set_values.ts";

/** The container's arguments; helm decides itself whether an install is an upgrade. */
export function jobArguments(chart: HelmChart, action: JobAction): readonly string[] {
  if (action === "delete") return ["delete"];
  const { targetNamespace, createNamespace, takeOwnership, version, set } = chart.spec ?? {};
  return [
    "install",
    ...(targetNamespace ? ["--namespace", targetNamespace] : []),
    ...(createNamespace ? ["--create-namespace"] : []),
    ...(takeOwnership ? ["--take-ownership"] : []),
    ...(version ? ["--version", version] : []),
    ...setArguments(set),
  ];
}
