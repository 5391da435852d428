// Gives charts back that this controller managed, when it is turned off: left as they are, nobody could delete them any more.
import type { KubeClient, Surroundings } from "../kube/contract.ts";
import { findObject, orUnreadable } from "../kube/one_object.ts";
import { JOBS, PODS } from "../kube/resources.ts";
import { pause } from "../runtime/clock.ts";
import { handBack, uninstallCommand } from "./chart_leaving.ts";
import { chartKey, HELM_CHARTS, type HelmChart } from "./helm_chart.ts";
import { CHART_LABEL, CONTROLLER_NAME, jobName, MANAGED_BY_ANNOTATION } from "./names.ts";

const REQUEUE_MS = 5_000;

/** Gives back every chart, those whose helm is running as soon as it has ended. Releases stay. Resolves when none is left. */
export async function handBackCharts({ client, clock, logger, signal }: Surroundings): Promise<void> {
  while (!signal.aborted) {
    const charts = await ownCharts(client, signal);
    let waiting = 0;
    for (const chart of charts) {
      const { namespace, name } = chartKey(chart);
      const pods = await client.list(PODS, { namespace, labelSelector: `${CHART_LABEL}=${name}`, signal });
      const installJob = await findObject(client, JOBS, { key: { namespace, name: jobName(name, "install") }, signal });
      if (await handBack(client, chart, { installJob, pods: pods.items, signal })) {
        logger.info("HelmChart is handed back, its release stays", {
          chart: `${namespace}/${name}`,
          remove: uninstallCommand(chart),
        });
      } else waiting++;
    }
    if (waiting === 0) return;
    await pause(clock, REQUEUE_MS, signal);
  }
}

/** Without the kind, or the right to see it, no chart was taken. */
async function ownCharts(client: KubeClient, signal: AbortSignal): Promise<readonly HelmChart[]> {
  const charts = await orUnreadable(client.list(HELM_CHARTS, { signal }));
  return charts?.items.filter(({ metadata }) => metadata?.annotations?.[MANAGED_BY_ANNOTATION] === CONTROLLER_NAME) ??
    [];
}
