// DaemonSets: one pod per eligible node, rolling updates, status
// (k8s.io/kubernetes `pkg/controller/daemon`). Pods are bound by the scheduler through their node affinity, as there.
import { createHash } from "node:crypto";
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, canonical, clone, equal, type Json, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, type Place, startLoop } from "./loop.ts";
import { controllerOf, isFinished, isReady, matchesNodeAffinity, untoleratedTaint } from "./pod_fit.ts";

const DAEMON_SETS = "daemonsets.apps";

function extraTolerations(spec: JsonObject): JsonObject[] {
  const keys: [string, string][] = [
    ["not-ready", "NoExecute"],
    ["unreachable", "NoExecute"],
    ["disk-pressure", "NoSchedule"],
    ["memory-pressure", "NoSchedule"],
    ["pid-pressure", "NoSchedule"],
    ["unschedulable", "NoSchedule"],
  ];
  if (spec["hostNetwork"] === true) keys.push(["network-unavailable", "NoSchedule"]);
  return keys.map(([key, effect]) => ({ key: `node.kubernetes.io/${key}`, operator: "Exists", effect }));
}

function templateHash(template: Json | undefined): string {
  return createHash("sha256").update(canonical(template)).digest("hex").slice(0, 10);
}

/** The pod for one node. */
function podFor(set: ApiObject, node: string): JsonObject {
  const template = asObject(clone(at(set, "spec", "template") ?? {}));
  const spec = asObject(template["spec"]);
  const present = asList(spec["tolerations"]);
  const added = extraTolerations(spec).filter((it) => !present.some((other) => equal(other, it)));
  spec["tolerations"] = [...present, ...added];
  const affinity = asObject(spec["affinity"]);
  const term = { matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] };
  spec["affinity"] = {
    ...affinity,
    nodeAffinity: {
      ...asObject(affinity["nodeAffinity"]),
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] },
    },
  };
  const metadata: JsonObject = {
    generateName: `${set.metadata.name}-`,
    namespace: metaText(set, "namespace"),
    labels: {
      ...asObject(at(template, "metadata", "labels")),
      "controller-revision-hash": templateHash(at(set, "spec", "template")),
      "pod-template-generation": String(set.metadata["generation"] ?? 1),
    },
    ownerReferences: [{
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      name: set.metadata.name,
      uid: metaText(set, "uid"),
      controller: true,
      blockOwnerDeletion: true,
    }],
  };
  const annotations = asObject(at(template, "metadata", "annotations"));
  if (Object.keys(annotations).length > 0) metadata["annotations"] = annotations;
  return { apiVersion: "v1", kind: "Pod", metadata, spec };
}

/** The node that a pod is on or meant for. */
function nodeOf(pod: ApiObject): string {
  const bound = asText(at(pod, "spec", "nodeName"));
  if (bound !== "") return bound;
  const required = at(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution");
  for (const term of asList(at(required, "nodeSelectorTerms"))) {
    for (const field of asList(at(term, "matchFields"))) {
      if (at(field, "key") === "metadata.name") return asText(asList(at(field, "values"))[0]);
    }
  }
  return "";
}

function shouldRun(set: ApiObject, node: ApiObject): { run: boolean; stay: boolean } {
  const spec = asObject(at(set, "spec", "template", "spec"));
  if (asText(spec["nodeName"]) !== "" && spec["nodeName"] !== node.metadata.name) return { run: false, stay: false };
  if (!matchesNodeAffinity(spec, node)) return { run: false, stay: false };
  const tolerations = [...asList(spec["tolerations"]), ...extraTolerations(spec)];
  if (untoleratedTaint(tolerations, node, ["NoSchedule", "NoExecute"]) !== undefined) {
    return { run: false, stay: untoleratedTaint(tolerations, node, ["NoExecute"]) === undefined };
  }
  return { run: true, stay: true };
}

class DaemonSets {
  readonly #api: Api;
  readonly #client: ControllerClient;
  /** Pods by uid of their DaemonSet. */
  readonly #pods = new Map<string, Map<string, ApiObject>>();

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:daemon-set-controller",
      manager: "kube-controller-manager",
    });
    for (const pod of api.store.values("pods")) this.#index(pod, false);
  }

  keysOf(event: StoreEvent): string[] {
    if (event.resource === DAEMON_SETS) return event.type === "DELETED" ? [] : [objectKey(event.object)];
    if (event.resource === "nodes") {
      if (event.previous !== undefined && event.type === "MODIFIED" && sameForSets(event.previous, event.object)) {
        return [];
      }
      return [...this.#api.store.values(DAEMON_SETS)].map(objectKey);
    }
    if (event.resource !== "pods") return [];
    this.#index(event.object, event.type === "DELETED");
    const owner = controllerOf(event.object);
    return owner?.["kind"] === "DaemonSet" ? [`${metaText(event.object, "namespace")}/${asText(owner["name"])}`] : [];
  }

  #index(pod: ApiObject, isGone: boolean): void {
    const owner = controllerOf(pod);
    if (owner?.["kind"] !== "DaemonSet") return;
    const uid = asText(owner["uid"]);
    const pods = this.#pods.get(uid) ?? new Map<string, ApiObject>();
    if (isGone) pods.delete(objectKey(pod));
    else pods.set(objectKey(pod), pod);
    if (pods.size > 0) this.#pods.set(uid, pods);
    else this.#pods.delete(uid);
  }

  reconcile(key: string): void {
    const set = this.#api.store.get(DAEMON_SETS, key);
    if (set === undefined) return;
    const place: Place = { resource: DAEMON_SETS, namespace: metaText(set, "namespace"), name: set.metadata.name };
    if (set.metadata["deletionTimestamp"] === undefined) this.#managePods(set);
    this.#writeStatus(set, place);
  }

  #podsByNode(set: ApiObject): Map<string, ApiObject[]> {
    const byNode = new Map<string, ApiObject[]>();
    const pods = this.#pods.get(metaText(set, "uid"));
    for (const pod of pods?.values() ?? []) {
      const node = nodeOf(pod);
      byNode.set(node, [...byNode.get(node) ?? [], pod]);
    }
    return byNode;
  }

  #managePods(set: ApiObject): void {
    const namespace = metaText(set, "namespace");
    const byNode = this.#podsByNode(set);
    const nodes = this.#api.store.list("nodes");
    const names = new Set(nodes.map((node) => node.metadata.name));
    const doomed: ApiObject[] = [];
    const missing: string[] = [];
    const running: ApiObject[] = [];
    for (const node of nodes) {
      const { run, stay } = shouldRun(set, node);
      const pods = byNode.get(node.metadata.name) ?? [];
      const alive = pods.filter((pod) => pod.metadata["deletionTimestamp"] === undefined);
      const failed = alive.filter(isFinished);
      const fine = alive.filter((pod) => !isFinished(pod));
      doomed.push(...failed);
      if (!stay) doomed.push(...fine);
      else if (fine.length > 1) {
        const [oldest, ...rest] = fine.sort((a, b) =>
          Number(metaText(a, "creationTimestamp") > metaText(b, "creationTimestamp"))
        );
        doomed.push(...rest);
        if (oldest !== undefined) running.push(oldest);
      } else running.push(...fine);
      // A pod on its way out keeps its place until it is gone.
      if (run && pods.length === 0) missing.push(node.metadata.name);
    }
    for (const [node, pods] of byNode) {
      if (!names.has(node)) doomed.push(...pods.filter((pod) => pod.metadata["deletionTimestamp"] === undefined));
    }
    doomed.push(...this.#outdated(set, running, nodes.filter((node) => shouldRun(set, node).run).length));
    for (const pod of doomed) this.#client.delete({ resource: "pods", namespace, name: pod.metadata.name });
    for (const node of missing) this.#client.create({ resource: "pods", namespace, name: "" }, podFor(set, node));
  }

  /** Old pods that a rolling update may replace now. */
  #outdated(set: ApiObject, running: readonly ApiObject[], desired: number): ApiObject[] {
    if (at(set, "spec", "updateStrategy", "type") !== "RollingUpdate") return [];
    const hash = templateHash(at(set, "spec", "template"));
    const old = running.filter((pod) => at(pod, "metadata", "labels", "controller-revision-hash") !== hash);
    const broken = old.filter((pod) => !isReady(pod));
    const wish = at(set, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable") ?? 1;
    const limit = typeof wish === "number" ? wish : Math.ceil(desired * Number.parseInt(asText(wish), 10) / 100);
    const unavailable = desired - running.filter(isReady).length;
    // Broken old pods go at once: replacing them makes nothing worse.
    return [...broken, ...old.filter(isReady).slice(0, Math.max(0, limit - unavailable))];
  }

  #writeStatus(set: ApiObject, place: Place): void {
    const live = this.#api.store.get(DAEMON_SETS, objectKey(set));
    if (live === undefined) return;
    const byNode = this.#podsByNode(live);
    const hash = templateHash(at(live, "spec", "template"));
    const counts = { current: 0, desired: 0, misscheduled: 0, ready: 0, updated: 0 };
    for (const node of this.#api.store.list("nodes")) {
      const pods = (byNode.get(node.metadata.name) ?? []).filter((pod) =>
        pod.metadata["deletionTimestamp"] === undefined
      );
      if (!shouldRun(live, node).run) {
        if (pods.length > 0) counts.misscheduled++;
        continue;
      }
      counts.desired++;
      if (pods.length > 0) counts.current++;
      if (pods.some(isReady)) counts.ready++;
      if (pods.some((pod) => at(pod, "metadata", "labels", "controller-revision-hash") === hash)) counts.updated++;
    }
    const status: JsonObject = {
      currentNumberScheduled: counts.current,
      numberMisscheduled: counts.misscheduled,
      desiredNumberScheduled: counts.desired,
      numberReady: counts.ready,
      observedGeneration: live.metadata["generation"] ?? 1,
    };
    const more = {
      updatedNumberScheduled: counts.updated,
      numberAvailable: counts.ready,
      numberUnavailable: counts.desired - counts.ready,
    };
    for (const [field, count] of Object.entries(more)) if (count > 0) status[field] = count;
    const conditions = at(live, "status", "conditions");
    if (conditions !== undefined) status["conditions"] = conditions;
    if (equal(status, live["status"])) return;
    this.#client.update({ ...place, subresource: "status" }, { ...live, status });
  }
}

function sameForSets(a: ApiObject, b: ApiObject): boolean {
  return equal(a.metadata["labels"], b.metadata["labels"]) && equal(at(a, "spec", "taints"), at(b, "spec", "taints")) &&
    equal(at(a, "spec", "unschedulable"), at(b, "spec", "unschedulable"));
}

/** Starts the controller; the returned function stops it. */
export function startDaemonSets(api: Api, counts: RequestCounts): () => void {
  const sets = new DaemonSets(api, counts);
  const first = [...api.store.values(DAEMON_SETS)].map(objectKey);
  return startLoop(api, first, { keysOf: (event) => sets.keysOf(event), reconcile: (key) => sets.reconcile(key) });
}
