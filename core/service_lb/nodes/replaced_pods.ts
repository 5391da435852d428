// Nodes whose pod is only being replaced. The agent there serves on without it, whichever data plane the pods are of, so the node's address
// stays for as long as a replacement takes, and no longer. Pure.
import type { Node, Service } from "../../kube/types.ts";
import { statusLists } from "../../service/node_addresses.ts";
import { hasAgent, isReady, type NodeVerdict, type VerdictReason } from "./node_verdicts.ts";

/** What is remembered of a node that serves, or whose pod is missing. */
export interface RememberedNode {
  /** At which of its addresses it served last; absent: at all. */
  readonly servedAddresses?: readonly string[];
  /** Since when its pod is missing. */
  readonly missingSinceMs?: number;
  /** Since when the scheduler has not kept its ports. */
  readonly unreservedSinceMs?: number;
}

/** By node name. */
export type RememberedNodes = ReadonlyMap<string, RememberedNode>;

/** What decides beside the verdict. */
export interface ReplacementFacts {
  /** The Service with its status. */
  readonly service: Service;
  /** What is remembered of its nodes. */
  readonly remembered: RememberedNodes;
  /** Time that never jumps. */
  readonly nowMs: number;
}

/** The verdict on `node`, which serves on while its pod is being replaced. The caller says that the agent there, if there is one, is heard. */
export function whileReplaced(verdict: NodeVerdict, node: Node, facts: ReplacementFacts): NodeVerdict {
  if (verdict.serves || !REPLACED.has(verdict.reason) || !hasAgent(node) || !isReady(node)) return verdict;
  const { servedAddresses, missingSinceMs = facts.nowMs } = facts.remembered.get(verdict.node) ?? {};
  if (!statusLists(facts.service, node, servedAddresses)) return verdict;
  if (facts.nowMs - missingSinceMs >= REPLACEMENT_MS) return { ...verdict, isMissing: true };
  return {
    node: verdict.node,
    serves: true,
    isMissing: true,
    ...(servedAddresses === undefined ? {} : { servedAddresses }),
  };
}

/**
 * The verdict with what it says of ports that no pod keeps, once that has lasted: pods take their time, and nobody waits for them.
 *
 * @param facts Absent: nothing is known of before, and it is told at once.
 */
export function withReservation(
  verdict: NodeVerdict,
  facts: Pick<ReplacementFacts, "remembered" | "nowMs"> | undefined,
): NodeVerdict {
  const { unreserved } = verdict;
  if (unreserved === undefined || !verdict.serves) return verdict;
  if (facts !== undefined) {
    const { unreservedSinceMs = facts.nowMs } = facts.remembered.get(verdict.node) ?? {};
    if (facts.nowMs - unreservedSinceMs < RESERVATION_MS) return verdict;
  }
  const note = `its ports are not kept from other pods: ${unreserved.message}`;
  return {
    ...verdict,
    note: verdict.note === undefined ? note : `${verdict.note}; ${note}`,
    isReservationMissed: true,
  };
}

/** What to remember of the nodes after `verdicts`. */
export function nodesAfter(
  before: RememberedNodes = new Map(),
  verdicts: readonly NodeVerdict[],
  nowMs: number,
): RememberedNodes {
  const after = new Map<string, RememberedNode>();
  for (const verdict of verdicts) {
    const served = verdict.serves ? verdict.servedAddresses : before.get(verdict.node)?.servedAddresses;
    const missingSinceMs = verdict.isMissing ? before.get(verdict.node)?.missingSinceMs ?? nowMs : undefined;
    const unreservedSinceMs = verdict.unreserved ? before.get(verdict.node)?.unreservedSinceMs ?? nowMs : undefined;
    if (served === undefined && missingSinceMs === undefined && unreservedSinceMs === undefined) continue;
    after.set(verdict.node, {
      ...(served === undefined ? {} : { servedAddresses: served }),
      ...(missingSinceMs === undefined ? {} : { missingSinceMs }),
      ...(unreservedSinceMs === undefined ? {} : { unreservedSinceMs }),
    });
  }
  return after;
}

/** Milliseconds until the first of the nodes has waited long enough for its pod; `undefined` if none waits. */
export function replacementEndMs(nodes: RememberedNodes = new Map(), nowMs: number): number | undefined {
  const left = [...nodes.values()].flatMap(({ missingSinceMs, unreservedSinceMs }) => [
    ...(missingSinceMs === undefined ? [] : [missingSinceMs + REPLACEMENT_MS - nowMs]),
    ...(unreservedSinceMs === undefined ? [] : [unreservedSinceMs + RESERVATION_MS - nowMs]),
  ]).filter((delayMs) => delayMs > 0);
  return left.length === 0 ? undefined : Math.min(...left);
}

/** States of a pod that the next one follows. */
const REPLACED: ReadonlySet<VerdictReason> = new Set([
  "NoPod",
  "PodEnding",
  "PodFailed",
  "PodOutdated",
  "WaitingForScheduler",
  "WaitingForAgent",
  "PodNotReady",
]);

/** In a burst a pod takes half of this. */
const REPLACEMENT_MS = 60_000;
/** Longer than pods of a burst take on a busy machine. */
const RESERVATION_MS = 60_000;
