// Everything that one Service should have, from the whole state: its DaemonSet, its addresses, its condition. Pure.
// The controller writes what this says and `explain` prints it.
import type { DaemonSet, Node, Service } from "../kube/types.ts";
import { type DaemonSetOptions, type DesiredDaemonSet, desiredDaemonSet } from "./daemonset/desired_daemonset.ts";
import { desiredStatus, type IngressAddress, type StatusOptions } from "./status/desired_status.ts";
import type { LateClaim } from "../service/foreign_ports.ts";
import { rangesAround } from "../service/address_rules.ts";
import { chooseNode, type SelectionFacts } from "../service/node_selection.ts";
import { readService, type SettingsProblem } from "../service/reading.ts";
import { type NodeVerdict, nodeVerdicts, type VerdictFacts } from "./nodes/node_verdicts.ts";
import { type ReplacementFacts, whileReplaced, withReservation } from "./nodes/replaced_pods.ts";
import type { PortReservationMode } from "../service/cluster_facts.ts";
import { NO_CANDIDATE, type ServedSummary, servedSummary } from "./status/served_condition.ts";
import type { WaitsFor } from "./status/status_timing.ts";

/** What is the same for all Services. */
export interface DesiredServiceOptions extends DaemonSetOptions, StatusOptions {
  /** Leave out nodes labelled `node.kubernetes.io/exclude-from-external-load-balancers`. */
  readonly honorExcludeLabel: boolean;
  /**
   * Who keeps the nodes' ports from other pods where agents forward.
   * @default {"daemonset"}
   */
  readonly reservePorts?: PortReservationMode;
}

/** What is known that concerns one Service. */
export type ServiceFacts =
  & Pick<VerdictFacts, "pods" | "slices" | "conflicts" | "silentNodes" | "deadNodes" | "reported" | "obstacles">
  & {
    readonly nodes: ReadonlyMap<string, Node>;
    readonly allowList: boolean;
    /** Younger Services that were given ports of this one on nodes. */
    readonly lateClaims?: readonly LateClaim[];
    /** What is remembered of the nodes; absent: nothing, and no time passes. */
    readonly remembered?: Pick<ReplacementFacts, "remembered" | "nowMs">;
  };

/** What to do about the DaemonSet. */
export type DaemonSetAction =
  | { readonly action: "apply"; readonly daemonSet: DaemonSet }
  /** Kept as it should be where it is, and not made: pods are not wanted, and some node's agent still goes by them. */
  | { readonly action: "retain"; readonly daemonSet: DaemonSet }
  /** An older Service has the ports on every node, or pods are not wanted. */
  | { readonly action: "remove" }
  /** The Service's wishes can't be met; what serves goes on serving. */
  | { readonly action: "keep" };

/** What one Service should have. */
export interface DesiredService {
  /** What to do about the DaemonSet. */
  readonly daemonSet: DaemonSetAction;
  /** Addresses of the status, in order. */
  readonly ingress: readonly IngressAddress[];
  /** One for each node, sorted by name. */
  readonly verdicts: readonly NodeVerdict[];
  /** What the condition says. */
  readonly summary: ServedSummary;
  /** What is wrong in the Service and does not stop it. */
  readonly warnings: readonly SettingsProblem[];
  /** Younger Services whose ports on nodes are served by this one. */
  readonly lateClaims: readonly LateClaim[];
  /** What is expected to change by itself; `undefined` if nothing is. */
  readonly waitsFor: WaitsFor | undefined;
}

/** What `service` should have. */
export function desiredService(
  service: Service,
  options: DesiredServiceOptions & { readonly facts: ServiceFacts },
): DesiredService {
  const { facts } = options;
  const reading = readService(service);
  const selection = { allowList: facts.allowList, honorExcludeLabel: options.honorExcludeLabel };
  const withoutPods = options.dataplane === "agent" && options.reservePorts === "none";
  const judged = nodeVerdicts(service, { ...facts, nodes: facts.nodes.values(), selection, withoutPods });
  const seen = judged.map((verdict) => asRemembered(verdict, service, facts));
  // Where nobody may say which addresses are Services', those around this one's are known.
  const serviceRanges = options.serviceRanges.length > 0 ? options.serviceRanges : rangesAround(service);
  const status = desiredStatus(seen, { ...options, serviceRanges, reading, nodes: facts.nodes });
  const { ingress, verdicts } = status;
  // Not those that lost it by their agents' words alone: what one node says moves no pod of others.
  const lost = verdicts.filter((verdict) =>
    !verdict.serves && verdict.reason === "PortTaken" && facts.conflicts.has(verdict.node)
  ).map(({ node }) => node);
  const built = desiredDaemonSet(service, { ...options, selection, without: lost });
  const fault = "error" in built ? built.error : undefined;
  const [error, ...others] = fault === undefined
    ? reading.faults
    : [fault, ...reading.faults.filter((one) => one !== fault)];
  const late = (facts.lateClaims ?? []).map(({ port, what }) => ({
    reason: "PortTaken",
    message: `Port ${port} is also ${what}, which is younger and not answered`,
  }));
  const warnings = [...others, ...reading.warnings, ...status.warnings, ...late];
  const summary = servedSummary(verdicts, { ...(error === undefined ? {} : { error }), warnings });
  return {
    daemonSet: daemonSetAction(built, {
      isLost: lostEverywhere(verdicts, lost),
      withoutPods,
      isPodNeeded: judged.some(({ node, serves }) => serves && facts.reported?.(node) === undefined),
    }),
    ingress,
    verdicts,
    summary,
    warnings,
    lateClaims: facts.lateClaims ?? [],
    waitsFor: fault === undefined ? waitsFor(verdicts) : undefined,
  };
}

/** `verdict` in the light of what is remembered of its node. */
function asRemembered(verdict: NodeVerdict, service: Service, facts: ServiceFacts): NodeVerdict {
  const { remembered } = facts;
  const node = facts.nodes.get(verdict.node);
  // Nobody forwards without the pod where the agent is silent.
  const isSilent = facts.silentNodes.has(verdict.node) || facts.deadNodes?.has(verdict.node) === true;
  const kept = node === undefined || remembered === undefined || isSilent
    ? verdict
    : whileReplaced(verdict, node, { service, ...remembered });
  return withReservation(kept, remembered);
}

function daemonSetAction(built: DesiredDaemonSet, facts: {
  /** Other Services have its ports on every node. */
  readonly isLost: boolean;
  readonly withoutPods: boolean;
  /** Whether some node's agent still goes by its pod. */
  readonly isPodNeeded: boolean;
}): DaemonSetAction {
  if ("error" in built) return { action: "keep" };
  if (facts.isLost) return { action: "remove" };
  if (!facts.withoutPods) return { action: "apply", daemonSet: built.daemonSet };
  return facts.isPodNeeded ? { action: "retain", daemonSet: built.daemonSet } : { action: "remove" };
}

/** Names of the nodes on which `service` may be, whoever has its ports. */
export function candidateNodes(
  service: Service,
  options: SelectionFacts & { readonly nodes: Iterable<Node> },
): readonly string[] {
  const reading = readService(service);
  const names: string[] = [];
  for (const node of options.nodes) {
    if (chooseNode(node, reading, options).selected) names.push(node.metadata?.name ?? "");
  }
  return names;
}

function waitsFor(verdicts: readonly NodeVerdict[]): WaitsFor | undefined {
  const waiting = verdicts.flatMap((verdict) => !verdict.serves && verdict.waiting ? [verdict.reason] : []);
  if (waiting.length === 0) return undefined;
  return waiting.every((reason) => reason === "NoPod" || reason === "WaitingForScheduler") ? "cluster" : "node";
}

/** Whether every node that could serve has the ports taken: a DaemonSet that names each of them would chase new nodes. */
function lostEverywhere(verdicts: readonly NodeVerdict[], lost: readonly string[]): boolean {
  if (lost.length === 0) return false;
  return verdicts.every((verdict) =>
    !verdict.serves && (verdict.reason === "PortTaken" || NO_CANDIDATE.has(verdict.reason))
  );
}
