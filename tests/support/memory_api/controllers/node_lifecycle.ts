// Nodes whose Lease is no longer renewed become Unknown, and their pods not Ready
// (k8s.io/kubernetes `pkg/controller/nodelifecycle`). One timer per node, none without a Lease.
import type { Api } from "../api.ts";
import { asList, asObject, at, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText } from "../store.ts";
import { ControllerClient } from "./loop.ts";

const LEASES = "leases.coordination.k8s.io";

function withCondition(object: ApiObject, type: string, change: JsonObject): JsonObject {
  const conditions = asList(at(object, "status", "conditions")).map((it): Json => {
    const condition = asObject(it);
    return condition["type"] === type ? { ...condition, ...change } : condition;
  });
  return { status: { conditions } };
}

/** Starts the controller; the returned function stops it. */
export function startNodeLifecycle(
  api: Api,
  options: { readonly counts: RequestCounts; readonly graceMs: number },
): () => void {
  const client = new ControllerClient(api, options.counts, {
    user: "system:serviceaccount:kube-system:node-controller",
    manager: "kube-controller-manager",
  });
  const timers = new Map<string, ReturnType<typeof setTimeout>>();
  const lose = (name: string): void => {
    timers.delete(name);
    const node = api.store.get("nodes", name);
    if (node === undefined) return;
    const now = api.now();
    client.patch(
      { resource: "nodes", namespace: "", name, subresource: "status" },
      withCondition(node, "Ready", {
        status: "Unknown",
        reason: "NodeStatusUnknown",
        message: "Kubelet stopped posting node status.",
        lastTransitionTime: now,
      }),
    );
    for (const pod of [...api.store.values("pods")]) {
      if (at(pod, "spec", "nodeName") !== name) continue;
      const place = {
        resource: "pods",
        namespace: metaText(pod, "namespace"),
        name: pod.metadata.name,
        subresource: "status",
      };
      client.patch(place, withCondition(pod, "Ready", { status: "False", lastTransitionTime: now }));
    }
  };
  const stopListening = api.store.subscribe((event) => {
    if (event.resource !== LEASES || event.object.metadata["namespace"] !== "kube-node-lease") return;
    const { name } = event.object.metadata;
    clearTimeout(timers.get(name));
    timers.delete(name);
    if (event.type !== "DELETED") timers.set(name, setTimeout(() => lose(name), options.graceMs));
  });
  return () => {
    stopListening();
    for (const timer of timers.values()) clearTimeout(timer);
  };
}
