// What the Helm controller is told at its start.
import type { Surroundings } from "../kube/contract.ts";
import type { EventRecorder } from "../kube/events.ts";
import type { ObserveQueue } from "../runtime/queue_metrics.ts";

/** Settings of the controller. */
export interface HelmSettings {
  /** Charts in `server/static/charts` below it replace references to the API server's static files. */
  readonly dataDir: string;
  /** Image of Jobs whose chart names none. */
  readonly helmJobImage: string;
  /**
   * DNS domain of the cluster, for Jobs behind a proxy.
   * @default {"cluster.local"}
   */
  readonly clusterDomain?: string;
  /**
   * Namespaces whose charts are taken; those in others are refused.
   * @default {all}
   */
  readonly namespaces?: readonly string[];
  /**
   * ClusterRole of the Jobs.
   * @default {"cluster-admin"}
   */
  readonly clusterRole?: string;
  /**
   * Time in milliseconds after which a chart is looked at without being told of a change.
   * @default {600000}
   */
  readonly resyncIntervalMs?: number;
}

/** What {@linkcode runHelm} takes. */
export interface HelmOptions extends Surroundings {
  readonly events: Pick<EventRecorder, "record">;
  readonly options: HelmSettings;
  /** The process's environment; its proxy variables go to the Jobs. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called when charts are known and are handled. */
  readonly onStarted?: () => void;
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
}
