// What the manifests deployer is told at its start.
import type { Surroundings } from "../kube/contract.ts";
import type { ObserveQueue } from "../runtime/queue_metrics.ts";
import type { ProblemsOf } from "./deploy/deploy_errors.ts";
import type { ManifestEvents } from "./record/manifest_events.ts";
import type { PackagedFile } from "./folder/packaged_files.ts";

/** Settings of the deployer. */
export interface ManifestSettings {
  readonly dataDir: string;
  /** Names of files without extension, or folders, that are removed and never deployed. */
  readonly disable: readonly string[];
  /** Whether deleting a file deletes its objects. */
  readonly pruneDeletedManifests: boolean;
  /** Name of this server. */
  readonly server: string;
  /**
   * Time in milliseconds after which the folder is scanned without being told of a change.
   * @default {15000}
   */
  readonly rescanIntervalMs?: number;
  /**
   * Time in milliseconds after which unchanged files are applied again, which puts back what others changed; 0: never.
   * @default {0}
   */
  readonly repairIntervalMs?: number;
  /**
   * Where processes are looked for, to refuse running beside K3s; empty: not looked for.
   * @default {"/proc"}
   */
  readonly processRoot?: string;
}

/** What {@linkcode startManifests} takes. */
export interface ManifestsOptions extends Surroundings {
  readonly events: ManifestEvents;
  readonly options: ManifestSettings;
  readonly packagedFiles: readonly PackagedFile[];
  /** Whether a file with this text was written by this program; others are never deleted. */
  readonly isPackagedText: (text: string) => boolean;
  /** See {@linkcode ProblemsOf}: what it says takes the place of the server's words. */
  readonly problemsOf: ProblemsOf;
  /** Called when the folder and the server have answered and files are handled. */
  readonly onStarted?: () => void;
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
}

/** The running deployer. */
export interface RunningManifests {
  /** What is wrong with the folder now; `undefined` if nothing is. */
  readonly problem: () => string | undefined;
  /** Settles when the signal has ended everything; rejects if it could not start. */
  readonly done: Promise<void>;
}
