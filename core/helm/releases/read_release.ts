// Reads a chart's release from the server: a copy could be a moment behind the Job that changed it.
import type { KubeClient, KubeList } from "../../kube/contract.ts";
import { CONFIG_MAPS, SECRETS } from "../../kube/resources.ts";
import type { KubeObject } from "../../kube/types.ts";
import { chartKey, type HelmChart } from "../helm_chart.ts";
import { RELEASE_SECRET_TYPE } from "../names.ts";
import { latestRelease, type Release, releaseSelector } from "./release.ts";

/** Longest release name in a label. */
const MAX_LABEL_LENGTH = 63;

/** The latest revision of the chart's release; `undefined` if there is none. */
export async function readRelease(
  client: KubeClient,
  chart: HelmChart,
  signal: AbortSignal,
): Promise<Release | undefined> {
  const { namespace, name } = chartKey(chart);
  // Such a name fits no label, so there can be no release.
  if (name.length > MAX_LABEL_LENGTH) return undefined;
  const selection = {
    namespace: chart.spec?.targetNamespace || namespace,
    labelSelector: releaseSelector(name),
    // A record holds the whole chart, up to 1 MB, ten times over.
    isMetadataOnly: true,
    signal,
  };
  const { items }: KubeList<KubeObject> = chart.spec?.driver === "configmap"
    ? await client.list(CONFIG_MAPS, selection)
    : await client.list(SECRETS, { ...selection, fieldSelector: `type=${RELEASE_SECRET_TYPE}` });
  return latestRelease(items);
}
