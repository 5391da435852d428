// Node ports that the pods of load balancers ask for, and those that an earlier run of the agent served. Pure.
import type { Pod, Service } from "../../core/kube/types.ts";
import { servedServiceKey } from "../../core/service/keys.ts";
import { readService } from "../../core/service/reading.ts";
import type { Protocol } from "../../core/shared/ip.ts";
import { gateOf } from "./desired_gate.ts";

/** One port of the node. */
export interface NodePort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** Ports of the Services that `pods` forward for, each once, sorted. */
export function listPorts(pods: readonly Pod[], services: readonly Service[]): readonly NodePort[] {
  const ports = new Map(servicePorts(pods, services).map((one) => [`${one.protocol}/${one.port}`, one]));
  return [...ports.values()]
    .map(({ protocol, port }) => ({ protocol, port }))
    .sort((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : Number(a.protocol > b.protocol)));
}

/**
 * Keys (as `portKey` makes them) of the ports whose pods' gates say that the kernel has them: what an earlier run served, this
 * one goes on serving, even if a process listens there by now.
 */
export function servedBefore(pods: readonly Pod[], services: readonly Service[]): ReadonlySet<string> {
  const served = pods.filter((pod) => gateOf(pod)?.status === "True");
  return new Set(servicePorts(served, services).map((one) => `${one.service}/${one.protocol}/${one.port}`));
}

interface ServicePort extends NodePort {
  readonly service: string;
}

function servicePorts(pods: readonly Pod[], services: readonly Service[]): readonly ServicePort[] {
  const wanted = new Set(pods.flatMap((pod) => servedServiceKey(pod) ?? []));
  return services.flatMap((service) => {
    const { key, ports } = readService(service);
    if (!wanted.has(key)) return [];
    return ports.map(({ protocol, port }) => ({ service: key, protocol, port }));
  });
}
