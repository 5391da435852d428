// Everything that one Service should have, from the whole state: its DaemonSet, its addresses, its condition. Pure.
// The controller writes what this says and `explain` prints it.
import type { DaemonSet, Node, Service } from "../kube/types.ts";
import { type DaemonSetOptions, DEFAULT_TOLERATIONS, desiredDaemonSet } from "./desired_daemonset.ts";
import { desiredStatus, type IngressAddress, type StatusOptions } from "./desired_status.ts";
import { chooseNode, type NodeConstraint, nodeConstraint, type NodeSelectionOptions } from "./node_selection.ts";
import { type NodeVerdict, nodeVerdicts, type VerdictFacts } from "./node_verdicts.ts";
import { type ServedSummary, servedSummary } from "./served_condition.ts";
import type { WaitsFor } from "./status_timing.ts";
import { type ServiceSettings, serviceSettings } from "./service_settings.ts";

/** What is the same for all Services. */
export type DesiredServiceOptions = DaemonSetOptions & StatusOptions & NodeSelectionOptions;

/** What is known that concerns one Service. */
export type ServiceFacts =
  & Pick<VerdictFacts, "pods" | "slices" | "conflicts" | "silentNodes">
  & { readonly nodes: ReadonlyMap<string, Node>; readonly allowList: boolean };

/** What to do about the DaemonSet. */
export type DaemonSetAction =
  | { readonly action: "apply"; readonly daemonSet: DaemonSet }
  /** An older Service has the ports on every node. */
  | { readonly action: "remove" }
  /** The Service's wishes can't be met; what serves goes on serving. */
  | { readonly action: "keep" };

/** What one Service should have. */
export interface DesiredService {
  readonly daemonSet: DaemonSetAction;
  readonly ingress: readonly IngressAddress[];
  readonly verdicts: readonly NodeVerdict[];
  readonly summary: ServedSummary;
  readonly settings: ServiceSettings;
  /** What is expected to change by itself; `undefined` if nothing is. */
  readonly waitsFor: WaitsFor | undefined;
}

/** What `service` should have. */
export function desiredService(
  service: Service,
  options: DesiredServiceOptions & { readonly facts: ServiceFacts },
): DesiredService {
  const { facts } = options;
  const settings = serviceSettings(service);
  const constraint = nodeConstraint(service, { ...options, allowList: facts.allowList });
  const tolerations = [...DEFAULT_TOLERATIONS, ...settings.tolerations];
  const seen = nodeVerdicts(service, { ...facts, nodes: facts.nodes.values(), constraint, tolerations });
  const { ingress, verdicts } = desiredStatus(seen, {
    ...options,
    settings,
    nodeOf: (name) => facts.nodes.get(name),
  });
  const lost = verdicts.filter((verdict) => !verdict.serves && verdict.reason === "PortTaken").map(({ node }) => node);
  const built = desiredDaemonSet(service, { ...options, settings, constraint, without: lost });
  const error = "error" in built ? built.error : undefined;
  const summary = servedSummary(verdicts, { ...(error === undefined ? {} : { error }), warnings: settings.warnings });
  return {
    daemonSet: "error" in built
      ? { action: "keep" }
      : lostEverywhere(verdicts, lost)
      ? { action: "remove" }
      : { action: "apply", daemonSet: built.daemonSet },
    ingress,
    verdicts,
    summary,
    settings,
    waitsFor: error === undefined ? waitsFor(verdicts) : undefined,
  };
}

/** Names of the nodes on which `service` may be, whoever has its ports. */
export function candidateNodes(
  service: Service,
  options: NodeSelectionOptions & { readonly nodes: Iterable<Node>; readonly allowList: boolean },
): readonly string[] {
  const constraint: NodeConstraint = nodeConstraint(service, options);
  const tolerations = [...DEFAULT_TOLERATIONS, ...serviceSettings(service).tolerations];
  const names: string[] = [];
  for (const node of options.nodes) {
    if (chooseNode(node, constraint, tolerations).selected) names.push(node.metadata?.name ?? "");
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

const NO_CANDIDATE: ReadonlySet<string> = new Set(["NotLinux", "NotEnabled", "NotInPool", "Excluded", "Tainted"]);
