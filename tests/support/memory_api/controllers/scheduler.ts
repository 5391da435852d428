// The scheduler: binds pods to nodes by selectors, affinity, taints and node ports, or says in the pod's condition why it
// can't. Words as k8s.io/kubernetes `pkg/scheduler` has them. Waiting pods are tried again when something that matters changes.
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, equal, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, startLoop } from "./loop.ts";
import {
  type HostPort,
  hostPortsOf,
  isFinished,
  matchesNodeAffinity,
  portsCollide,
  untoleratedTaint,
} from "./pod_fit.ts";

const PORTS_WORDS = "node(s) didn't have free ports for the requested pod ports";
/** For nodes that a pod's `matchFields` leave out before any node is looked at, as with the pods of DaemonSets. */
const NARROWED_WORDS = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
const AFFINITY_WORDS = "node(s) didn't match Pod's node affinity/selector";

function isWaiting(pod: ApiObject): boolean {
  return asText(at(pod, "spec", "nodeName")) === "" && !isFinished(pod) &&
    pod.metadata["deletionTimestamp"] === undefined &&
    (at(pod, "spec", "schedulerName") ?? "default-scheduler") === "default-scheduler" &&
    asList(at(pod, "spec", "schedulingGates")).length === 0;
}

interface Load {
  readonly ports: HostPort[];
  pods: number;
}

class Scheduler {
  readonly #api: Api;
  readonly #client: ControllerClient;
  readonly #waiting = new Set<string>();
  /** What bound pods take, by node and pod. */
  readonly #bound = new Map<string, Map<string, readonly HostPort[]>>();

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, { user: "system:kube-scheduler", manager: "kube-scheduler" });
    for (const pod of api.store.values("pods")) this.#note(pod, false);
  }

  keys(): Iterable<string> {
    return this.#waiting;
  }

  keysOf(event: StoreEvent): Iterable<string> {
    if (event.resource === "nodes") {
      const isSame = event.previous !== undefined && event.type === "MODIFIED" &&
        equal(event.previous.metadata["labels"], event.object.metadata["labels"]) &&
        equal(event.previous["spec"], event.object["spec"]);
      return isSame ? [] : this.#waiting;
    }
    if (event.resource !== "pods") return [];
    const isGone = event.type === "DELETED";
    this.#note(event.object, isGone);
    const isFreed = isGone || (isFinished(event.object) && event.previous !== undefined && !isFinished(event.previous));
    if (isFreed) return this.#waiting;
    const isNew = event.previous === undefined || !equal(event.previous["spec"], event.object["spec"]);
    return isNew && isWaiting(event.object) ? [objectKey(event.object)] : [];
  }

  #note(pod: ApiObject, isGone: boolean): void {
    const key = objectKey(pod);
    if (!isGone && isWaiting(pod)) this.#waiting.add(key);
    else this.#waiting.delete(key);
    const node = asText(at(pod, "spec", "nodeName"));
    if (node === "") return;
    const pods = this.#bound.get(node) ?? new Map<string, readonly HostPort[]>();
    if (isGone || isFinished(pod)) pods.delete(key);
    else pods.set(key, hostPortsOf(asObject(pod["spec"])));
    this.#bound.set(node, pods);
  }

  reconcile(key: string): void {
    const pod = this.#api.store.get("pods", key);
    if (pod === undefined || !isWaiting(pod)) return;
    const spec = asObject(pod["spec"]);
    const nodes = this.#api.store.list("nodes");
    const reasons = new Map<string, number>();
    let best: { name: string; load: Load } | undefined;
    for (const node of nodes) {
      const load = this.#load(node.metadata.name);
      const reason = whyNot(spec, node, load);
      if (reason !== undefined) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      else if (best === undefined || load.pods < best.load.pods) best = { name: node.metadata.name, load };
    }
    const place = { resource: "pods", namespace: metaText(pod, "namespace"), name: pod.metadata.name };
    if (best !== undefined) {
      this.#client.bind(place, best.name);
      return;
    }
    const condition = this.#condition(pod, message(nodes.length, reasons));
    if (condition !== undefined) {
      this.#client.patch({ ...place, subresource: "status" }, { status: { conditions: [condition] } });
    }
  }

  #load(node: string): Load {
    const pods = this.#bound.get(node);
    return { ports: [...pods?.values() ?? []].flat(), pods: pods?.size ?? 0 };
  }

  #condition(pod: ApiObject, text: string): JsonObject | undefined {
    const live = asList(at(pod, "status", "conditions")).map((it) => asObject(it)).find((it) =>
      it["type"] === "PodScheduled"
    );
    if (live?.["status"] === "False" && live["message"] === text) return undefined;
    return {
      ...(pod.metadata["generation"] === undefined ? {} : { observedGeneration: pod.metadata["generation"] }),
      type: "PodScheduled",
      status: "False",
      reason: "Unschedulable",
      message: text,
      lastTransitionTime: live?.["status"] === "False"
        ? live["lastTransitionTime"] ?? this.#api.now()
        : this.#api.now(),
      lastProbeTime: null,
    };
  }
}

/** Whether every term of the required node affinity names nodes, and not this one. */
function isNarrowedAway(spec: JsonObject, node: ApiObject): boolean {
  const required = at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution");
  const terms = asList(at(required, "nodeSelectorTerms"));
  return terms.length > 0 &&
    terms.every((term) =>
      asList(at(term, "matchFields")).some((field) =>
        at(field, "operator") === "In" && !asList(at(field, "values")).includes(node.metadata.name)
      )
    );
}

function whyNot(spec: JsonObject, node: ApiObject, load: Load): string | undefined {
  if (isNarrowedAway(spec, node)) return NARROWED_WORDS;
  if (!matchesNodeAffinity(spec, node)) return AFFINITY_WORDS;
  const toleratesUnschedulable = asList(spec["tolerations"]).some((it) => {
    const toleration = asObject(it);
    return toleration["operator"] === "Exists" &&
      [undefined, "", "node.kubernetes.io/unschedulable"].includes(toleration["key"] as string | undefined);
  });
  if (at(node, "spec", "unschedulable") === true && !toleratesUnschedulable) return "node(s) were unschedulable";
  const taint = untoleratedTaint(spec["tolerations"], node, ["NoSchedule", "NoExecute"]);
  if (taint !== undefined) return "node(s) had untolerated taint(s)";
  return portsCollide(hostPortsOf(spec), load.ports) ? PORTS_WORDS : undefined;
}

function message(count: number, reasons: ReadonlyMap<string, number>): string {
  if (count === 0) return "no nodes available to schedule pods";
  const words = [...reasons].map(([reason, nodes]) => `${nodes} ${reason}`).sort();
  const movable = reasons.get(PORTS_WORDS) ?? 0;
  const helpless = count - movable;
  const preemption = [
    ...(movable > 0 ? [`${movable} No preemption victims found for incoming pod`] : []),
    ...(helpless > 0 ? [`${helpless} Preemption is not helpful for scheduling`] : []),
  ].sort();
  const available = `0/${count} nodes are available:`;
  return `${available} ${words.join(", ")}. no new claims to deallocate, preemption: ${available} ${
    preemption.join(", ")
  }.`;
}

/** Starts the scheduler; the returned function stops it. */
export function startScheduler(api: Api, counts: RequestCounts): () => void {
  const scheduler = new Scheduler(api, counts);
  return startLoop(api, scheduler.keys(), {
    keysOf: (event) => scheduler.keysOf(event),
    reconcile: (key) => scheduler.reconcile(key),
  });
}
