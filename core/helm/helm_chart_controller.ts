// The Helm controller: keys of changed charts go through a queue. What is done for each is in chart_reconciler.ts.
import { createWorkQueue } from "../runtime/work_queue.ts";
import { errorHint, errorMessage, isAbort } from "../shared/errors.ts";
import { ChartReconciler } from "./chart_reconciler.ts";
import { startChartView } from "./chart_view.ts";
import { ensureHelmCrds } from "./ensure_crds.ts";
import type { HelmOptions } from "./helm_options.ts";
import { SecretWatches } from "./secret_watches.ts";

export type { HelmOptions, HelmSettings } from "./helm_options.ts";

const WORKERS = 4;
/** A chart whose requests hang keeps no other from being looked at. */
const PATIENCE_MS = 10_000;
const DEFAULT_RESYNC_INTERVAL_MS = 600_000;
/** A tenth more or less, so that charts do not come all at once. */
const RESYNC_SPREAD = 0.2;

/** Runs the controller; only the leader may. Settles when the signal has ended everything; rejects if it could not start. */
export async function runHelm(options: HelmOptions): Promise<void> {
  const { clock, logger, signal } = options;
  try {
    await ensureHelmCrds(options);
  } catch (error) {
    if (signal.aborted && isAbort(error)) return;
    throw error;
  }
  const queue = createWorkQueue({
    clock,
    groupOf: (chart) => chart.split("/", 1)[0] ?? "",
    observer: options.observeQueue?.("charts"),
  });
  const parts = { ...options, onChange: (chart: string): void => queue.add(chart) };
  const view = startChartView(parts);
  const secrets = new SecretWatches(parts);
  try {
    await view.synced;
    options.onStarted?.();
    const reconciler = new ChartReconciler({ ...options, view, secrets });
    const resyncMs = options.options.resyncIntervalMs ?? DEFAULT_RESYNC_INTERVAL_MS;
    await queue.run({
      signal,
      workers: WORKERS,
      patienceMs: PATIENCE_MS,
      reconcile: async (chart, ending) => {
        const againMs = await reconciler.reconcile(chart, ending);
        if (!view.charts.objects.has(chart)) return undefined;
        const laterMs = resyncMs * (1 - RESYNC_SPREAD / 2 + RESYNC_SPREAD * clock.random());
        return Math.min(againMs ?? laterMs, laterMs);
      },
      onFailure: (chart, error) => {
        logger.warn(`Cannot handle HelmChart: ${errorMessage(error)}`, { chart, hint: errorHint(error) });
      },
    });
  } catch (error) {
    if (!isAbort(error) || !signal.aborted) throw error;
  } finally {
    await view.done;
    await secrets.closed();
  }
}
