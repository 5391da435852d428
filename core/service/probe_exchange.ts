// How somebody who may write what the server publishes has every agent connect to a Service: one request at a time, as an annotation of the
// ConfigMap of facts, and one answer a node, as an annotation of its Node. Pure. A request names a Service of the cluster and nothing else:
// agents connect to the addresses in its status and its own ports only, to no name, and to nothing that is never a Service's address.
import type { Service } from "../kube/types.ts";
import { type ProbeOutcome, type ProbeState, type ProbeTarget, probeTargets } from "../runtime/probe_outcome.ts";
import { list, mapping, oneOf, parseChecked, text, WrongPart } from "../shared/checked_json.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import { present } from "../shared/values.ts";
import { publishObstacle } from "./address_rules.ts";
import type { ServiceKey } from "./keys.ts";
import { readService } from "./reading.ts";

/** What is asked. */
export interface ProbeRequest {
  /** Each agent answers it once. */
  readonly id: string;
  readonly service: ServiceKey;
}

/** What one node answers. */
export interface NodeProbe {
  readonly id: string;
  /** By {@linkcode targetId}; what was not tried is absent. */
  readonly outcomes: ReadonlyMap<string, ProbeOutcome>;
}

/** The text of `request`. */
export function renderProbeRequest({ id, service }: ProbeRequest): string {
  return `${id} ${service}`;
}

/** What `text` asks; `undefined` if nothing. */
export function parseProbeRequest(text: string | undefined): ProbeRequest | undefined {
  const match = REQUEST_REGEXP.exec(text ?? "");
  if (match === null) return undefined;
  const [, id = "", service = ""] = match;
  return { id, service };
}

/** What an agent connects to for `service`: at most {@linkcode MAX_PROBE_TARGETS}, SCTP left out. */
export function agentTargets(service: Service): readonly ProbeTarget[] {
  const addresses = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip = "" }) => {
    const address = canonicalIp(ip);
    return address === undefined || publishObstacle(address, "", NOTHING_KNOWN) !== undefined ? [] : [address];
  });
  const ports = readService(service).ports.filter(({ protocol }) => protocol !== "SCTP");
  return probeTargets([...new Set(addresses)].slice(0, MAX_PROBE_TARGETS), ports.slice(0, MAX_PROBE_TARGETS))
    .slice(0, MAX_PROBE_TARGETS);
}

/** Names a target, whichever way its address is written. */
export function targetId({ address, port, protocol }: ProbeTarget): string {
  return `${canonicalIp(address) ?? address} ${port}/${protocol}`;
}

/** The text of an answer. */
export function renderNodeProbe({ id, outcomes }: NodeProbe): string {
  const results = [...outcomes].map(([target, { state, latencyMs, detail }]) =>
    [target, state, latencyMs && Math.round(latencyMs * 10) / 10, detail].filter((each) => each !== undefined)
  );
  return JSON.stringify({ version: VERSION, id, results });
}

/** What a node says in `text`; `undefined` if it is of an unknown version, too long, or any part of it is not as it should be. Never throws. */
export function parseNodeProbe(text: string | undefined): NodeProbe | undefined {
  return text === undefined || text.length > MAX_ANSWER_LENGTH ? undefined : parseChecked(text, checkedNodeProbe);
}

function checkedNodeProbe(value: unknown): NodeProbe {
  const { version, id, results } = mapping(value);
  if (version !== VERSION || list(results).length > MAX_PROBE_TARGETS) throw new WrongPart("answer");
  const outcomes = new Map<string, ProbeOutcome>();
  for (const result of list(results)) {
    const [target, state, ...rest] = list(result);
    const latencyMs = rest.find((each) => typeof each === "number");
    const detail = rest.find((each) => typeof each === "string");
    if (detail !== undefined && !DETAIL_REGEXP.test(detail)) throw new WrongPart("detail");
    outcomes.set(text(target), present({ state: oneOf(state, STATES), latencyMs, detail }));
  }
  return { id: text(id), outcomes };
}

/** Targets of one Service that each node tries; a connection each. */
export const MAX_PROBE_TARGETS = 256;
const NOTHING_KNOWN = { nodes: new Map(), serviceRanges: [] };
const MAX_ANSWER_LENGTH = 32_768;
const VERSION = 1;
const REQUEST_REGEXP = /^([0-9a-f-]{8,36}) ([a-z0-9-]{1,63}\/[a-z0-9.-]{1,253})$/;
/** The form of the names that the system and runtimes give failures. */
const DETAIL_REGEXP = /^[A-Za-z0-9_]{1,40}$/;
const STATES: readonly ProbeState[] = [
  "Connected",
  "Answered",
  "Refused",
  "TimedOut",
  "Silent",
  "NoRoute",
  "UnknownName",
  "Failed",
  "NotTried",
];
