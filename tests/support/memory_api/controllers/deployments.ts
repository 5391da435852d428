// Deployments and their ReplicaSets: pods by template, rolling updates, revisions, status
// (k8s.io/kubernetes `pkg/controller/{deployment,replicaset}`, without pauses, deadlines and surges of other sizes than one pod).
import { createHash } from "node:crypto";
import type { Api } from "../api.ts";
import { asObject, asText, at, canonical, clone, equal, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, startLoop } from "./loop.ts";
import { controllerOf, isFinished, isReady } from "./pod_fit.ts";

const DEPLOYMENTS = "deployments.apps";
const REPLICA_SETS = "replicasets.apps";
const HASH_LABEL = "pod-template-hash";
const REVISION = "deployment.kubernetes.io/revision";

class Deployments {
  readonly #api: Api;
  readonly #client: ControllerClient;

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:deployment-controller",
      manager: "kube-controller-manager",
    });
  }

  keysOf(event: StoreEvent): string[] {
    if (event.resource === DEPLOYMENTS || event.resource === REPLICA_SETS) {
      const owner = controllerOf(event.object);
      const above = owner?.["kind"] === "Deployment"
        ? [`${DEPLOYMENTS} ${metaText(event.object, "namespace")}/${asText(owner["name"])}`]
        : [];
      return event.type === "DELETED" ? above : [`${event.resource} ${objectKey(event.object)}`, ...above];
    }
    if (event.resource !== "pods") return [];
    const owner = controllerOf(event.object);
    if (owner?.["kind"] !== "ReplicaSet") return [];
    return [`${REPLICA_SETS} ${metaText(event.object, "namespace")}/${asText(owner["name"])}`];
  }

  reconcile(key: string): void {
    const [resource = "", name = ""] = key.split(" ");
    const object = this.#api.store.get(resource, name);
    if (object === undefined || object.metadata["deletionTimestamp"] !== undefined) return;
    if (resource === DEPLOYMENTS) this.#deployment(object);
    else this.#replicaSet(object);
  }

  #deployment(deployment: ApiObject): void {
    const namespace = metaText(deployment, "namespace");
    const template = asObject(clone(at(deployment, "spec", "template") ?? {}));
    const hash = createHash("sha256").update(canonical(template)).digest("hex").slice(0, 10);
    const owned = this.#ownedBy(REPLICA_SETS, deployment);
    const current = owned.find((set) => labelOf(set, HASH_LABEL) === hash);
    const others = owned.filter((set) => set !== current);
    const wanted = Number(at(deployment, "spec", "replicas") ?? 1);
    const newest = Math.max(0, ...owned.map(revisionOf));
    if (current === undefined) {
      const replicas = others.some((set) => replicasOf(set) > 0) && !isRecreate(deployment)
        ? Math.min(1, wanted)
        : wanted;
      if (isRecreate(deployment) && this.#emptied(others)) return;
      this.#client.create(
        { resource: REPLICA_SETS, namespace, name: "" },
        replicaSetFor(deployment, { template, hash, replicas, revision: newest + 1 }),
      );
      return;
    }
    const revision = others.some((set) => revisionOf(set) > revisionOf(current)) ? newest + 1 : revisionOf(current);
    this.#annotate(REPLICA_SETS, current, revision);
    this.#annotate(DEPLOYMENTS, deployment, revision);
    this.#roll({ current, others, wanted });
    this.#deploymentStatus(deployment, current, others);
  }

  /** One pod more of the new template, then one less of the old ones for each that is ready. */
  #roll(sets: { readonly current: ApiObject; readonly others: readonly ApiObject[]; readonly wanted: number }): void {
    const { current, others, wanted } = sets;
    const old = others.filter((set) => replicasOf(set) > 0);
    if (old.length === 0) return this.#scale(current, wanted);
    const ready = this.#ownedBy("pods", current).filter(isReady).length;
    const oldTotal = old.reduce((sum, set) => sum + replicasOf(set), 0);
    const keep = Math.max(0, wanted - ready);
    const [first] = old;
    if (oldTotal > keep && first !== undefined) this.#scale(first, Math.max(0, replicasOf(first) - (oldTotal - keep)));
    this.#scale(current, Math.min(wanted, ready + 1));
  }

  /** Scales all of them to nothing; answers whether pods are left. */
  #emptied(sets: readonly ApiObject[]): boolean {
    for (const set of sets) this.#scale(set, 0);
    return sets.some((set) => this.#ownedBy("pods", set).length > 0);
  }

  #scale(set: ApiObject, replicas: number): void {
    if (replicasOf(set) === replicas) return;
    this.#client.patch(placeOf(REPLICA_SETS, set), { spec: { replicas } }, "merge");
  }

  #annotate(resource: string, object: ApiObject, revision: number): void {
    if (revisionOf(object) === revision) return;
    this.#client.patch(
      placeOf(resource, object),
      { metadata: { annotations: { [REVISION]: String(revision) } } },
      "merge",
    );
  }

  #deploymentStatus(deployment: ApiObject, current: ApiObject, others: readonly ApiObject[]): void {
    const live = this.#api.store.get(DEPLOYMENTS, objectKey(deployment));
    if (live === undefined) return;
    const wanted = Number(at(live, "spec", "replicas") ?? 1);
    const alive = (set: ApiObject): ApiObject[] => this.#ownedBy("pods", set).filter(isAlive);
    const pods = [current, ...others].flatMap(alive);
    const updated = alive(current);
    const ready = pods.filter(isReady).length;
    const isDone = updated.length === wanted && pods.length === wanted && ready === wanted;
    const name = current.metadata.name;
    const status: JsonObject = { observedGeneration: live.metadata["generation"] ?? 1 };
    const numbers = {
      replicas: pods.length,
      updatedReplicas: updated.length,
      readyReplicas: ready,
      availableReplicas: ready,
      unavailableReplicas: Math.max(0, wanted - ready),
    };
    for (const [field, count] of Object.entries(numbers)) if (count > 0) status[field] = count;
    status["conditions"] = [
      this.#condition(
        live,
        "Available",
        ready >= wanted
          ? ["True", "MinimumReplicasAvailable", "Deployment has minimum availability."]
          : ["False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."],
      ),
      this.#condition(
        live,
        "Progressing",
        isDone
          ? ["True", "NewReplicaSetAvailable", `ReplicaSet "${name}" has successfully progressed.`]
          : ["True", "ReplicaSetUpdated", `ReplicaSet "${name}" is progressing.`],
      ),
    ];
    if (equal(status, live["status"])) return;
    this.#client.update({ ...placeOf(DEPLOYMENTS, live), subresource: "status" }, { ...live, status });
  }

  #condition(object: ApiObject, type: string, says: readonly [status: string, reason: string, message: string]): Json {
    const [status, reason, message] = says;
    const conditions = (at(object, "status", "conditions") ?? []) as JsonObject[];
    const earlier = conditions.find((it) => it["type"] === type);
    if (earlier?.["reason"] === reason && earlier["message"] === message) return earlier;
    const now = this.#api.now();
    const lastTransitionTime = earlier?.["status"] === status ? earlier["lastTransitionTime"] ?? now : now;
    return { type, status, lastUpdateTime: now, lastTransitionTime, reason, message };
  }

  #replicaSet(set: ApiObject): void {
    const namespace = metaText(set, "namespace");
    const pods = this.#ownedBy("pods", set).filter(isAlive);
    const wanted = replicasOf(set);
    for (let count = pods.length; count < wanted; count++) {
      this.#client.create({ resource: "pods", namespace, name: "" }, podFor(set));
    }
    // Those that serve nobody go first.
    const order = [...pods].sort((a, b) => Number(isReady(a)) - Number(isReady(b)));
    for (const pod of order.slice(0, Math.max(0, pods.length - wanted))) {
      this.#client.delete({ resource: "pods", namespace, name: pod.metadata.name });
    }
    const live = this.#api.store.get(REPLICA_SETS, objectKey(set));
    if (live === undefined) return;
    const left = this.#ownedBy("pods", set).filter(isAlive);
    const ready = left.filter(isReady).length;
    const status: JsonObject = { replicas: left.length, observedGeneration: live.metadata["generation"] ?? 1 };
    if (left.length > 0) status["fullyLabeledReplicas"] = left.length;
    if (ready > 0) Object.assign(status, { readyReplicas: ready, availableReplicas: ready });
    if (equal(status, live["status"])) return;
    this.#client.update({ ...placeOf(REPLICA_SETS, live), subresource: "status" }, { ...live, status });
  }

  #ownedBy(resource: string, owner: ApiObject): ApiObject[] {
    return [...this.#api.store.values(resource)].filter((it) => controllerOf(it)?.["uid"] === owner.metadata["uid"]);
  }
}

function isAlive(pod: ApiObject): boolean {
  return pod.metadata["deletionTimestamp"] === undefined && !isFinished(pod);
}

function isRecreate(deployment: ApiObject): boolean {
  return at(deployment, "spec", "strategy", "type") === "Recreate";
}

function replicasOf(set: ApiObject): number {
  return Number(at(set, "spec", "replicas") ?? 1);
}

function revisionOf(object: ApiObject): number {
  return Number(at(object.metadata as JsonObject, "annotations", REVISION) ?? 0);
}

function labelOf(object: ApiObject, label: string): string {
  return asText(at(object.metadata as JsonObject, "labels", label));
}

function placeOf(resource: string, object: ApiObject): { resource: string; namespace: string; name: string } {
  return { resource, namespace: metaText(object, "namespace"), name: object.metadata.name };
}

function ownerReference(owner: ApiObject): JsonObject {
  const { apiVersion, kind, metadata } = owner;
  return {
    apiVersion,
    kind,
    name: metadata.name,
    uid: metaText(owner, "uid"),
    controller: true,
    blockOwnerDeletion: true,
  };
}

function replicaSetFor(
  deployment: ApiObject,
  wish: { readonly template: JsonObject; readonly hash: string; readonly replicas: number; readonly revision: number },
): JsonObject {
  const { template, hash, replicas, revision } = wish;
  const metadata = asObject(template["metadata"]);
  const labels = { ...asObject(metadata["labels"]), [HASH_LABEL]: hash };
  const selector = asObject(clone(at(deployment, "spec", "selector") ?? {}));
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name: `${deployment.metadata.name}-${hash}`,
      namespace: metaText(deployment, "namespace"),
      labels,
      annotations: { [REVISION]: String(revision) },
      ownerReferences: [ownerReference(deployment)],
    },
    spec: {
      replicas,
      selector: { ...selector, matchLabels: { ...asObject(selector["matchLabels"]), [HASH_LABEL]: hash } },
      template: { ...template, metadata: { ...metadata, labels } },
    },
  };
}

function podFor(set: ApiObject): JsonObject {
  const template = asObject(clone(at(set, "spec", "template") ?? {}));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...asObject(template["metadata"]),
      generateName: `${set.metadata.name}-`,
      namespace: metaText(set, "namespace"),
      ownerReferences: [ownerReference(set)],
    },
    spec: asObject(template["spec"]),
  };
}

/** Starts the controller; the returned function stops it. */
export function startDeployments(api: Api, counts: RequestCounts): () => void {
  const deployments = new Deployments(api, counts);
  const first = [DEPLOYMENTS, REPLICA_SETS].flatMap((resource) =>
    [...api.store.values(resource)].map((object) => `${resource} ${objectKey(object)}`)
  );
  return startLoop(api, first, {
    keysOf: (event) => deployments.keysOf(event),
    reconcile: (key) => deployments.reconcile(key),
  });
}
