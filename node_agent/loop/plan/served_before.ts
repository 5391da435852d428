// Which ports an earlier run of the agent served, by what it said in the cluster. Pure.
import type { Node, Pod, Service } from "../../../core/kube/types.ts";
import { servedServiceKey } from "../../../core/service/keys.ts";
import { lastReport, serviceReport } from "../../../core/service/node_report.ts";
import { readService } from "../../../core/service/reading.ts";
import { gateOf } from "./load_balancer_pods.ts";

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
