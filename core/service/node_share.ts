// Which Services one node is to serve, as far as the cluster says: whether a Service is ours, whether the node is chosen for it, who has its
// ports. Pure. Made of the same parts as the server's view of all nodes, so that a node and the server come to the same end.
import type { Node, Service } from "../kube/types.ts";
import { serviceClaim } from "./claim.ts";
import { type ClusterFacts, hasContestedPort } from "./cluster_facts.ts";
import { ForeignPorts, reservedPorts } from "./foreign_ports.ts";
import type { ServiceKey } from "./keys.ts";
import { ENABLE_LABEL } from "./labels.ts";
import { chooseNode, keepsNode } from "./node_selection.ts";
import { portConflicts, portIds } from "./port_owners.ts";
import { readService, type SettingsProblem } from "./reading.ts";
import { serviceId } from "./service_id.ts";

/** What is known beside the Services. */
export interface NodeFacts {
  readonly node: Node;
  /** What the server has published. */
  readonly facts: ClusterFacts;
  /** Ports (`80/TCP`) of a Service that this node forwards already. */
  readonly served: (service: Service) => ReadonlySet<string>;
}

/** What a node is to do about one Service. */
export type ServiceShare =
  /** To forward it. */
  | { readonly part: "serve" }
  /** It is chosen for the Service, and can't serve it. */
  | { readonly part: "lost"; readonly problem: SettingsProblem }
  /** Others are chosen. */
  | { readonly part: "elsewhere"; readonly problem: SettingsProblem }
  /** It is not, or no longer, a Service of ours. */
  | { readonly part: "none"; readonly problem: SettingsProblem };

/** Whether the node is chosen for `service`, whoever has its ports. */
export function serviceChoice(service: Service, known: NodeFacts): ServiceShare {
  const { node, facts } = known;
  const claim = serviceClaim(service, facts);
  if (!claim.ours) return { part: "none", problem: claim };
  const reading = readService(service);
  const selection = {
    // Its own label is known here first.
    allowList: facts.allowList || node.metadata?.labels?.[ENABLE_LABEL] !== undefined,
    honorExcludeLabel: facts.honorExcludeLabel,
  };
  const choice = (isThere(service, known) ? keepsNode : chooseNode)(node, reading, selection);
  if (choice.selected) return { part: "serve" };
  const message = `The node is not chosen for the Service: ${choice.message}`;
  return { part: "elsewhere", problem: { reason: choice.reason, message } };
}

/** By Service what the node is to do about it. */
export function nodeShare(services: Iterable<Service>, known: NodeFacts): ReadonlyMap<ServiceKey, ServiceShare> {
  const all = [...services];
  const choices = new Map(all.map((service) => [service, serviceChoice(service, known)]));
  const chosen = all.filter((service) => choices.get(service)?.part === "serve");
  const conflicts = conflictsAmong(chosen, { ...known, all });
  return new Map(all.map((service): [ServiceKey, ServiceShare] => {
    const { key, unknown } = readService(service);
    const choice = choices.get(service) ?? serviceChoice(service, known);
    if (choice.part !== "serve") return [key, choice];
    const problem = conflicts.get(key) ?? (isThere(service, known) ? undefined : unknown);
    return [key, problem === undefined ? choice : { part: "lost", problem }];
  }));
}

/** A port belongs to whom the server says, of several to whoever is forwarded here; else to whoever the node forwards; else to the oldest. */
function conflictsAmong(
  chosen: readonly Service[],
  { node, facts, served, all }: NodeFacts & { readonly all: readonly Service[] },
): ReadonlyMap<ServiceKey, SettingsProblem> {
  const name = node.metadata?.name ?? "";
  const ids = new Set(chosen.map(serviceId));
  const spokenOf = new Set(
    [...facts.contested].filter(([, all]) => all.some((one) => ids.has(one.service) && !one.without.has(name)))
      .map(([port]) => port),
  );
  const foreign = {
    ports: foreignPortsOf(all, facts),
    nodes: new Map([[name, node]]),
    ...(facts.nodePortRange === undefined ? {} : { nodePortRange: facts.nodePortRange }),
  };
  const conflicts = portConflicts(chosen, {
    candidatesOf: () => [name],
    reservedFor: (service) => reservedPorts(service, foreign),
    givenOn: (service) =>
      new Set(
        portIds(service).filter((port) =>
          spokenOf.has(port)
            ? hasContestedPort(facts, { service, port, node: name }) ?? false
            : served(service).has(port)
        ),
      ),
    presenceOn: (service) => isThere(service, { served }) ? "placed" : "absent",
  });
  return new Map([...conflicts].flatMap(([key, byNode]): [ServiceKey, SettingsProblem][] => {
    const conflict = byNode.get(name);
    if (conflict === undefined) return [];
    const message = conflict.message ?? `port ${conflict.port} is taken by Service ${conflict.owner}`;
    return [[key, { reason: "PortTaken", message }]];
  }));
}

/** Brought up to date from the last time: a tenant may have hundreds of Services with a thousand ports each. */
function foreignPortsOf(services: readonly Service[], facts: ClusterFacts): ForeignPorts {
  const ports = FOREIGN_PORTS.get(facts) ?? new ForeignPorts();
  FOREIGN_PORTS.set(facts, ports);
  // What is published of a Service may be older than what is seen here.
  ports.become([...facts.foreign, ...services]);
  return ports;
}

const FOREIGN_PORTS = new WeakMap<ClusterFacts, ForeignPorts>();

function isThere(service: Service, { served }: Pick<NodeFacts, "served">): boolean {
  const here = served(service);
  return here.size > 0 && portIds(service).some((port) => here.has(port));
}
