// Node ports that Services ask for, and those that an earlier run of the agent served. Pure.
import type { Node, Pod, Service } from "../../core/kube/types.ts";
import { servedServiceKey } from "../../core/service/keys.ts";
import { lastReport, serviceReport } from "../../core/service/node_report.ts";
import { portId } from "../../core/service/port_owners.ts";
import { readService } from "../../core/service/reading.ts";
import type { Protocol } from "../../core/shared/ip.ts";
import { gateOf } from "./desired_gate.ts";

/** One port of the node. */
export interface NodePort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** Ports of `services`, each once, sorted. */
export function listPorts(services: readonly Service[]): readonly NodePort[] {
  const ports = new Map(services.flatMap((service) => readService(service).ports).map((one) => [portId(one), one]));
  return [...ports.values()]
    .map(({ protocol, port }) => ({ protocol, port }))
    .sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : Number(a.protocol > b.protocol)));
}

/** Whether two sorted lists name the same ports. */
export function samePorts(a: readonly NodePort[], b: readonly NodePort[]): boolean {
  return a.length === b.length && a.every((port, i) => port.port === b[i]?.port && port.protocol === b[i]?.protocol);
}

/**
 * Keys (as `portKey` makes them) of the ports that the kernel has as pods' gates, or the agent's own report on its Node, say: what an earlier
 * run served, this one goes on serving, even if a process listens there by now.
 */
export function servedBefore(
  pods: readonly Pod[],
  services: readonly Service[],
  node: Node | undefined,
): ReadonlySet<string> {
  const byPods = new Set(
    pods.filter((pod) => gateOf(pod)?.status === "True").flatMap((pod) => servedServiceKey(pod) ?? []),
  );
  const report = lastReport(node);
  return new Set(services.flatMap((service) => {
    const { key, ports } = readService(service);
    const isReported = report !== undefined && serviceReport(report, service)?.serves === true;
    return isReported || byPods.has(key) ? ports.map(({ protocol, port }) => `${key}/${protocol}/${port}`) : [];
  }));
}
