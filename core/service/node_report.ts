// What a node's agent says of all Services in one annotation of its own Node: which of them its kernel forwards, at which addresses, and why not
// the others. Pure. Whoever has a node's credentials writes this: it is bounded, checked as a whole, and can speak for its own node alone.
import { conditionOf } from "../kube/conditions.ts";
import type { Condition, Node, Service } from "../kube/types.ts";
import { list, mapping, parseChecked, text as boundedText, WrongPart } from "../shared/checked_json.ts";
import { compareText } from "../shared/compare_text.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import { present } from "../shared/values.ts";
import { visibleLine } from "../shared/visible_text.ts";
import { FORWARDING_CONDITION, NODE_REPORT_ANNOTATION } from "./labels.ts";
import { portsText, serviceId } from "./service_id.ts";

/** What a node says of one Service. */
export type ServiceReport =
  & {
    /** The Service's ports as the agent knows them ({@linkcode portsText}). */
    readonly ports: string;
  }
  & (
    | {
      readonly serves: true;
      /** The node's addresses at which the Service is served, in canonical form; absent: all. */
      readonly servedAddresses?: readonly string[];
      /** What its connections come to, where that is not an answer. */
      readonly note?: string;
    }
    | {
      readonly serves: false;
      /** CamelCase. */
      readonly reason: string;
      readonly message: string;
    }
  );

/** Who says it. */
export interface ReportAuthor {
  /** The run of the agent that wrote it. */
  readonly instance: string;
  /** Where the agent reads what the server publishes; absent in reports of agents that don't say so. */
  readonly namespace?: string;
}

/** What a node says. */
export interface NodeReport extends ReportAuthor {
  /** By {@linkcode serviceId}. Services that the agent has not seen, or that its node is not chosen for, are absent. */
  readonly services: ReadonlyMap<string, ServiceReport>;
  /** How many Services did not fit. */
  readonly cut: number;
}

/** Bytes of a report at most; some 3,000 Services fit into it. The API server takes twice as much for all annotations of an object. */
export const MAX_REPORT_BYTES = 131_072;

/** The text of `report`, of {@linkcode MAX_REPORT_BYTES} at most: notes are left out first, then Services that are not served. */
export function renderReport(report: NodeReport): string {
  const whole = reportText(report);
  if (fits(whole)) return whole;
  const { services: _, cut, ...rest } = report;
  const all = [...withoutNotes(report).services].toSorted(([, a], [, b]) => Number(b.serves) - Number(a.serves));
  const first = (count: number): string =>
    reportText({ ...rest, services: new Map(all.slice(0, count)), cut: cut + all.length - count });
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (fits(first(middle))) low = middle;
    else high = middle - 1;
  }
  return first(low);
}

/** What of `report` decides anything: who is served, and why not, whatever words there are for it. */
export function withoutWords(report: NodeReport): NodeReport {
  const { services, ...rest } = withoutNotes(report);
  return {
    ...rest,
    services: new Map([...services].map(([id, one]) => [id, one.serves ? one : { ...one, message: "" }])),
  };
}

function withoutNotes(report: NodeReport): NodeReport {
  const services = [...report.services].map(([id, one]): [string, ServiceReport] => {
    if (!one.serves) return [id, one];
    const { note: _, ...rest } = one;
    return [id, rest];
  });
  return { ...report, services: new Map(services) };
}

/** What `text` says; `undefined` if it is of an unknown version, too long, or any part of it is not as it should be. Never throws. */
export function parseReport(text: string): NodeReport | undefined {
  return text.length > MAX_REPORT_BYTES ? undefined : parseChecked(text, checkedReport);
}

/** The report that stands on `node`, whoever wrote it: what an earlier run of its agent forwarded. */
export function lastReport(node: Node | undefined): NodeReport | undefined {
  const text = node?.metadata?.annotations?.[NODE_REPORT_ANNOTATION];
  return text === undefined ? undefined : parseReport(text);
}

/**
 * The report that counts: of the run of the agent that signs the heartbeat. An agent that does not write reports, as one of an earlier version,
 * leaves its predecessor's standing. Read once for each object.
 */
export function nodeReport(node: Node): NodeReport | undefined {
  if (!REPORTS.has(node)) {
    const report = lastReport(node);
    REPORTS.set(node, report !== undefined && report.instance === heartbeatWriter(node) ? report : undefined);
  }
  return REPORTS.get(node);
}

const REPORTS = new WeakMap<Node, NodeReport | undefined>();

/** What `report` says of `service` as it is now; `undefined` if the agent has not seen it, or has seen it with other ports. */
export function serviceReport(report: NodeReport, service: Service): ServiceReport | undefined {
  const found = report.services.get(serviceId(service));
  return found?.ports === portsText(service) ? found : undefined;
}

/** The heartbeat of the agent of `node`, if one has written it. */
export function heartbeatOf(node: Node | undefined): Condition | undefined {
  return conditionOf(node, FORWARDING_CONDITION) as Condition | undefined;
}

/** Milliseconds since the agent of `node` wrote its heartbeat, by two clocks; `undefined` if none has written one. */
export function heartbeatAgeMs(node: Node, nowMs: number): number | undefined {
  const time = heartbeatOf(node)?.lastHeartbeatTime;
  return time === undefined ? undefined : nowMs - Date.parse(time);
}

/** Age of the heartbeat of an agent that is heard of no more: three minutes, and one for the difference between the clocks. */
export const SILENT_AGENT_MS = 240_000;

/** The run of the agent that last signed the heartbeat of `node`. */
export function heartbeatWriter(node: Node | undefined): string | undefined {
  return /instance (\S+)$/.exec(heartbeatOf(node)?.message ?? "")?.[1];
}

/** What many Services share is said once: thousands may have the same trouble. */
function reportText({ instance, namespace, services, cut }: NodeReport): string {
  const served: Record<string, string> = {};
  const at: Record<string, readonly string[]> = {};
  const notes = new Map<string, string[]>();
  const refused = new Map<string, { reason: string; message: string; services: Record<string, string> }>();
  for (const [id, one] of [...services].toSorted(([a], [b]) => compareText(a, b))) {
    if (one.serves) {
      served[id] = one.ports;
      if (one.servedAddresses !== undefined) at[id] = one.servedAddresses.slice(0, MAX_ADDRESSES);
      if (one.note === undefined) continue;
      const note = words(one.note);
      const ids = notes.get(note) ?? [];
      ids.push(id);
      notes.set(note, ids);
      continue;
    }
    const group = { reason: one.reason, message: words(one.message) };
    const name = JSON.stringify(group);
    const known = refused.get(name) ?? { ...group, services: {} };
    known.services[id] = one.ports;
    refused.set(name, known);
  }
  return JSON.stringify({
    version: VERSION,
    instance,
    ...(namespace === undefined ? {} : { namespace }),
    served,
    ...(Object.keys(at).length === 0 ? {} : { at }),
    ...(notes.size === 0 ? {} : { notes: Object.fromEntries(notes) }),
    ...(refused.size === 0 ? {} : { refused: [...refused.values()] }),
    ...(cut === 0 ? {} : { cut }),
  });
}

function checkedReport(value: unknown): NodeReport {
  const { version, instance, namespace, served, at = {}, notes = {}, refused = [], cut = 0 } = mapping(value);
  if (version !== VERSION) throw new WrongPart("version");
  const addressesOf = new Map(Object.entries(mapping(at)).map(([id, ips]) => [id, addresses(ips)]));
  const noteOf = new Map(
    Object.entries(mapping(notes)).flatMap(([note, ids]) => list(ids).map((id) => [text(id), words(note)] as const)),
  );
  const services = new Map<string, ServiceReport>();
  for (const [id, ports] of Object.entries(mapping(served))) {
    const servedAddresses = addressesOf.get(id);
    const note = noteOf.get(id);
    services.set(id, {
      ports: text(ports),
      serves: true,
      ...(servedAddresses === undefined ? {} : { servedAddresses }),
      ...(note === undefined ? {} : { note }),
    });
  }
  for (const group of list(refused).map(mapping)) {
    const [reason, message] = [text(group["reason"]), words(text(group["message"]))];
    if (!REASON_REGEXP.test(reason)) throw new WrongPart("reason");
    for (const [id, ports] of Object.entries(mapping(group["services"]))) {
      services.set(id, { ports: text(ports), serves: false, reason, message });
    }
  }
  if (typeof cut !== "number" || !Number.isInteger(cut) || cut < 0) throw new WrongPart("cut");
  const from = namespace === undefined ? undefined : text(namespace);
  return present({ instance: text(instance), namespace: from, services, cut });
}

function text(value: unknown): string {
  return boundedText(value, MAX_WORDS);
}

function addresses(value: unknown): readonly string[] {
  const ips = list(value).map((ip) => canonicalIp(text(ip)));
  if (ips.length > MAX_ADDRESSES || ips.includes(undefined)) throw new WrongPart("addresses");
  return ips.filter((ip) => ip !== undefined);
}

/** One line, bounded. */
function words(message: string): string {
  const line = visibleLine(message.slice(0, MAX_WORDS));
  return line.length <= MAX_WORDS && message.length <= MAX_WORDS ? line : `${line.slice(0, MAX_WORDS - 1)}…`;
}

function fits(report: string): boolean {
  return report.length <= MAX_REPORT_BYTES && new TextEncoder().encode(report).length <= MAX_REPORT_BYTES;
}

const VERSION = 1;
const REASON_REGEXP = /^[A-Z][A-Za-z]{0,63}$/;
/** Characters of one sentence. */
const MAX_WORDS = 200;
/** As many as an agent says on a pod. */
const MAX_ADDRESSES = 64;
