// What the caches say at this moment, as the plan takes it: who decides, which Services concern this node, which pods are to be judged.
import type { Service } from "../../../core/kube/types.ts";
import { objectKey, servedServiceKey } from "../../../core/service/keys.ts";
import { nodeShare } from "../../../core/service/node_share.ts";
import { portId } from "../../../core/service/port_owners.ts";
import { readService } from "../../../core/service/reading.ts";
import { compareText } from "../../../core/shared/compare_text.ts";
import type { WantedPort } from "../../host/host_ports.ts";
import type { AgentCaches } from "./agent_caches.ts";
import { type ForwardingFacts, servedPorts } from "../plan/forwarding_plan.ts";

/** The part of the plan's facts that the cluster knows. */
export type CachedFacts = Pick<
  ForwardingFacts,
  "nodeName" | "pods" | "departed" | "share" | "services" | "slices" | "node" | "hostPods" | "programmed"
>;

/**
 * The facts of the node called `nodeName`, and the ports whose listeners matter.
 *
 * @param programmed `portKey`s of the ports that the kernel has
 */
export function cachedFacts(
  caches: AgentCaches,
  { nodeName, programmed }: { readonly nodeName: string; readonly programmed: ReadonlySet<string> },
): { readonly facts: CachedFacts; readonly wanted: readonly WantedPort[] } {
  const node = caches.nodes.objects.get(nodeName);
  const pods = [...caches.pods.objects.values()].filter((pod) => caches.isKnown(servedServiceKey(pod) ?? ""));
  const all = [...caches.services.objects.values()];
  const facts = caches.facts();
  const share = facts === undefined
    ? undefined
    : node === undefined
    ? new Map()
    : nodeShare(all, { node, facts, served: servedPorts(programmed) });
  // What a Service forwards to must be known before it is judged; where pods decide, it is theirs to wait.
  const services = share === undefined ? all : all.filter((service) => caches.isKnown(objectKey(service)));
  const forPods = new Set(pods.map(servedServiceKey));
  return {
    facts: {
      nodeName,
      pods,
      departed: caches.departed(),
      ...(share === undefined ? {} : { share }),
      services,
      slices: [...caches.slices.objects.values()],
      ...(node ? { node } : {}),
      hostPods: caches.hostPods.ports(),
      programmed,
    },
    wanted: listPorts(services.filter((service) => {
      const key = objectKey(service);
      const part = share?.get(key)?.part ?? "none";
      return part === "serve" || (part === "none" && forPods.has(key));
    })),
  };
}

/** Ports of `services`, each once, sorted. */
function listPorts(services: readonly Service[]): readonly WantedPort[] {
  const ports = new Map(services.flatMap((service) => readService(service).ports).map((one) => [portId(one), one]));
  return [...ports.values()]
    .map(({ protocol, port }) => ({ protocol, port }))
    .sort((a, b) => a.port - b.port || compareText(a.protocol, b.protocol));
}
