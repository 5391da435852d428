// The shape of lists and mappings: which lists merge by which keys, which mappings are one value. Two tables, because
// server-side apply (`x-kubernetes-list-type`, `-map-type`) and strategic merge (`patchStrategy`) differ in places.
// Facts from the published OpenAPI of Kubernetes 1.36; custom resources bring their own schema.
import { asList, asObject, asText, type Json, type JsonObject } from "./json.ts";
import type { Resource } from "./resources.ts";

/** Field names from the object's root; list items add nothing. */
export type FieldPath = readonly string[];

/** How server-side apply sees a list. */
export type ListShape =
  | { readonly type: "map"; readonly keys: readonly string[]; readonly defaults?: JsonObject }
  | { readonly type: "set" }
  | { readonly type: "atomic" };

/** What server-side apply asks of a kind. */
export interface ApplySchema {
  list(path: FieldPath): ListShape;
  /** Whether a mapping is one value that has one owner. */
  isAtomicMap(path: FieldPath): boolean;
  /** Whether a field is declared, as opposed to a key of a free mapping. */
  isDeclared(path: FieldPath): boolean;
  /** Whether the server's own type always has this part, so that nobody is said to have added it. */
  isAlwaysThere(path: FieldPath): boolean;
}

const ATOMIC: ListShape = { type: "atomic" };
const BY_NAME: ListShape = { type: "map", keys: ["name"] };
const BY_TYPE: ListShape = { type: "map", keys: ["type"] };
const CONTAINER_PORTS: ListShape = { type: "map", keys: ["containerPort", "protocol"], defaults: { protocol: "TCP" } };

/** By the last field names of the path; the longest match counts. */
const APPLY_LISTS: Readonly<Record<string, ListShape>> = {
  "metadata.ownerReferences": { type: "map", keys: ["uid"] },
  "metadata.finalizers": { type: "set" },
  "spec.containers": BY_NAME,
  "spec.initContainers": BY_NAME,
  "spec.ephemeralContainers": BY_NAME,
  "containers.ports": CONTAINER_PORTS,
  "initContainers.ports": CONTAINER_PORTS,
  "containers.env": BY_NAME,
  "initContainers.env": BY_NAME,
  "containers.volumeMounts": { type: "map", keys: ["mountPath"] },
  "initContainers.volumeMounts": { type: "map", keys: ["mountPath"] },
  "spec.volumes": BY_NAME,
  "spec.imagePullSecrets": BY_NAME,
  "imagePullSecrets": ATOMIC,
  "spec.hostAliases": { type: "map", keys: ["ip"] },
  "spec.topologySpreadConstraints": { type: "map", keys: ["topologyKey", "whenUnsatisfiable"] },
  "spec.schedulingGates": BY_NAME,
  "spec.resourceClaims": BY_NAME,
  "spec.podCIDRs": { type: "set" },
  "status.conditions": BY_TYPE,
  "status.addresses": BY_TYPE,
  "status.podIPs": { type: "map", keys: ["ip"] },
  "status.hostIPs": ATOMIC,
};

const ATOMIC_MAPS: ReadonlySet<string> = new Set([
  "selector",
  "nodeSelector",
  "labelSelector",
  "podSelector",
  "namespaceSelector",
  "fieldRef",
  "resourceFieldRef",
  "configMapKeyRef",
  "secretKeyRef",
  "secretRef",
  "configMapRef",
  "targetRef",
  "involvedObject",
  "related",
  "roleRef",
]);

/** Mappings whose keys are the user's. */
const FREE_MAPS: ReadonlySet<string> = new Set([
  "labels",
  "annotations",
  "data",
  "binaryData",
  "stringData",
  "limits",
  "requests",
  "capacity",
  "allocatable",
  "matchLabels",
]);

const ALWAYS_THERE: ReadonlySet<string> = new Set([
  "metadata",
  "spec",
  "status",
  "spec.template",
  "spec.template.metadata",
  "spec.template.spec",
  "spec.template.spec.containers",
  "spec.containers",
  "spec.strategy",
  "spec.updateStrategy",
  "status.loadBalancer",
  "status.nodeInfo",
  "status.daemonEndpoints",
  "status.daemonEndpoints.kubeletEndpoint",
  "spec.names",
  "status.acceptedNames",
]);

function builtInList(path: FieldPath, kind: string): ListShape {
  const field = path.at(-1) ?? "";
  const parent = path.at(-2) ?? "";
  if (kind === "Service" && path.join(".") === "spec.ports") {
    return { type: "map", keys: ["port", "protocol"], defaults: { protocol: "TCP" } };
  }
  if (kind === "ServiceAccount" && field === "secrets") return BY_NAME;
  if (kind === "Job" && path.join(".") === "status.conditions") return ATOMIC;
  return APPLY_LISTS[`${parent}.${field}`] ?? APPLY_LISTS[field] ?? ATOMIC;
}

function builtInSchema(kind: string): ApplySchema {
  return {
    list: (path) => builtInList(path, kind),
    isAtomicMap: (path) =>
      ATOMIC_MAPS.has(path.at(-1) ?? "") ||
      (path.at(-1) === "requiredDuringSchedulingIgnoredDuringExecution" && path.at(-2) === "nodeAffinity"),
    isDeclared: (path) => !FREE_MAPS.has(path.at(-2) ?? ""),
    isAlwaysThere: (path) => {
      const text = path.join(".");
      return ALWAYS_THERE.has(text) || (kind === "CustomResourceDefinition" && text === "status.conditions");
    },
  };
}

/** Schema at a path of `openAPIV3Schema`, through list items. */
function schemaAt(schema: JsonObject, path: FieldPath): JsonObject | undefined {
  let here: JsonObject = schema;
  for (const field of path) {
    while (here["items"] !== undefined) here = asObject(here["items"]);
    const properties = asObject(here["properties"]);
    const next: Json | undefined = properties[field] ?? here["additionalProperties"];
    if (typeof next !== "object" || next === null || Array.isArray(next)) return undefined;
    here = next;
  }
  return here;
}

function customSchema(schema: JsonObject): ApplySchema {
  return {
    list: (path) => {
      if (path[0] === "metadata") return builtInList(path, "");
      const found = schemaAt(schema, path);
      const type = found?.["x-kubernetes-list-type"];
      if (type === "set") return { type: "set" };
      if (type !== "map") return ATOMIC;
      return { type: "map", keys: asList(found?.["x-kubernetes-list-map-keys"]).map((key) => asText(key)) };
    },
    isAlwaysThere: (path) => path.length === 1 && path[0] === "metadata",
    isAtomicMap: (path) => schemaAt(schema, path)?.["x-kubernetes-map-type"] === "atomic",
    isDeclared: (path) => {
      if (path.length === 1 && ["apiVersion", "kind", "metadata"].includes(path[0] ?? "")) return true;
      if (path[0] === "metadata") return !FREE_MAPS.has(path.at(-2) ?? "");
      const parent = schemaAt(schema, path.slice(0, -1));
      let owner = parent ?? {};
      while (owner["items"] !== undefined) owner = asObject(owner["items"]);
      return Object.hasOwn(asObject(owner["properties"]), path.at(-1) ?? "");
    },
  };
}

/** What server-side apply asks of this kind. */
export function applySchema(resource: Pick<Resource, "kind" | "schema" | "custom">): ApplySchema {
  return resource.custom ? customSchema(resource.schema ?? {}) : builtInSchema(resource.kind);
}

/** How strategic merge sees a list: merged by a key, merged as a set of plain values, or replaced. */
export type StrategicShape = { readonly merge: "key"; readonly key: string } | { readonly merge: "set" } | {
  readonly merge: "no";
};

const STRATEGIC_KEYS: Readonly<Record<string, string>> = {
  "metadata.ownerReferences": "uid",
  "spec.containers": "name",
  "spec.initContainers": "name",
  "spec.ephemeralContainers": "name",
  "containers.ports": "containerPort",
  "initContainers.ports": "containerPort",
  "containers.env": "name",
  "initContainers.env": "name",
  "containers.volumeMounts": "mountPath",
  "initContainers.volumeMounts": "mountPath",
  "spec.volumes": "name",
  "spec.imagePullSecrets": "name",
  "spec.hostAliases": "ip",
  "spec.topologySpreadConstraints": "topologyKey",
  "spec.schedulingGates": "name",
  "spec.resourceClaims": "name",
  "status.conditions": "type",
  "status.addresses": "type",
  "status.podIPs": "ip",
  "status.hostIPs": "ip",
};

/** How strategic merge sees the list at a path. */
export function strategicShape(path: FieldPath, kind: string): StrategicShape {
  const field = path.at(-1) ?? "";
  if (field === "finalizers" && (path.at(-2) === "metadata" || path.at(-2) === "spec")) return { merge: "set" };
  if (field === "podCIDRs") return { merge: "set" };
  if (kind === "Service" && path.join(".") === "spec.ports") return { merge: "key", key: "port" };
  if (kind === "ServiceAccount" && (field === "secrets" || field === "imagePullSecrets")) {
    return field === "secrets" ? { merge: "key", key: "name" } : { merge: "no" };
  }
  const key = STRATEGIC_KEYS[`${path.at(-2) ?? ""}.${field}`];
  return key === undefined ? { merge: "no" } : { merge: "key", key };
}
