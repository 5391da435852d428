// Verdict on a pod + what the kernel has -> the pod's readiness gate, and the patch that writes it only when it changes. Pure.
// True means: the kernel has the rules for every port. The message is the operator's answer to "why not on this node".
import type { Patch } from "../../../core/kube/contract.ts";
import type { Pod } from "../../../core/kube/types.ts";
import { PROGRAMMED_CONDITION, SERVED_ADDRESSES_ANNOTATION } from "../../../core/service/labels.ts";
import { portLabel } from "../../../core/service/port_owners.ts";
import { errorMessage, isK3slbError } from "../../../core/shared/errors.ts";
import { present } from "../../../core/shared/values.ts";
import { visibleLine } from "../../../core/shared/visible_text.ts";
import type { ApplyReport, ForwardedPort } from "../../dataplane_contract.ts";
import { gateOf, isPlaceholder } from "../plan/load_balancer_pods.ts";
import { portKey, type ServiceDecision } from "../plan/service_decision.ts";

/** Status, reason and message of a condition. */
export interface ConditionState {
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

/** What the agent says on a pod. */
export interface GateState extends ConditionState {
  /** The node's addresses at which the Service is served; absent: all. */
  readonly servedAddresses?: readonly string[];
}

/** How the last apply of the plan ended. */
export type ApplyOutcome =
  | { readonly report: ApplyReport }
  | {
    readonly error: unknown;
    /** {@linkcode portKey} of the ports that the kernel still has from an earlier apply. */
    readonly programmed: ReadonlySet<string>;
  };

/** The gate that `verdict` deserves. */
export function desiredGate(verdict: ServiceDecision, outcome: ApplyOutcome): GateState {
  const [first] = verdict.refusals;
  if (first) return no(first.reason, verdict.refusals.map((one) => one.message).join("; "));
  if ("error" in outcome) {
    // Rules that an earlier apply wrote go on serving: one failed update must not take a working node out.
    const missing = verdict.ports.filter((port) => !outcome.programmed.has(portKey(port)));
    if (missing.length === 0) return yes(verdict);
    return no(failureReason(outcome.error), `Rules are not in the kernel: ${errorMessage(outcome.error)}`);
  }
  return reportedGate(verdict, outcome.report);
}

/** The patch of `pods/status` that makes gate and served addresses say `state`; `undefined` if the pod has no such gate or it already says so. */
export function gatePatch(pod: Pod, state: GateState, now: string): Patch | undefined {
  if (!isPlaceholder(pod)) return undefined;
  const { servedAddresses, ...condition } = state;
  const before = gateOf(pod);
  const served = servedAddresses?.join(",");
  const isServedSame = pod.metadata?.annotations?.[SERVED_ADDRESSES_ANNOTATION] === served;
  if (saysTheSame(pod, state) && before?.message === state.message) return undefined;
  const lastTransitionTime = before?.status === state.status ? before.lastTransitionTime ?? now : now;
  const metadata = {
    // A pod that was made anew under the same name must not inherit its predecessor's gate.
    ...present({ uid: pod.metadata?.uid }),
    ...(isServedSame ? {} : { annotations: { [SERVED_ADDRESSES_ANNOTATION]: served ?? null } }),
  };
  return {
    type: "strategic",
    body: {
      ...(Object.keys(metadata).length === 0 ? {} : { metadata }),
      status: { conditions: [{ type: PROGRAMMED_CONDITION, ...condition, lastTransitionTime }] },
    },
  };
}

/** Whether the pod already says all of `state` but for the message. */
export function saysTheSame(pod: Pod, state: GateState): boolean {
  const before = gateOf(pod);
  return before?.status === state.status && before.reason === state.reason &&
    pod.metadata?.annotations?.[SERVED_ADDRESSES_ANNOTATION] === state.servedAddresses?.join(",");
}

/** CamelCase reason for a failure: `iptables-locked` is `IptablesLocked`. */
export function failureReason(error: unknown): string {
  if (!isK3slbError(error)) return "ProgrammingFailed";
  return error.code.replaceAll(/(?:^|-)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function reportedGate(verdict: ServiceDecision, report: ApplyReport): GateState {
  const keys = new Set(verdict.ports.map(portKey));
  const failures = report.failures.filter((one) => keys.has(portKey(one.port)));
  if (failures.length > 0) {
    const words = failures.map((one) => `${portLabel(one.port)}, ${one.family}: ${one.reason}`);
    return no("ProgrammingFailed", `Rules are not in the kernel: ${words.join("; ")}`);
  }
  const homeless = verdict.ports.find((port) => !port.families.some((family) => report.families.includes(family)));
  if (homeless) {
    return no(
      "FamilyMissing",
      `${homeless.families.join(" and ") || "No family of the Service"} can't be forwarded by this node's kernel`,
    );
  }
  const missing = [...new Set(verdict.ports.flatMap((port) => port.families))]
    .filter((family) => !report.families.includes(family));
  return yes(verdict, missing.length > 0 ? [`${missing.join(" and ")} is missing on this node`] : []);
}

function yes(verdict: ServiceDecision, notes: readonly string[] = []): GateState {
  const ports = verdict.ports.map((port: ForwardedPort) => `${port.protocol} ${port.port}`).join(", ");
  const sentences = [
    `The kernel forwards ${ports === "" ? "nothing: the Service has no ports" : ports}`,
    ...verdict.notes,
    ...notes,
  ];
  return {
    status: "True",
    reason: "Programmed",
    message: conditionMessage(sentences.join("; ")),
    ...present({ servedAddresses: verdict.servedAddresses }),
  };
}

function no(reason: string, message: string): ConditionState {
  return { status: "False", reason, message: conditionMessage(message) };
}

/** `text` as a condition carries it: one line, and far below what an API server takes. Processes of the host name themselves as they like. */
export function conditionMessage(text: string): string {
  const line = visibleLine(text.slice(0, MAX_MESSAGE_LENGTH));
  return text.length > MAX_MESSAGE_LENGTH || line.length > MAX_MESSAGE_LENGTH
    ? `${line.slice(0, MAX_MESSAGE_LENGTH - 1)}…`
    : line;
}

const MAX_MESSAGE_LENGTH = 4000;
