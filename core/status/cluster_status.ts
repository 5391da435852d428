// The whole cluster at a glance: server, nodes, Services, charts and AddOns, as `k3slb status` and the page show them. Pure.
import { conditionOf } from "../kube/conditions.ts";
import { objectKey } from "../kube/request_path.ts";
import type { HelmChart } from "../helm/helm_chart.ts";
import type { AddOn } from "../manifests/record/addon.ts";
import type { Lease, Node } from "../kube/types.ts";
import { heartbeatAgeMs, heartbeatOf, SILENT_AGENT_MS } from "../service/node_report.ts";
import { isReady } from "../service_lb/nodes/node_verdicts.ts";
import type { ServiceAnswer } from "../service_lb/answers/explain_service.ts";
import { compareText } from "../shared/compare_text.ts";

/** What a status is made of. */
export interface StatusFacts {
  readonly lease: Lease | undefined;
  readonly nodes: readonly Node[];
  readonly services: readonly ServiceAnswer[];
  readonly charts: readonly HelmChart[];
  readonly addOns: readonly AddOn[];
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** One line of any table. */
export interface StatusRow {
  readonly name: string;
  /** One word. */
  readonly state: string;
  readonly message: string;
  /** Whether somebody has to act. */
  readonly problem: boolean;
}

/** One line of the table of Services. */
export interface ServiceRow extends StatusRow {
  readonly ports: readonly string[];
  readonly addresses: readonly string[];
  /** Nodes that serve it. */
  readonly serving: number;
  readonly families: ServiceAnswer["families"];
  readonly trafficPolicy: ServiceAnswer["trafficPolicy"];
  readonly endpoints: ServiceAnswer["endpoints"];
}

/** One line of the table of nodes. */
export interface NodeRow extends StatusRow {
  /** As its kubelet reports them, external ones first; absent: none. */
  readonly addresses?: readonly string[];
}

/** The status as `-o json` prints it. */
export interface ClusterStatus {
  readonly server: StatusRow;
  readonly nodes: readonly NodeRow[];
  readonly services: readonly ServiceRow[];
  readonly charts: readonly StatusRow[];
  readonly addOns: readonly StatusRow[];
}

/** The status that follows from `facts`. */
export function clusterStatus(facts: StatusFacts): ClusterStatus {
  return {
    server: serverRow(facts),
    nodes: facts.nodes.map((node) => ({ ...nodeRow(node, facts), ...addressesOf(node) })).toSorted(byName),
    services: facts.services.filter(({ ours }) => ours).map(serviceRow).toSorted(byName),
    charts: facts.charts.map(chartRow).toSorted(byName),
    addOns: facts.addOns.map(addOnRow).toSorted(byName),
  };
}

/** `status` with nothing but what is wrong. */
export function onlyProblems(status: ClusterStatus): ClusterStatus {
  const wrong = <T extends StatusRow>(rows: readonly T[]): readonly T[] => rows.filter(({ problem }) => problem);
  return {
    server: status.server,
    nodes: wrong(status.nodes),
    services: wrong(status.services),
    charts: wrong(status.charts),
    addOns: wrong(status.addOns),
  };
}

/** Whether anything in `status` is wrong. */
export function hasProblem({ server, nodes, services, charts, addOns }: ClusterStatus): boolean {
  return [server, ...nodes, ...services, ...charts, ...addOns].some(({ problem }) => problem);
}

function serverRow({ lease, nowMs }: StatusFacts): StatusRow {
  const holder = lease?.spec?.holderIdentity ?? "";
  const renewedMs = Date.parse(lease?.spec?.renewTime ?? "");
  const ageMs = nowMs - renewedMs;
  if (holder === "" || Number.isNaN(renewedMs)) {
    const message = "no server holds the election's Lease; one with --no-leader-elect takes none";
    return { name: "server", state: "Unknown", message, problem: false };
  }
  const limitMs = ((lease?.spec?.leaseDurationSeconds ?? 15) + CLOCK_DIFFERENCE_SECONDS) * 1000;
  if (ageMs <= limitMs) return { name: holder, state: "Active", message: "", problem: false };
  const message = `its Lease was renewed ${Math.round(ageMs / 1000)} s ago: start k3slb server`;
  return { name: holder, state: "Silent", message, problem: true };
}

function nodeRow(node: Node, { nowMs }: StatusFacts): StatusRow {
  const name = node.metadata?.name ?? "";
  const heartbeat = heartbeatOf(node);
  if (!isReady(node)) return { name, state: "NotReady", message: "the node is not Ready", problem: true };
  if (heartbeat === undefined) {
    return { name, state: "NoAgent", message: "no k3slb agent has been heard of there", problem: false };
  }
  const ageMs = heartbeatAgeMs(node, nowMs) ?? 0;
  if (ageMs > SILENT_AGENT_MS) {
    const message = `its agent was last heard ${Math.round(ageMs / 1000)} s ago`;
    return { name, state: "Silent", message, problem: true };
  }
  const isForwarding = heartbeat.status === "True";
  const state = isForwarding ? "Forwarding" : heartbeat.reason || "NotForwarding";
  const { message = "" } = heartbeat;
  if (!WRITER_REGEXP.test(message)) return { name, state, message, problem: !isForwarding };
  return { name, state, message: isForwarding ? "" : `kubectl describe node ${name} says why`, problem: !isForwarding };
}

/** All that the server keeps of a heartbeat's words (`trimNode`). */
const WRITER_REGEXP = /^instance \S+$/;

function addressesOf({ status }: Node): Pick<NodeRow, "addresses"> {
  const addresses = ["ExternalIP", "InternalIP"].flatMap((wanted) =>
    (status?.addresses ?? []).flatMap(({ type, address }) => type === wanted ? [address] : [])
  );
  return addresses.length === 0 ? {} : { addresses };
}

function serviceRow(answer: ServiceAnswer): ServiceRow {
  const { namespace, name, served, problem, ports, addresses, nodes, families, trafficPolicy, endpoints } = answer;
  return {
    name: `${namespace}/${name}`,
    state: served.reason,
    message: problem ? served.message : "",
    problem,
    ports,
    addresses,
    serving: nodes.filter(({ serves }) => serves).length,
    families,
    trafficPolicy,
    endpoints,
  };
}

function chartRow(chart: HelmChart): StatusRow {
  const name = objectKey(chart);
  const deployed = conditionOf(chart, "Deployed");
  const failed = conditionOf(chart, "Failed");
  const isFailed = failed?.status === "True";
  if (deployed?.status === "True" && !isFailed) {
    return { name, state: "Deployed", message: deployed.message ?? "", problem: false };
  }
  const said = isFailed ? failed : deployed;
  const message = said === undefined ? "no server has looked at it yet" : said.message ?? "";
  return {
    name,
    state: said?.reason ?? "Unknown",
    message,
    problem: isFailed || WRONG_CHART_REASONS.has(said?.reason ?? ""),
  };
}

function addOnRow({ metadata, spec }: AddOn): StatusRow {
  const name = metadata?.name ?? "";
  if (spec?.checksum) return { name, state: "Applied", message: spec.source ?? "", problem: false };
  const message = `${
    spec?.source ?? "its file"
  } is not applied: kubectl get events -n ${metadata?.namespace} names the reason`;
  return { name, state: "NotApplied", message, problem: true };
}

function byName(a: StatusRow, b: StatusRow): number {
  return compareText(a.name, b.name);
}

/** Reasons of the condition `Deployed` that do not pass by themselves. */
const WRONG_CHART_REASONS: ReadonlySet<string> = new Set(["Retrying", "ReleaseFailed", "JobFailed", "JobCreateFailed"]);
const CLOCK_DIFFERENCE_SECONDS = 60;
