// Whether a pod fits a node: selectors, affinity, taints, host ports (pure; k8s.io/kubernetes `pkg/scheduler/framework/plugins`).
import { asList, asObject, asText, at, type Json, type JsonObject } from "../json.ts";
import { matchesExpression } from "../selectors.ts";
import type { ApiObject } from "../store.ts";

/** One node port that a pod takes. */
export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

function objects(value: Json | undefined): JsonObject[] {
  return asList(value).map((item) => asObject(item));
}

/** Node ports that a pod spec takes. */
export function hostPortsOf(spec: JsonObject): HostPort[] {
  const containers = [
    ...objects(spec["containers"]),
    ...objects(spec["initContainers"]).filter((it) => it["restartPolicy"] === "Always"),
  ];
  return containers.flatMap((container) => objects(container["ports"])).filter((port) =>
    Number(port["hostPort"] ?? 0) > 0
  )
    .map((port) => ({
      ip: asText(port["hostIP"]) || "0.0.0.0",
      protocol: asText(port["protocol"]) || "TCP",
      port: Number(port["hostPort"]),
    }));
}

/** Whether two pods can't have their ports on one node. */
export function portsCollide(a: readonly HostPort[], b: readonly HostPort[]): boolean {
  return a.some((x) =>
    b.some((y) =>
      x.port === y.port && x.protocol === y.protocol && (x.ip === y.ip || x.ip === "0.0.0.0" || y.ip === "0.0.0.0")
    )
  );
}

function matchesTerm(term: JsonObject, node: ApiObject): boolean {
  const expressions = objects(term["matchExpressions"]);
  const fields = objects(term["matchFields"]);
  if (expressions.length === 0 && fields.length === 0) return false;
  const labels = asObject(node.metadata["labels"]);
  return expressions.every((it) => matchesExpression(it, labels)) &&
    fields.every((it) => matchesExpression(it, { "metadata.name": node.metadata.name }));
}

/** Whether a node is one of those that the pod's `nodeSelector` and required node affinity ask for. */
export function matchesNodeAffinity(spec: JsonObject, node: ApiObject): boolean {
  const labels = asObject(node.metadata["labels"]);
  if (!Object.entries(asObject(spec["nodeSelector"])).every(([key, value]) => labels[key] === value)) return false;
  const required = at(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution");
  return required === undefined || objects(at(required, "nodeSelectorTerms")).some((term) => matchesTerm(term, node));
}

function tolerates(toleration: JsonObject, taint: JsonObject): boolean {
  const effect = asText(toleration["effect"]);
  if (effect !== "" && effect !== taint["effect"]) return false;
  const key = asText(toleration["key"]);
  if (key !== "" && key !== taint["key"]) return false;
  if (toleration["operator"] === "Exists") return true;
  return key !== "" && asText(toleration["value"]) === asText(taint["value"]);
}

/** The first taint with one of the effects that no toleration covers. */
export function untoleratedTaint(
  tolerations: Json | undefined,
  node: ApiObject,
  effects: readonly string[],
): JsonObject | undefined {
  const accepted = objects(tolerations);
  return objects(at(node, "spec", "taints")).find((taint) =>
    effects.includes(asText(taint["effect"])) && !accepted.some((toleration) => tolerates(toleration, taint))
  );
}

/** Whether the pod runs to its end or has ended. */
export function isFinished(pod: ApiObject): boolean {
  const phase = at(pod, "status", "phase");
  return phase === "Succeeded" || phase === "Failed";
}

/** Whether the pod's Ready condition is True. */
export function isReady(pod: ApiObject): boolean {
  return objects(at(pod, "status", "conditions")).some((it) => it["type"] === "Ready" && it["status"] === "True");
}

/** The owner that controls an object. */
export function controllerOf(object: ApiObject): JsonObject | undefined {
  return objects(object.metadata["ownerReferences"]).find((it) => it["controller"] === true);
}
