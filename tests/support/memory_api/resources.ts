// The kinds that the server serves: a table of the built-in ones, and those that CustomResourceDefinitions add.
import { asList, asObject, asText, at, type Json, type JsonObject } from "./json.ts";

/** One kind and how it is served. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly namespaced: boolean;
  readonly subresources: readonly string[];
  /** Whether the server counts `metadata.generation`. */
  readonly generation: boolean;
  /** `openAPIV3Schema` of a custom resource; absent for built-in kinds. */
  readonly schema?: JsonObject;
  /** `additionalPrinterColumns` of a custom resource. */
  readonly printerColumns?: Json;
  readonly custom: boolean;
}

/** Key of a resource's objects in the store: all versions share them. */
export function storeKey(resource: Pick<Resource, "group" | "plural">): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

/** `group/version`, or `version` in the core group. */
export function apiVersion(resource: Pick<Resource, "group" | "version">): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

interface Row {
  readonly short?: string;
  readonly sub?: string;
  readonly cluster?: true;
  readonly plural?: string;
  readonly generation?: true;
  readonly all?: true;
}

function builtIn(groupVersion: string, rows: Readonly<Record<string, Row>>): Resource[] {
  const [version = "", group = ""] = groupVersion.split("/").reverse();
  return Object.entries(rows).map(([kind, row]) => {
    const singular = kind.toLowerCase();
    return {
      group,
      version,
      kind,
      singular,
      plural: row.plural ?? `${singular}s`,
      shortNames: row.short?.split(",") ?? [],
      categories: row.all === true ? ["all"] : [],
      namespaced: row.cluster !== true,
      subresources: row.sub?.split(",") ?? [],
      generation: row.generation === true,
      custom: false,
    };
  });
}

const BUILT_IN: readonly Resource[] = [
  ...builtIn("v1", {
    ConfigMap: { short: "cm" },
    Event: { short: "ev" },
    Namespace: { short: "ns", cluster: true, sub: "status,finalize" },
    Node: { short: "no", cluster: true, sub: "status" },
    Pod: { short: "po", sub: "status,binding,eviction,log,exec,attach,portforward", all: true, generation: true },
    Secret: {},
    Service: { short: "svc", sub: "status", all: true },
    ServiceAccount: { short: "sa", sub: "token" },
    Endpoints: { short: "ep", plural: "endpoints" },
    PersistentVolumeClaim: { short: "pvc", sub: "status" },
  }),
  ...builtIn("apps/v1", {
    DaemonSet: { short: "ds", sub: "status", generation: true, all: true },
    Deployment: { short: "deploy", sub: "status,scale", generation: true, all: true },
    ReplicaSet: { short: "rs", sub: "status,scale", generation: true, all: true },
    StatefulSet: { short: "sts", sub: "status,scale", generation: true, all: true },
    ControllerRevision: {},
  }),
  ...builtIn("batch/v1", { Job: { sub: "status", generation: true, all: true } }),
  ...builtIn("discovery.k8s.io/v1", { EndpointSlice: { generation: true } }),
  ...builtIn("coordination.k8s.io/v1", { Lease: {} }),
  ...builtIn("rbac.authorization.k8s.io/v1", {
    ClusterRole: { cluster: true },
    ClusterRoleBinding: { cluster: true },
    Role: {},
    RoleBinding: {},
  }),
  ...builtIn("scheduling.k8s.io/v1", {
    PriorityClass: { plural: "priorityclasses", short: "pc", cluster: true, generation: true },
  }),
  ...builtIn("networking.k8s.io/v1", {
    Ingress: { plural: "ingresses", short: "ing", sub: "status", generation: true },
    IngressClass: { plural: "ingressclasses", cluster: true, generation: true },
    NetworkPolicy: { plural: "networkpolicies", short: "netpol", generation: true },
  }),
  ...builtIn("apiextensions.k8s.io/v1", {
    CustomResourceDefinition: { short: "crd,crds", cluster: true, sub: "status", generation: true },
  }),
  ...builtIn("authentication.k8s.io/v1", {
    SelfSubjectReview: { cluster: true },
    TokenReview: { cluster: true },
  }),
  ...builtIn("authorization.k8s.io/v1", {
    SelfSubjectAccessReview: { cluster: true },
    SelfSubjectRulesReview: { cluster: true },
  }),
];

/** Kinds that are answered and not kept. */
export const VIRTUAL_KINDS: ReadonlySet<string> = new Set([
  "SelfSubjectReview",
  "TokenReview",
  "SelfSubjectAccessReview",
  "SelfSubjectRulesReview",
]);

/** The kinds served at this moment. */
export class ResourceTable {
  #custom = new Map<string, readonly Resource[]>();

  /** Every kind, built-in ones first. */
  all(): Resource[] {
    return [...BUILT_IN, ...[...this.#custom.values()].flat()];
  }

  /** The kind at this place of the URL. */
  find(group: string, version: string, plural: string): Resource | undefined {
    return this.all().find((it) => it.group === group && it.version === version && it.plural === plural);
  }

  /** Whether anything is served under this `group/version`. */
  hasVersion(version: string): boolean {
    return this.all().some((it) => apiVersion(it) === version);
  }

  /** Any version of the kind with this store key. */
  byStoreKey(key: string): Resource | undefined {
    return this.all().find((it) => storeKey(it) === key);
  }

  /** The kind with this `apiVersion` and `kind`. */
  byKind(version: string, kind: string): Resource | undefined {
    return this.all().find((it) => apiVersion(it) === version && it.kind === kind);
  }

  /** Serves what a CustomResourceDefinition defines, in place of what it defined before. */
  define(crd: JsonObject): void {
    this.#custom.set(asText(at(crd, "metadata", "name")), resourcesOf(crd));
  }

  /** Stops serving a CustomResourceDefinition's kinds and returns them. */
  undefine(name: string): readonly Resource[] {
    const gone = this.#custom.get(name) ?? [];
    this.#custom.delete(name);
    return gone;
  }
}

function texts(value: Json | undefined): string[] {
  return asList(value).map((item) => asText(item));
}

function resourcesOf(crd: JsonObject): readonly Resource[] {
  const spec = asObject(crd["spec"]);
  const names = asObject(spec["names"]);
  return asList(spec["versions"]).map((entry) => asObject(entry)).filter((version) => version["served"] === true)
    .map((version) => ({
      group: asText(spec["group"]),
      version: asText(version["name"]),
      kind: asText(names["kind"]),
      plural: asText(names["plural"]),
      singular: asText(names["singular"]) || asText(names["kind"]).toLowerCase(),
      shortNames: texts(names["shortNames"]),
      categories: texts(names["categories"]),
      namespaced: spec["scope"] === "Namespaced",
      subresources: Object.keys(asObject(version["subresources"])),
      generation: true,
      schema: asObject(at(version, "schema", "openAPIV3Schema")),
      printerColumns: version["additionalPrinterColumns"] ?? [],
      custom: true,
    }));
}
