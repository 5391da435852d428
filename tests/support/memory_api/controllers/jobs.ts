// Jobs of one pod at a time: suspend, run, retry up to the limit, finish (k8s.io/kubernetes `pkg/controller/job`, the part
// that a Helm job needs).
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, clone, equal, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, startLoop } from "./loop.ts";
import { controllerOf, isReady } from "./pod_fit.ts";

const JOBS = "jobs.batch";

class Jobs {
  readonly #api: Api;
  readonly #client: ControllerClient;

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:job-controller",
      manager: "kube-controller-manager",
    });
  }

  keysOf(event: StoreEvent): string[] {
    if (event.resource === JOBS) return event.type === "DELETED" ? [] : [objectKey(event.object)];
    if (event.resource !== "pods") return [];
    const owner = controllerOf(event.object);
    return owner?.["kind"] === "Job" ? [`${metaText(event.object, "namespace")}/${asText(owner["name"])}`] : [];
  }

  reconcile(key: string): void {
    const job = this.#api.store.get(JOBS, key);
    if (job === undefined || job.metadata["deletionTimestamp"] !== undefined) return;
    if (this.#condition(job, "Complete") !== undefined || this.#condition(job, "Failed") !== undefined) return;
    const namespace = metaText(job, "namespace");
    const pods = [...this.#api.store.values("pods")].filter((pod) =>
      controllerOf(pod)?.["uid"] === job.metadata["uid"]
    );
    const succeeded = pods.filter((pod) => at(pod, "status", "phase") === "Succeeded").length;
    const failed = pods.filter((pod) => at(pod, "status", "phase") === "Failed").length;
    const active = pods.filter((pod) => !["Succeeded", "Failed"].includes(asText(at(pod, "status", "phase"))));
    const isSuspended = at(job, "spec", "suspend") === true;
    const limit = Number(at(job, "spec", "backoffLimit") ?? 6);
    const wanted = Number(at(job, "spec", "completions") ?? 1);
    const isComplete = succeeded >= wanted;
    const isFailed = !isComplete && failed > limit;
    if (isSuspended) {
      for (const pod of active) {
        if (pod.metadata["deletionTimestamp"] === undefined) {
          this.#client.delete({ resource: "pods", namespace, name: pod.metadata.name });
        }
      }
    } else if (!isComplete && !isFailed && active.length === 0) {
      this.#client.create({ resource: "pods", namespace, name: "" }, podFor(job));
    }
    this.#writeStatus(job, {
      conditions: this.#conditions(job, { isSuspended, isComplete, isFailed }),
      active: isSuspended ? 0 : isComplete || isFailed ? 0 : Math.max(1, active.length),
      ready: active.filter(isReady).length,
      succeeded,
      failed,
    });
  }

  #condition(job: ApiObject, type: string): JsonObject | undefined {
    return asList(at(job, "status", "conditions")).map((it) => asObject(it)).find((it) =>
      it["type"] === type && it["status"] === "True"
    );
  }

  #conditions(job: ApiObject, state: { isSuspended: boolean; isComplete: boolean; isFailed: boolean }): JsonObject[] {
    const conditions = asList(at(job, "status", "conditions")).map((it) => asObject(it));
    const set = (type: string, status: string, words: { reason: string; message: string }): void => {
      const index = conditions.findIndex((it) => it["type"] === type);
      if (index < 0 && status === "False") return;
      if (index >= 0 && conditions[index]?.["status"] === status) return;
      const now = this.#api.now();
      const condition: JsonObject = { type, status, lastProbeTime: now, lastTransitionTime: now, ...words };
      if (index < 0) conditions.push(condition);
      else conditions[index] = condition;
    };
    if (state.isSuspended) set("Suspended", "True", { reason: "JobSuspended", message: "Job suspended" });
    else set("Suspended", "False", { reason: "JobResumed", message: "Job resumed" });
    if (state.isComplete) {
      const words = { reason: "CompletionsReached", message: "Reached expected number of succeeded pods" };
      set("SuccessCriteriaMet", "True", words);
      set("Complete", "True", words);
    }
    if (state.isFailed) {
      const words = { reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
      set("FailureTarget", "True", words);
      set("Failed", "True", words);
    }
    return conditions;
  }

  #writeStatus(
    job: ApiObject,
    next: { conditions: JsonObject[]; active: number; ready: number; succeeded: number; failed: number },
  ): void {
    const live = this.#api.store.get(JOBS, objectKey(job));
    if (live === undefined) return;
    const status: JsonObject = {
      ...asObject(live["status"]),
      ready: next.ready,
      terminating: 0,
      uncountedTerminatedPods: {},
    };
    for (const field of ["active", "succeeded", "failed"] as const) {
      if (next[field] > 0) status[field] = next[field];
      else delete status[field];
    }
    if (next.conditions.length > 0) status["conditions"] = next.conditions as Json[];
    if (at(live, "spec", "suspend") === true) delete status["startTime"];
    else status["startTime"] ??= this.#api.now();
    if (next.conditions.some((it) => it["type"] === "Complete")) status["completionTime"] ??= this.#api.now();
    if (equal(status, live["status"])) return;
    this.#client.update({
      resource: JOBS,
      namespace: metaText(live, "namespace"),
      name: live.metadata.name,
      subresource: "status",
    }, { ...live, status });
  }
}

function podFor(job: ApiObject): JsonObject {
  const template = asObject(clone(at(job, "spec", "template") ?? {}));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...asObject(template["metadata"]),
      generateName: `${job.metadata.name}-`,
      namespace: metaText(job, "namespace"),
      ownerReferences: [{
        apiVersion: "batch/v1",
        kind: "Job",
        name: job.metadata.name,
        uid: metaText(job, "uid"),
        controller: true,
        blockOwnerDeletion: true,
      }],
    },
    spec: asObject(template["spec"]),
  };
}

/** Starts the controller; the returned function stops it. */
export function startJobs(api: Api, counts: RequestCounts): () => void {
  const jobs = new Jobs(api, counts);
  const first = [...api.store.values(JOBS)].map(objectKey);
  return startLoop(api, first, { keysOf: (event) => jobs.keysOf(event), reconcile: (key) => jobs.reconcile(key) });
}
