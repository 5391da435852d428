// What the server publishes for the agents, from what it knows of the cluster. Pure.
import type { Node, Service } from "../../kube/types.ts";
import type { ClusterFacts, ContestedPort, NodeToAsk } from "../../service/cluster_facts.ts";
import { portIds } from "../../service/port_owners.ts";
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
  /** Whether a Service has been given a port on a node already. */
  readonly hasPort: (service: Service, port: string, node: string) => boolean;
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

/** Of ports that one Service alone asks for nothing has to be said. */
function contestedPorts({ services, nodes, hasPort }: FactsSource): ClusterFacts["contested"] {
  const byPort = new Map<string, Service[]>();
  for (const service of services) {
    for (const port of new Set(portIds(service))) byPort.set(port, [...byPort.get(port) ?? [], service]);
  }
  const contested = new Map<string, readonly ContestedPort[]>();
  for (const [port, claimants] of byPort) {
    if (claimants.length < 2) continue;
    const given = claimants.flatMap((service): readonly ContestedPort[] => {
      const without = new Set([...nodes.keys()].filter((node) => !hasPort(service, port, node)));
      return without.size === nodes.size ? [] : [{ service: serviceId(service), without }];
    });
    contested.set(port, given);
  }
  return contested;
}

function nodeToAsk(node: Node, options: ServiceLbOptions): NodeToAsk | undefined {
  const { ips, kubeletPort } = askedNode(node, options);
  return kubeletPort === undefined || ips.length === 0 ? undefined : { ips, kubeletPort };
}
