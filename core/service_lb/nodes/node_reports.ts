// What the agents of nodes that decide by themselves say of the Services, and whom a change of that concerns. Pure.
import type { ObjectChange } from "../../kube/object_store.ts";
import type { Node, Service } from "../../kube/types.ts";
import type { ServiceKey } from "../../service/keys.ts";
import { NODE_REPORT_ANNOTATION } from "../../service/labels.ts";
import {
  heartbeatWriter,
  type NodeReport,
  nodeReport,
  type ServiceReport,
  serviceReport,
} from "../../service/node_report.ts";
import { readService } from "../../service/reading.ts";
import { serviceId } from "../../service/service_id.ts";

/** An agent's word on a Service. */
export type Reported =
  | {
    readonly says: "serves";
    /** Addresses of the node that it serves at; absent: all. */
    readonly servedAddresses?: readonly string[];
    /** What connections come to, where that is not an answer. */
    readonly note?: string;
  }
  | { readonly says: "refuses"; readonly reason: string; readonly message: string }
  /** It has not seen the Service as it is now, or its report had no room. */
  | { readonly says: "nothing"; readonly isCut: boolean };

/** What `report` says of `service`. */
export function reported(report: NodeReport, service: Service): Reported {
  const found = serviceReport(report, service);
  if (found === undefined) return { says: "nothing", isCut: report.cut > 0 };
  if (!found.serves) return { says: "refuses", reason: found.reason, message: found.message };
  return {
    says: "serves",
    ...(found.servedAddresses === undefined ? {} : { servedAddresses: found.servedAddresses }),
    ...(found.note === undefined ? {} : { note: found.note }),
  };
}

/** What all nodes say. In-memory only. */
export class NodeReports {
  readonly #kept = new Map<string, KeptReport>();

  /** The report of a node whose agent decides by itself. */
  of(node: string): NodeReport | undefined {
    return this.#kept.get(node)?.report;
  }

  /** Whether any node says that it serves `service` as it is now. */
  anyServes(service: Service): boolean {
    for (const { report } of this.#kept.values()) {
      if (report !== undefined && serviceReport(report, service)?.serves) return true;
    }
    return false;
  }

  /** Reads what stands on `node`. */
  read(name: string, node: Node | undefined, services: Iterable<Service>): ReportNews {
    const before = this.#kept.get(name);
    const text = node?.metadata?.annotations?.[NODE_REPORT_ANNOTATION];
    const writer = heartbeatWriter(node);
    // Each heartbeat makes another object with the same words.
    if (text === before?.text && writer === before?.writer) return NO_NEWS;
    const report = node === undefined || text === undefined ? undefined : nodeReport(node);
    if (text === undefined) this.#kept.delete(name);
    else this.#kept.set(name, { text, writer, report });
    return concernedBy({ before: before?.report, after: report }, services);
  }
}

/** What a node says now and did not say before. */
export interface ReportNews {
  /** Services of which it says something else. */
  readonly concerned: readonly ServiceKey[];
  /** Whether it has ceased to serve one of them. */
  readonly tookBack: boolean;
}

const NO_NEWS: ReportNews = { concerned: [], tookBack: false };

interface KeptReport {
  readonly text: string;
  /** The run of the agent that signs the node's heartbeat. */
  readonly writer: string | undefined;
  /** Absent: it does not count. */
  readonly report: NodeReport | undefined;
}

/** The Services that a change concerns; all of them if the node began or ceased to report. */
function concernedBy(
  { before, after }: ObjectChange<NodeReport>,
  services: Iterable<Service>,
): ReportNews {
  const isAboutAll = (before === undefined) !== (after === undefined) || before?.cut !== after?.cut;
  const concerned: ServiceKey[] = [];
  let tookBack = false;
  for (const service of services) {
    const id = serviceId(service);
    if (!isAboutAll && sameWords(before?.services.get(id), after?.services.get(id))) continue;
    concerned.push(readService(service).key);
    // It has to cease to serve one that is being deleted.
    tookBack ||= before?.services.get(id)?.serves === true && after?.services.get(id)?.serves !== true &&
      service.metadata?.deletionTimestamp === undefined;
  }
  return { concerned, tookBack };
}

function sameWords(a: ServiceReport | undefined, b: ServiceReport | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
