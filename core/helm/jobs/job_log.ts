// Why a Job's helm failed, read from its pod's log once for each failure and kept while the Job is there.
import type { KubeClient } from "../../kube/contract.ts";
import type { Job, Pod } from "../../kube/types.ts";
import { errorMessage } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { failureLine, scriptLine } from "./job_failure.ts";
import { type FailedRun, helmStatusIn, isComplete, latestFailure, podsOf } from "./job_state.ts";

const LOG_LINES = 50;
/** A line may be as long as a chart likes. */
const LOG_BYTES = 1024 * 1024;

interface KnownFailure {
  readonly run: string;
  readonly line: string;
}

/** Failures by Job. */
export class JobFailures {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #known = new Map<string, KnownFailure>();

  constructor(client: KubeClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /** The line that says why the latest run failed; empty if none did. A log that can't be read counts as silent. */
  async of(job: Job | undefined, pods: readonly Pod[], signal: AbortSignal): Promise<string> {
    const uid = job?.metadata?.uid;
    if (job === undefined || uid === undefined) return "";
    const known = this.#known.get(uid);
    // klipper-helm ends without an error after some failures, so a finished Job's last log is looked at too.
    const [lastPod] = isComplete(job) ? podsOf(job, pods) : [];
    const failed = latestFailure(job, pods) ?? (lastPod === undefined ? undefined : { pod: lastPod, previous: false });
    if (failed === undefined) return known?.line ?? "";
    const { metadata, status } = failed.pod;
    const run = `${metadata?.uid} ${helmStatusIn(failed.pod)?.restartCount ?? 0} ${failed.previous} ${status?.phase}`;
    if (known?.run === run) return known.line;
    const line = await this.#why(failed, signal) || known?.line;
    if (line !== undefined) this.#known.set(uid, { run, line });
    return line ?? "";
  }

  /** Forgets Jobs other than `uids`. */
  keepOnly(uids: ReadonlySet<string>): void {
    for (const uid of this.#known.keys()) if (!uids.has(uid)) this.#known.delete(uid);
  }

  /** `undefined` if no log can be read. */
  async #why(run: FailedRun, signal: AbortSignal): Promise<string | undefined> {
    const log = await this.#read(run, signal);
    if (log === undefined) return undefined;
    const isRestarted = !run.previous && (helmStatusIn(run.pod)?.restartCount ?? 0) > 0;
    // Started again, klipper-helm finds the release changed and does nothing: the cause is in the log before.
    const line = failureLine(log) ||
      (isRestarted ? failureLine(await this.#read({ ...run, previous: true }, signal) ?? "") : "");
    return [line, scriptLine(log)].filter((part) => part !== "").join("; ");
  }

  async #read({ pod, previous }: FailedRun, signal: AbortSignal): Promise<string | undefined> {
    const { namespace = "", name = "" } = pod.metadata ?? {};
    const query = `container=helm&tailLines=${LOG_LINES}&limitBytes=${LOG_BYTES}${previous ? "&previous=true" : ""}`;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/log?${query}`;
    try {
      return await this.#client.raw<string>("GET", path, { answer: "text", signal });
    } catch (error) {
      signal.throwIfAborted();
      // The node may be away; what is known without the log is said anyway.
      this.#logger.debug("The log of a Helm Job can't be read", {
        pod: `${namespace}/${name}`,
        error: errorMessage(error),
      });
      return undefined;
    }
  }
}
