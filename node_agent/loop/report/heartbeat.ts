// The agent's heartbeat: a condition on its own Node, as node-problem-detector does it (the one thing a node's identity may
// write without further rights). What it says, when it is due, and whether another live agent writes it too. Pure.
import type { Patch } from "../../../core/kube/contract.ts";
import type { Node } from "../../../core/kube/types.ts";
import { FORWARDING_CONDITION, NODE_REPORT_ANNOTATION, PROBE_ANSWER_ANNOTATION } from "../../../core/service/labels.ts";
import { heartbeatOf, heartbeatWriter } from "../../../core/service/node_report.ts";
import { IP_FAMILIES } from "../../../core/shared/ip.ts";
import { plural } from "../../../core/shared/name_list.ts";
import type { ApplyReport, ForwardingPlan } from "../../dataplane_contract.ts";
import { conditionMessage, type ConditionState } from "./desired_gate.ts";

/** Milliseconds between two heartbeats while nothing changes. */
export const HEARTBEAT_INTERVAL_MS = 60_000;

/** Who writes the heartbeat. */
export interface AgentSignature {
  readonly version: string;
  readonly backend: string;
  /** Different for each run of the program. */
  readonly instanceId: string;
}

/** What the agent is able to do at present. */
export type ForwardingHealth =
  | {
    readonly plan: ForwardingPlan;
    readonly report: ApplyReport;
    /** What keeps packets from arriving although the rules are there. */
    readonly warnings?: readonly string[];
  }
  | { readonly reason: string; readonly message: string };

/** The condition for `health`; `rivalId` is the instance of another agent that lives under the same node name. */
export function heartbeatState(
  health: ForwardingHealth,
  signature: AgentSignature,
  rivalId?: string,
): ConditionState {
  const rival = rivalId === undefined ? "" : `another agent (instance ${rivalId}) runs under this node name; `;
  const by = `agent ${signature.version}, ${signature.backend}, instance ${signature.instanceId}`;
  if ("reason" in health) {
    return { status: "False", reason: health.reason, message: `${conditionMessage(health.message)}; ${rival}${by}` };
  }
  const rules = IP_FAMILIES.filter((family) => health.report.ruleCounts[family] !== undefined)
    .map((family) => `${health.report.ruleCounts[family]} ${family} rules`);
  const unwritten = unwrittenFamilies(health);
  const said = [...unwritten, [countsOf(health.plan), ...rules].join(", "), ...health.warnings ?? []];
  const what = conditionMessage(said.join("; "));
  const verdict = unwritten.length === 0
    ? { status: "True", reason: "Forwarding" } as const
    : { status: "False", reason: "FamilyNotWritten" } as const;
  return { ...verdict, message: `${what}; ${rival}${by}` };
}

/** What of `health` is worth a write before the next heartbeat is due; rules come and go with every endpoint, and are not. */
export function heartbeatNews(health: ForwardingHealth): string {
  if ("reason" in health) return health.reason;
  return [countsOf(health.plan), ...unwrittenFamilies(health), ...health.warnings ?? []].join("\n");
}

/** One sentence for each family that ports want and that could not be written. */
function unwrittenFamilies({ plan, report }: Extract<ForwardingHealth, { plan: unknown }>): readonly string[] {
  return (report.unwritten ?? [])
    .filter(({ family }) => plan.ports.some((port) => port.families.includes(family)))
    .map(({ family, reason }) => `the ${family} rules are not as they should be: ${reason}`);
}

function countsOf(plan: ForwardingPlan): string {
  const services = new Set(plan.ports.map((port) => `${port.namespace}/${port.service}`)).size;
  return `${plural(plan.ports.length, "port")} of ${plural(services, "Service")}`;
}

/** What {@linkcode heartbeatPatch} writes. */
export interface HeartbeatWish {
  readonly state: ConditionState;
  /** `undefined`: none is to stand there. */
  readonly report: string | undefined;
  /** Whether this agent wrote this very report last; the Node as last seen may be older than that. */
  readonly isWritten: boolean;
  readonly now: string;
}

/** The patch of `nodes/status` that writes the state and, unless it was written and still stands there, the report. */
export function heartbeatPatch(node: Node | undefined, { state, report, isWritten, now }: HeartbeatWish): Patch {
  const before = heartbeatOf(node);
  const lastTransitionTime = before?.status === state.status ? before.lastTransitionTime ?? now : now;
  const condition = { type: FORWARDING_CONDITION, ...state, lastHeartbeatTime: now, lastTransitionTime };
  const isSame = isWritten && node?.metadata?.annotations?.[NODE_REPORT_ANNOTATION] === report;
  return {
    type: "strategic",
    body: {
      ...(isSame ? {} : { metadata: { annotations: { [NODE_REPORT_ANNOTATION]: report ?? null } } }),
      status: { conditions: [condition] },
    },
  };
}

/** The patch of `nodes/status` that takes away what the agent says there. */
export function heartbeatRemovalPatch(): Patch {
  return {
    type: "strategic",
    body: {
      metadata: { annotations: { [NODE_REPORT_ANNOTATION]: null, [PROBE_ANSWER_ANNOTATION]: null } },
      status: { conditions: [{ $patch: "delete", type: FORWARDING_CONDITION }] },
    },
  };
}

/**
 * Instance of another agent that wrote the heartbeat of `node` after `sinceMs`, when this one had written its first:
 * the predecessor of a restarted agent is older and does not count.
 */
export function rivalInstance(node: Node | undefined, instanceId: string, sinceMs: number): string | undefined {
  const heartbeat = heartbeatOf(node);
  const writer = heartbeatWriter(node);
  const writtenMs = Date.parse(heartbeat?.lastHeartbeatTime ?? "");
  // The API keeps whole seconds.
  return writer !== undefined && writer !== instanceId && writtenMs >= sinceMs + 1000 ? writer : undefined;
}
