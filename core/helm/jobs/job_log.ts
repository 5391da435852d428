// Why a Job's helm failed, read from its pod's log once for each failure and kept while the Job is there.
import type { KubeClient } from "../../kube/contract.ts";
import { objectKey } from "../../kube/request_path.ts";
import type { Job, Pod } from "../../kube/types.ts";
import { errorMessage } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { failureLine, scriptLine } from "./job_failure.ts";
import { type FailedRun, hashOf, helmStatusIn, isComplete, latestFailure, podsOf } from "./job_state.ts";

const LOG_LINES = 50;
/** A line may be as long as a chart likes. */
const LOG_BYTES = 1024 * 1024;

interface KnownFailure {
  /** Of the configuration. */
  readonly hash: string;
  readonly run: string;
  /** helm's words. */
  readonly line: string;
  /** The script's. */
  readonly note: string;
}

/** Failures by name of the Job, each of its last configuration. */
export class JobFailures {
  readonly #client: KubeClient;
  readonly #logger: Logger;
  readonly #known = new Map<string, KnownFailure>();

  constructor(client: KubeClient, logger: Logger) {
    this.#client = client;
    this.#logger = logger;
  }

  /**
   * The line that says why the latest run failed, also one of an earlier Job of the same configuration; empty if none failed. A log that can't be
   * read counts as silent.
   */
  async of(job: Job | undefined, pods: readonly Pod[], signal: AbortSignal): Promise<string> {
    if (job?.metadata?.uid === undefined) return "";
    const key = objectKey(job);
    const hash = hashOf(job);
    const last = this.#known.get(key);
    const known = last?.hash === hash ? last : undefined;
    // klipper-helm ends without an error after some failures, so a finished Job's last log is looked at too.
    const [lastPod] = isComplete(job) ? podsOf(job, pods) : [];
    const failed = latestFailure(job, pods) ?? (lastPod === undefined ? undefined : { pod: lastPod, previous: false });
    if (failed === undefined) return saidOf(known);
    const { metadata, status } = failed.pod;
    const run = `${metadata?.uid} ${helmStatusIn(failed.pod)?.restartCount ?? 0} ${failed.previous} ${status?.phase}`;
    if (known?.run === run) return saidOf(known);
    const read = await this.#why(failed, signal);
    if (read === undefined) return saidOf(known);
    const failure = { hash, run, line: read.line || (known?.line ?? ""), note: read.note };
    this.#known.set(key, failure);
    return saidOf(failure);
  }

  /** Forgets Jobs other than `jobs`. */
  keepOnly(jobs: Iterable<Job>): void {
    const kept = new Set([...jobs].map(objectKey));
    for (const key of this.#known.keys()) if (!kept.has(key)) this.#known.delete(key);
  }

  /** `undefined` if no log can be read. */
  async #why(run: FailedRun, signal: AbortSignal): Promise<Pick<KnownFailure, "line" | "note"> | undefined> {
    const log = await this.#read(run, signal);
    if (log === undefined) return undefined;
    const isRestarted = !run.previous && (helmStatusIn(run.pod)?.restartCount ?? 0) > 0;
    // Started again, klipper-helm finds the release changed and does nothing: the cause is in the log before.
    const line = failureLine(log) ||
      (isRestarted ? failureLine(await this.#read({ ...run, previous: true }, signal) ?? "") : "");
    return { line, note: scriptLine(log) };
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

function saidOf(failure: KnownFailure | undefined): string {
  return [failure?.line ?? "", failure?.note ?? ""].filter((part) => part !== "").join("; ");
}
