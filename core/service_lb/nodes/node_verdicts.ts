// For every node of the cluster: does it serve a Service, and if not, why. Pure.
// The status, the condition, the Events and `explain` are all made from these verdicts, so that they can't disagree.
import { conditionOf } from "../../kube/conditions.ts";
import type { EndpointSlice, Node, Pod, Service } from "../../kube/types.ts";
import { FORWARDING_CONDITION } from "../../service/labels.ts";
import { nodesWithEndpoints } from "../../service/endpoints.ts";
import { compareText } from "../../shared/compare_text.ts";
import { daemonSetName } from "../daemonset/names.ts";
import { servedAddressesOf } from "../../service/node_addresses.ts";
import { chooseNode, type NotSelectedReason, type SelectionFacts } from "../../service/node_selection.ts";
import { readService, type ServiceReading } from "../../service/reading.ts";
import { isPlaceholder, nodeOfPod, type PodReason, podState, reservationGap } from "../daemonset/pod_state.ts";
import type { PortConflict } from "../../service/port_owners.ts";
import type { PodObstacles, PortHolder } from "../daemonset/port_holder.ts";
import type { Reported } from "./node_reports.ts";

/** Why a node does not serve. */
export type VerdictReason =
  | NotSelectedReason
  | PodReason
  | "PortTaken"
  | "NoLocalEndpoint"
  | "NoPod"
  | "FailedCreate"
  | "AgentMissing"
  | "NodeNotReady"
  | "AgentSilent"
  | "NodeSilent"
  | "NoAddress";

/** What holds for one node. */
export type NodeVerdict =
  | {
    readonly node: string;
    readonly serves: true;
    /** Addresses of the node that it serves at, as its agent says; absent: all. */
    readonly servedAddresses?: readonly string[];
    /** Its pod is only being replaced. */
    readonly isMissing?: true;
    /** What is wrong although it serves. */
    readonly degraded?: string;
    /** How it serves, where that is not as usual, or what its connections come to for want of endpoints. */
    readonly note?: string;
    readonly unreserved?: Unreserved;
    /** It has been without a reservation for so long that this is told. */
    readonly isReservationMissed?: true;
  }
  | {
    readonly node: string;
    readonly serves: false;
    readonly reason: VerdictReason;
    readonly message: string;
    /** Whether it may serve in a moment without anyone doing anything. */
    readonly waiting: boolean;
    /** Its pod was to be replaced, and no other has come for too long. */
    readonly isMissing?: true;
    readonly unreserved?: Unreserved;
  };

/** Why the scheduler does not keep the Service's ports for it on a node whose agent decides by itself: the state of its pod there. */
export interface Unreserved {
  /** Stable CamelCase name. */
  readonly reason: "NoPod" | "FailedCreate" | "PodFailed" | "NotScheduled" | "WaitingForScheduler";
  /** Why, for people. */
  readonly message: string;
}

/** What the verdicts of one Service are made from. */
export interface VerdictFacts {
  /** All nodes of the cluster. */
  readonly nodes: Iterable<Node>;
  /** The Service's pods, of any age. */
  readonly pods: Iterable<Pod>;
  /** The Service's slices; read only for externalTrafficPolicy Local. */
  readonly slices: Iterable<EndpointSlice>;
  /** What decides about nodes for all Services. */
  readonly selection: SelectionFacts;
  /** By node name the port that an older Service has there. */
  readonly conflicts: ReadonlyMap<string, PortConflict>;
  /** Nodes whose agent has not been heard for too long. */
  readonly silentNodes: ReadonlySet<string>;
  /** Nodes that have stopped answering, with what is said of each. */
  readonly deadNodes?: ReadonlyMap<string, string>;
  /** What the agent of a node that decides by itself says of the Service; `undefined` for nodes whose pods decide. */
  readonly reported?: (node: string) => Reported | undefined;
  /** No pods are wanted. */
  readonly withoutPods?: boolean;
  /** What is known of pods that are missing or can't be scheduled. */
  readonly obstacles?: PodObstacles;
}

/** One verdict per node, sorted by name. */
export function nodeVerdicts(service: Service, facts: VerdictFacts): readonly NodeVerdict[] {
  const podOf = podsByNode(facts.pods, daemonSetName(service));
  const reading = readService(service);
  const localNodes = reading.trafficPolicy === "Local" ? nodesWithEndpoints(facts.slices) : undefined;
  const nodes = [...facts.nodes].toSorted((a, b) => compareText(nameOf(a), nameOf(b)));
  const judged = nodes.map((node) => {
    const pod = podOf.get(nameOf(node));
    const said = facts.reported?.(nameOf(node));
    const isAgents = said !== undefined || (pod !== undefined && isPlaceholder(pod));
    return {
      verdict: judge(node, { ...facts, reading, localNodes, pod, said }),
      weakness: deadness(facts.deadNodes?.get(nameOf(node))) ??
        weaknessOf(node, isAgents && facts.silentNodes.has(nameOf(node))),
    };
  });
  // Readiness, or silence, alone never empties a status: the weak ones stay while no better one serves.
  const best = Math.min(...judged.map(({ verdict, weakness }) => verdict.serves ? weakness?.rank ?? 0 : Infinity));
  return judged.map(({ verdict, weakness }) => {
    if (!verdict.serves || weakness === undefined) return verdict;
    if (weakness.rank === best) {
      return { ...verdict, degraded: `${weakness.message}; it stays as no better node serves` };
    }
    return refuse(verdict.node, weakness.reason, { message: weakness.message, waiting: false });
  });
}

interface JudgeFacts extends Omit<VerdictFacts, "nodes" | "pods" | "slices"> {
  readonly reading: ServiceReading;
  readonly localNodes: ReadonlySet<string> | undefined;
  readonly pod: Pod | undefined;
  readonly said: Reported | undefined;
}

function judge(node: Node, facts: JudgeFacts): NodeVerdict {
  const name = nameOf(node);
  const { pod, localNodes, said } = facts;
  const choice = chooseNode(node, facts.reading, facts.selection);
  // A taint keeps new pods away; the one that is there goes on (NoSchedule), or goes away by itself (NoExecute).
  const stays = said === undefined ? Boolean(pod?.spec?.nodeName) : said.says === "serves";
  if (!choice.selected && !(choice.reason === "Tainted" && stays)) {
    return refuse(name, choice.reason, { message: choice.message, waiting: false });
  }
  const conflict = said === undefined || said.says === "nothing" ? facts.conflicts.get(name) : undefined;
  if (conflict !== undefined) {
    const message = conflict.message ?? `port ${conflict.port} is taken by Service ${conflict.owner}`;
    return refuse(name, "PortTaken", { message, waiting: false });
  }
  // A port that another Service has is the first thing to be fixed.
  if (said?.says === "refuses" && said.reason === "PortTaken") return bySaying(name, { ...facts, said });
  if (localNodes !== undefined && !localNodes.has(name)) {
    const message = "it has no ready endpoint and externalTrafficPolicy is Local";
    return refuse(name, "NoLocalEndpoint", { message, waiting: false });
  }
  // For Services that did not fit into the report their pods tell.
  const isLeftOut = said?.says === "nothing" && said.isCut && !facts.withoutPods;
  if (said !== undefined && !isLeftOut) return bySaying(name, { ...facts, said });
  if (pod === undefined && facts.withoutPods) return withoutReport(node);
  if (pod === undefined) return withoutPod(name, facts.obstacles);
  const state = podState(pod);
  if (state.forwards) {
    const servedAddresses = servedAddressesOf(pod);
    return {
      node: name,
      serves: true,
      ...(servedAddresses === undefined ? {} : { servedAddresses }),
      ...(state.note === undefined ? {} : { note: state.note }),
    };
  }
  const holder = state.reason === "NotScheduled" ? facts.obstacles?.holders.get(name) : undefined;
  if (holder !== undefined) return heldPort(name, holder);
  if (state.reason === "WaitingForAgent" && !hasAgent(node)) {
    const message = "no k3slb agent has been heard of there";
    return refuse(name, "AgentMissing", { message, waiting: true });
  }
  return refuse(name, state.reason, { message: state.message, waiting: MAY_PASS.has(state.reason) });
}

/** The agent decides by itself. Its pod there only keeps the ports, which is told and changes nothing else. */
function bySaying(node: string, facts: JudgeFacts & { readonly said: Reported }): NodeVerdict {
  const { said } = facts;
  const holder = facts.obstacles?.holders.get(node);
  const listens = holder?.serves ? heldPort(node, holder) : undefined;
  const unreserved = facts.withoutPods || listens
    ? undefined
    : unreservedBy(facts.pod, { holder, obstacles: facts.obstacles });
  const reservation = unreserved === undefined ? {} : { unreserved };
  if (said.says === "serves") {
    return {
      node,
      serves: true,
      ...listens,
      ...(said.servedAddresses === undefined ? {} : { servedAddresses: said.servedAddresses }),
      ...(said.note === undefined ? {} : { note: said.note }),
      ...reservation,
    };
  }
  if (said.says === "nothing") {
    return refuse(node, "WaitingForAgent", { message: said.isCut ? NO_ROOM : NOT_SEEN, waiting: !said.isCut });
  }
  if (listens !== undefined) return listens;
  return {
    ...refuse(node, said.reason === "PortTaken" ? "PortTaken" : "NotProgrammed", {
      message: said.reason === "PortTaken" ? said.message : `rules are not programmed: ${said.reason}: ${said.message}`,
      waiting: false,
    }),
    ...reservation,
  };
}

function unreservedBy(
  pod: Pod | undefined,
  { holder, obstacles }: { readonly holder: PortHolder | undefined; readonly obstacles: PodObstacles | undefined },
): Unreserved | undefined {
  if (pod === undefined) {
    if (obstacles?.refusal === undefined) return { reason: "NoPod", message: "it has no pod of the DaemonSet" };
    return { reason: "FailedCreate", message: `its pod can't be created: ${obstacles.refusal}` };
  }
  const gap = reservationGap(pod);
  return gap?.reason === "NotScheduled" && holder !== undefined ? { ...gap, message: heldBy(holder) } : gap;
}

/** Without pods only agents that decide by themselves can say that they serve. */
function withoutReport(node: Node): NodeVerdict {
  const message = hasAgent(node)
    ? "its agent has not said what it serves; with --reserve-ports none it must be as new as the server"
    : "no k3slb agent has been heard of there";
  return refuse(nameOf(node), hasAgent(node) ? "WaitingForAgent" : "AgentMissing", { message, waiting: true });
}

function withoutPod(node: string, obstacles: PodObstacles | undefined): NodeVerdict {
  const refusal = obstacles?.refusal;
  if (refusal === undefined) {
    return refuse(node, "NoPod", { message: "it has no pod of the DaemonSet yet", waiting: true });
  }
  return refuse(node, "FailedCreate", { message: `its pod can't be created: ${refusal}`, waiting: false });
}

/** The pod is not scheduled, as another one has the port. */
function heldPort(node: string, holder: PortHolder): NodeVerdict {
  if (holder.serves) return { node, serves: true, note: `the Service's pod ${holder.pod} listens on the node itself` };
  return refuse(node, "NotScheduled", { message: heldBy(holder), waiting: false });
}

function heldBy({ pod, port }: PortHolder): string {
  return `its pod is not scheduled: pod ${pod} has port ${port} of the node`;
}

interface Weakness {
  /** Higher is worse. */
  readonly rank: number;
  readonly reason: "AgentSilent" | "NodeNotReady" | "NodeSilent";
  readonly message: string;
}

/** A node that is not there at all is worse off than any other. */
function deadness(message: string | undefined): Weakness | undefined {
  return message === undefined ? undefined : { rank: 3, reason: "NodeSilent", message };
}

function weaknessOf(node: Node, isSilent: boolean): Weakness | undefined {
  if (!isReady(node)) return { rank: 2, reason: "NodeNotReady", message: "the node is not Ready" };
  return isSilent ? { rank: 1, reason: "AgentSilent", message: "its agent has been silent for 3 minutes" } : undefined;
}

/** Whether kubelet reports the node Ready; a node without the condition counts as Ready. */
export function isReady(node: Node): boolean {
  return (conditionOf(node, "Ready")?.status ?? "True") === "True";
}

/** Whether an agent has ever written its heartbeat on the node. */
export function hasAgent(node: Node): boolean {
  return conditionOf(node, FORWARDING_CONDITION) !== undefined;
}

/** Per node the pod that says most: of the wanted DaemonSet, not ending, forwarding if any does, else the youngest. */
function podsByNode(pods: Iterable<Pod>, app: string): ReadonlyMap<string, Pod> {
  const byNode = new Map<string, Pod>();
  for (const pod of pods) {
    const node = nodeOfPod(pod);
    if (node === undefined || pod.metadata?.labels?.["app"] !== app) continue;
    const known = byNode.get(node);
    if (known === undefined || podRank(pod) > podRank(known)) byNode.set(node, pod);
  }
  return byNode;
}

/** As text, so that age and name decide between pods that are otherwise alike. */
function podRank(pod: Pod): string {
  const state = podState(pod);
  const rank = state.forwards ? 3 : state.reason === "PodEnding" ? 0 : state.reason === "PodFailed" ? 1 : 2;
  return `${rank} ${pod.metadata?.creationTimestamp ?? ""} ${pod.metadata?.name ?? ""}`;
}

function refuse(
  node: string,
  reason: VerdictReason,
  rest: { readonly message: string; readonly waiting: boolean },
): NodeVerdict {
  return { node, serves: false, reason, ...rest };
}

function nameOf(node: Node): string {
  return node.metadata?.name ?? "";
}

const NOT_SEEN = "its agent has not seen the Service as it is now yet";
const NO_ROOM = "its agent serves more Services than it can report; with --reserve-ports daemonset their pods tell";
const MAY_PASS: ReadonlySet<VerdictReason> = new Set([
  "PodEnding",
  "PodOutdated",
  "WaitingForScheduler",
  "WaitingForAgent",
  "PodNotReady",
]);
