// Objects as rows of a table, which is what `kubectl get` asks for and prints (meta.k8s.io/v1 Table). Columns as the real server has them
// (k8s.io/kubernetes `pkg/printers/internalversion`); custom kinds bring their own.
import { asList, asObject, asText, at, type Json, type JsonObject } from "./json.ts";
import type { Resource } from "./resources.ts";
import type { ApiObject } from "./store.ts";

/** What a request says of its table. */
export interface TableWish {
  readonly resource: Resource;
  /** What stands beside each row: `Metadata`, `Object` or `None`. */
  readonly includeObject: string;
  readonly now: Date;
}

/** Columns by name, each with its cell; those after `"|"` are shown with `-o wide` only. */
type Columns = readonly (readonly [name: string, cell: (object: ApiObject, now: Date) => Json] | "|")[];

const NONE = "<none>";

/** Whether the header asks for a table. */
export function wantsTable(accept: string | undefined): boolean {
  return /as=Table;v=v1;g=meta\.k8s\.io/.test(accept ?? "");
}

/** The table of these objects. */
export function tableOf(objects: readonly ApiObject[], metadata: JsonObject, wish: TableWish): JsonObject {
  const columns = columnsOf(wish.resource);
  const wideFrom = columns.indexOf("|");
  const cells = columns.filter((column) => column !== "|");
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: cells.map(([name]): Json => ({
      name,
      type: "string",
      format: name === "Name" ? "name" : "",
      description: name,
      priority: wideFrom >= 0 && cells.findIndex((it) => it[0] === name) >= wideFrom ? 1 : 0,
    })),
    rows: objects.map((object): Json => ({
      cells: cells.map(([, cell]) => cell(object, wish.now)),
      ...(wish.includeObject === "None" ? {} : { object: wish.includeObject === "Object" ? object : partial(object) }),
    })),
  };
}

function partial(object: ApiObject): JsonObject {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata as JsonObject };
}

function columnsOf(resource: Resource): Columns {
  if (resource.custom) return customColumns(resource);
  return BUILT_IN[resource.kind] ?? [NAME, AGE];
}

function customColumns(resource: Resource): Columns {
  const own = asList(resource.printerColumns).map((it) => asObject(it));
  if (own.length === 0) return [NAME, AGE];
  return [
    NAME,
    ...own.map((column): readonly [string, (object: ApiObject, now: Date) => Json] => {
      const path = asText(column["jsonPath"]).replace(/^\./, "").split(".");
      const isDate = column["type"] === "date";
      return [asText(column["name"]), (object, now) => {
        const value = at(object, ...path);
        if (value === undefined) return isDate ? "<unknown>" : "";
        return isDate ? age(value, now) : value;
      }];
    }),
  ];
}

/** How long ago something was, as kubectl says it. */
export function age(time: Json | undefined, now: Date): string {
  const seconds = Math.floor((now.getTime() - Date.parse(asText(time))) / 1000);
  if (Number.isNaN(seconds)) return "<unknown>";
  if (seconds < 120) return `${Math.max(0, seconds)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours}h` : `${Math.floor(hours / 24)}d`;
}

const NAME = ["Name", (it: ApiObject): Json => it.metadata.name] as const;
const AGE = ["Age", (it: ApiObject, now: Date): Json => age(it.metadata["creationTimestamp"], now)] as const;
const CREATED_AT = ["Created At", (it: ApiObject): Json => it.metadata["creationTimestamp"] ?? ""] as const;

function text(name: string, ...path: readonly string[]): readonly [string, (object: ApiObject) => Json] {
  return [name, (it) => at(it, ...path) ?? NONE];
}

function number(name: string, ...path: readonly string[]): readonly [string, (object: ApiObject) => Json] {
  return [name, (it) => Number(at(it, ...path) ?? 0)];
}

function pairs(value: Json | undefined): string {
  const entries = Object.entries(asObject(value));
  return entries.length === 0 ? NONE : entries.map(([key, one]) => `${key}=${asText(one)}`).join(",");
}

function join(values: readonly string[]): string {
  return values.length === 0 ? NONE : values.join(",");
}

function objects(value: Json | undefined): JsonObject[] {
  return asList(value).map((it) => asObject(it));
}

const SELECTOR = ["Selector", (it: ApiObject): Json => pairs(at(it, "spec", "selector", "matchLabels"))] as const;
const CONTAINERS = [
  "Containers",
  (it: ApiObject): Json =>
    join(objects(at(it, "spec", "template", "spec", "containers")).map((one) => asText(one["name"]))),
] as const;
const IMAGES = [
  "Images",
  (it: ApiObject): Json =>
    join(objects(at(it, "spec", "template", "spec", "containers")).map((one) => asText(one["image"]))),
] as const;
const WORKLOAD = ["|", CONTAINERS, IMAGES, SELECTOR] as const;
const DATA = [
  "Data",
  (it: ApiObject): Json => Object.keys(asObject(it["data"])).length + Object.keys(asObject(it["binaryData"])).length,
] as const;

const BUILT_IN: Readonly<Record<string, Columns>> = {
  Service: [
    NAME,
    text("Type", "spec", "type"),
    text("Cluster-IP", "spec", "clusterIP"),
    ["External-IP", externalIps],
    ["Port(s)", (it) => join(objects(at(it, "spec", "ports")).map(portText))],
    AGE,
    "|",
    ["Selector", (it) => pairs(at(it, "spec", "selector"))],
  ],
  Pod: [
    NAME,
    ["Ready", (it) => {
      const statuses = objects(at(it, "status", "containerStatuses"));
      return `${statuses.filter((one) => one["ready"] === true).length}/${asList(at(it, "spec", "containers")).length}`;
    }],
    ["Status", podStatus],
    [
      "Restarts",
      (it) =>
        String(
          objects(at(it, "status", "containerStatuses")).reduce(
            (sum, one) => sum + Number(one["restartCount"] ?? 0),
            0,
          ),
        ),
    ],
    AGE,
    "|",
    text("IP", "status", "podIP"),
    text("Node", "spec", "nodeName"),
    text("Nominated Node", "status", "nominatedNodeName"),
    ["Readiness Gates", readinessGates],
  ],
  Node: [
    NAME,
    ["Status", nodeStatus],
    ["Roles", (it) => join(roles(it))],
    AGE,
    text("Version", "status", "nodeInfo", "kubeletVersion"),
    "|",
    ["Internal-IP", (it) => addressOf(it, "InternalIP")],
    ["External-IP", (it) => addressOf(it, "ExternalIP")],
    text("OS-Image", "status", "nodeInfo", "osImage"),
    text("Kernel-Version", "status", "nodeInfo", "kernelVersion"),
    text("Container-Runtime", "status", "nodeInfo", "containerRuntimeVersion"),
  ],
  Namespace: [NAME, text("Status", "status", "phase"), AGE],
  ConfigMap: [NAME, DATA, AGE],
  Secret: [NAME, text("Type", "type"), DATA, AGE],
  ServiceAccount: [NAME, AGE],
  Deployment: [
    NAME,
    ["Ready", (it) => `${at(it, "status", "readyReplicas") ?? 0}/${at(it, "spec", "replicas") ?? 0}`],
    number("Up-to-date", "status", "updatedReplicas"),
    number("Available", "status", "availableReplicas"),
    AGE,
    ...WORKLOAD,
  ],
  ReplicaSet: [
    NAME,
    number("Desired", "spec", "replicas"),
    number("Current", "status", "replicas"),
    number("Ready", "status", "readyReplicas"),
    AGE,
    ...WORKLOAD,
  ],
  DaemonSet: [
    NAME,
    number("Desired", "status", "desiredNumberScheduled"),
    number("Current", "status", "currentNumberScheduled"),
    number("Ready", "status", "numberReady"),
    number("Up-to-date", "status", "updatedNumberScheduled"),
    number("Available", "status", "numberAvailable"),
    ["Node Selector", (it) => pairs(at(it, "spec", "template", "spec", "nodeSelector"))],
    AGE,
    ...WORKLOAD,
  ],
  StatefulSet: [
    NAME,
    ["Ready", (it) => `${at(it, "status", "readyReplicas") ?? 0}/${at(it, "spec", "replicas") ?? 0}`],
    AGE,
    "|",
    CONTAINERS,
    IMAGES,
  ],
  Job: [
    NAME,
    ["Status", jobStatus],
    ["Completions", (it) => `${at(it, "status", "succeeded") ?? 0}/${at(it, "spec", "completions") ?? 1}`],
    ["Duration", (it, now) => jobDuration(it, now)],
    AGE,
    ...WORKLOAD,
  ],
  Event: [
    ["Last Seen", (it, now) => age(it["lastTimestamp"] ?? it["eventTime"], now)],
    text("Type", "type"),
    text("Reason", "reason"),
    [
      "Object",
      (it) => `${asText(at(it, "involvedObject", "kind")).toLowerCase()}/${asText(at(it, "involvedObject", "name"))}`,
    ],
    ["Message", (it) => asText(it["message"]).trim()],
    "|",
    ["Subobject", (it) => at(it, "involvedObject", "fieldPath") ?? ""],
    ["Source", (it) => asText(at(it, "source", "component")) || asText(it["reportingComponent"])],
    ["First Seen", (it, now) => age(it["firstTimestamp"] ?? it["eventTime"], now)],
    ["Count", (it) => Number(it["count"] ?? 1)],
    NAME,
  ],
  EndpointSlice: [
    NAME,
    text("AddressType", "addressType"),
    ["Ports", (it) => join(objects(it["ports"]).map((port) => String(port["port"] ?? "*")))],
    [
      "Endpoints",
      (it) => join(objects(it["endpoints"]).flatMap((one) => asList(one["addresses"]).map((ip) => asText(ip)))),
    ],
    AGE,
  ],
  Lease: [NAME, text("Holder", "spec", "holderIdentity"), AGE],
  Ingress: [
    NAME,
    text("Class", "spec", "ingressClassName"),
    ["Hosts", (it) => join(objects(at(it, "spec", "rules")).map((rule) => asText(rule["host"]) || "*"))],
    ["Address", (it) => objects(at(it, "status", "loadBalancer", "ingress")).map((one) => asText(one["ip"])).join(",")],
    ["Ports", (it) => asList(at(it, "spec", "tls")).length > 0 ? "80, 443" : "80"],
    AGE,
  ],
  IngressClass: [NAME, text("Controller", "spec", "controller"), AGE],
  CustomResourceDefinition: [NAME, CREATED_AT],
  Role: [NAME, CREATED_AT],
  ClusterRole: [NAME, CREATED_AT],
  RoleBinding: [NAME, ["Role", roleRef], AGE],
  ClusterRoleBinding: [NAME, ["Role", roleRef], AGE],
  PriorityClass: [NAME, number("Value", "value"), ["Global-Default", (it) => it["globalDefault"] === true], AGE],
};

function externalIps(service: ApiObject): string {
  const type = at(service, "spec", "type");
  if (type === "ExternalName") return asText(at(service, "spec", "externalName"));
  const own = asList(at(service, "spec", "externalIPs")).map((ip) => asText(ip));
  const given = objects(at(service, "status", "loadBalancer", "ingress")).map((it) =>
    asText(it["ip"]) || asText(it["hostname"])
  );
  const all = type === "LoadBalancer" ? [...given, ...own] : own;
  if (all.length > 0) return all.join(",");
  return type === "LoadBalancer" ? "<pending>" : NONE;
}

function portText(port: JsonObject): string {
  const nodePort = Number(port["nodePort"] ?? 0);
  return `${port["port"] as number}${nodePort > 0 ? `:${nodePort}` : ""}/${asText(port["protocol"])}`;
}

function podStatus(pod: ApiObject): string {
  if (pod.metadata["deletionTimestamp"] !== undefined) return "Terminating";
  const [first] = objects(at(pod, "status", "containerStatuses"));
  const why = at(first, "state", "waiting", "reason") ?? at(first, "state", "terminated", "reason");
  return asText(at(pod, "status", "reason")) || asText(why) || asText(at(pod, "status", "phase"));
}

function readinessGates(pod: ApiObject): string {
  const gates = objects(at(pod, "spec", "readinessGates"));
  if (gates.length === 0) return NONE;
  const conditions = objects(at(pod, "status", "conditions"));
  const open = gates.filter((gate) =>
    conditions.some((it) => it["type"] === gate["conditionType"] && it["status"] === "True")
  );
  return `${open.length}/${gates.length}`;
}

function nodeStatus(node: ApiObject): string {
  const ready = objects(at(node, "status", "conditions")).find((it) => it["type"] === "Ready")?.["status"];
  const state = ready === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady";
  return at(node, "spec", "unschedulable") === true ? `${state},SchedulingDisabled` : state;
}

function roles(node: ApiObject): string[] {
  const prefix = "node-role.kubernetes.io/";
  const labels = Object.keys(asObject(node.metadata["labels"]));
  return labels.filter((label) => label.startsWith(prefix)).map((label) => label.slice(prefix.length)).sort();
}

function addressOf(node: ApiObject, type: string): string {
  return asText(objects(at(node, "status", "addresses")).find((it) => it["type"] === type)?.["address"]) || NONE;
}

function jobStatus(job: ApiObject): string {
  const conditions = objects(at(job, "status", "conditions"));
  const holds = (type: string): boolean => conditions.some((it) => it["type"] === type && it["status"] === "True");
  return ["Complete", "Failed", "Suspended"].find(holds) ?? "Running";
}

function jobDuration(job: ApiObject, now: Date): string {
  const started = asText(at(job, "status", "startTime"));
  if (started === "") return "";
  const end = asText(at(job, "status", "completionTime"));
  return age(started, end === "" ? now : new Date(end));
}

function roleRef(binding: ApiObject): string {
  return `${asText(at(binding, "roleRef", "kind"))}/${asText(at(binding, "roleRef", "name"))}`;
}
