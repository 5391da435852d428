// Nodes: taints that follow the Ready condition, and, if a grace time is given, nodes whose Lease is no longer renewed
// become Unknown and their pods not Ready (k8s.io/kubernetes `pkg/controller/nodelifecycle`). One timer per node.
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, equal, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey } from "../store.ts";
import { ControllerClient, startLoop } from "./loop.ts";

const LEASES = "leases.coordination.k8s.io";
const NOT_READY = "node.kubernetes.io/not-ready";
const UNREACHABLE = "node.kubernetes.io/unreachable";

function withCondition(object: ApiObject, type: string, change: JsonObject): JsonObject {
  const conditions = asList(at(object, "status", "conditions")).map((it): Json => {
    const condition = asObject(it);
    return condition["type"] === type ? { ...condition, ...change } : condition;
  });
  return { status: { conditions } };
}

function readiness(node: ApiObject): string {
  const ready = asList(at(node, "status", "conditions")).map((it) => asObject(it)).find((it) => it["type"] === "Ready");
  return asText(ready?.["status"]) || "absent";
}

/** The taints that a node should have; those of others stay. */
function taintsFor(node: ApiObject): Json[] {
  const taints = asList(at(node, "spec", "taints"));
  const state = readiness(node);
  if (state === "absent") return taints;
  const wanted = state === "True" ? undefined : state === "Unknown" ? UNREACHABLE : NOT_READY;
  const kept = taints.filter((it) =>
    ![NOT_READY, UNREACHABLE].includes(asText(at(it, "key"))) || at(it, "key") === wanted
  );
  if (wanted === undefined) return kept;
  const missing = ["NoSchedule", "NoExecute"].filter((effect) =>
    !kept.some((it) => at(it, "key") === wanted && at(it, "effect") === effect)
  );
  return [...kept, ...missing.map((effect): Json => ({ key: wanted, effect }))];
}

class NodeLifecycle {
  readonly #api: Api;
  readonly #client: ControllerClient;

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:node-controller",
      manager: "kube-controller-manager",
    });
  }

  /** Makes the taints follow the Ready condition. */
  reconcile(name: string): void {
    const node = this.#api.store.get("nodes", name);
    if (node === undefined) return;
    const taints = taintsFor(node);
    if (equal(taints, asList(at(node, "spec", "taints")))) return;
    this.#client.patch({ resource: "nodes", namespace: "", name }, {
      spec: { taints: taints.length === 0 ? null : taints },
    });
  }

  /** A node's kubelet is silent. */
  lose(name: string): void {
    const node = this.#api.store.get("nodes", name);
    if (node === undefined) return;
    const now = this.#api.now();
    this.#client.patch(
      { resource: "nodes", namespace: "", name, subresource: "status" },
      withCondition(node, "Ready", {
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "Kubelet stopped posting node status.",
        lastTransitionTime: now,
      }),
    );
    for (const pod of [...this.#api.store.values("pods")]) {
      if (at(pod, "spec", "nodeName") !== name) continue;
      const place = {
        resource: "pods",
        namespace: metaText(pod, "namespace"),
        name: pod.metadata.name,
        subresource: "status",
      };
      this.#client.patch(place, withCondition(pod, "Ready", { status: "False", lastTransitionTime: now }));
    }
  }
}

/** Starts the controller; the returned function stops it. */
export function startNodeLifecycle(
  api: Api,
  options: { readonly counts: RequestCounts; readonly graceMs: number | undefined },
): () => void {
  const lifecycle = new NodeLifecycle(api, options.counts);
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  const stopLoop = startLoop(api, [...api.store.values("nodes")].map(objectKey), {
    keysOf: (event) => event.resource === "nodes" && event.type !== "DELETED" ? [event.object.metadata.name] : [],
    reconcile: (name) => lifecycle.reconcile(name),
  });
  const { graceMs } = options;
  const stopListening = api.store.subscribe((event) => {
    if (
      graceMs === undefined || event.resource !== LEASES || event.object.metadata["namespace"] !== "kube-node-lease"
    ) return;
    const { name } = event.object.metadata;
    clearTimeout(timers.get(name));
    timers.delete(name);
    if (event.type !== "DELETED") timers.set(name, setTimeout(() => lifecycle.lose(name), graceMs));
  });
  return () => {
    stopLoop();
    stopListening();
    for (const timer of timers.values()) clearTimeout(timer);
  };
}
