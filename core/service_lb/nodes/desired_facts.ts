// What the server publishes for the agents, from what it knows of the cluster. Pure.
import type { Node, Service } from "../../kube/types.ts";
import type { ClusterFacts, ContestedPort, NodeToAsk } from "../../service/cluster_facts.ts";
import { type GivenPorts, hasGiven, portIds } from "../../service/port_owners.ts";
import { serviceId } from "../../service/service_id.ts";
import { askedNode } from "./asked_node.ts";
import type { ServiceLbOptions } from "../service_lb_options.ts";

/** What is known. */
export interface FactsSource {
  readonly options: ServiceLbOptions;
  readonly nodes: ReadonlyMap<string, Node>;
  readonly allowList: boolean;
  /** Services of other types that have ports on nodes. */
  readonly foreign: Iterable<Service>;
  /** Nodes that nobody should ask whether they are there. */
  readonly unheard: ReadonlySet<string>;
  /** Load balancers that are served here. */
  readonly services: readonly Service[];
  /** What a Service has been given on a node already. */
  readonly givenOn: (service: Service, node: string) => GivenPorts;
}

/** What agents are told. */
export function desiredFacts(source: FactsSource): ClusterFacts {
  const { options, nodes } = source;
  return {
    server: options.version ?? "",
    dataplane: options.dataplane,
    reservePorts: options.reservePorts ?? "daemonset",
    lbClass: options.lbClass,
    lbDefault: options.lbDefault,
    allowList: source.allowList,
    honorExcludeLabel: options.honorExcludeLabel,
    ...(options.nodePortRange === undefined ? {} : { nodePortRange: options.nodePortRange }),
    foreign: [...source.foreign],
    contested: contestedPorts(source),
    nodes: new Map([...nodes].flatMap(([name, node]) => {
      const asked = source.unheard.has(name) ? undefined : nodeToAsk(node, options);
      return asked === undefined ? [] : [[name, asked] as const];
    })),
  };
}

/** Nothing needs to be said about ports that only one Service asks for. */
function contestedPorts({ services, nodes, givenOn }: FactsSource): ClusterFacts["contested"] {
  // Hundreds may ask for the same thousand: each is looked at once.
  const counts = new Map<string, number>();
  for (const service of services) {
    for (const port of new Set(portIds(service))) counts.set(port, (counts.get(port) ?? 0) + 1);
  }
  const contested = new Map<string, ContestedPort[]>();
  for (const [port, count] of counts) if (count > 1) contested.set(port, []);
  if (contested.size === 0) return contested;
  for (const service of services) {
    const given = [...nodes.keys()].map((node) => [node, givenOn(service, node)] as const);
    if (given.every(([, ports]) => ports === undefined)) continue;
    for (const port of new Set(portIds(service))) {
      const without = new Set(given.flatMap(([node, ports]) => hasGiven(ports, port) ? [] : [node]));
      if (without.size < nodes.size) contested.get(port)?.push({ service: serviceId(service), without });
    }
  }
  return contested;
}

function nodeToAsk(node: Node, options: ServiceLbOptions): NodeToAsk | undefined {
  const { ips, kubeletPort } = askedNode(node, options);
  return kubeletPort === undefined || ips.length === 0 ? undefined : { ips, kubeletPort };
}
