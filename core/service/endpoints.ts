// EndpointSlices -> the endpoints that take new connections of one Service port, and the nodes that have such. Pure.
// Rules of the EndpointSlice API (KEP-752, KEP-1672): an absent `serving` means yes, an absent `terminating` no, an absent `ready` yes unless
// the endpoint is terminating; ready endpoints first, serving and terminating ones only when there are no ready ones.
import type { EndpointSlice } from "../kube/types.ts";
import { compareText } from "../shared/compare_text.ts";
import type { IpFamily, Protocol } from "../shared/ip.ts";

/** One pod or host that answers for a Service port. */
export interface ServiceEndpoint {
  /** The address, in canonical form. */
  readonly ip: string;
  /** Port number. */
  readonly port: number;
  /** Whether it runs on the node that asks. */
  readonly local: boolean;
}

/** What endpoints are chosen for. */
export interface EndpointChoice {
  /** Name of the Service's port; empty if it has none. */
  readonly portName: string;
  /** Transport protocol. */
  readonly protocol: Protocol;
  /**
   * Number that the port has on every pod, where that is known. Slices call a renamed port by its old name until they are rewritten; until
   * then it is found by this number.
   */
  readonly targetPort?: number;
  /** Families in which the Service is served. */
  readonly families: readonly IpFamily[];
  /** Name of the node. */
  readonly nodeName: string;
  /** `externalTrafficPolicy: Local`: those of this node come first, whatever their rank. */
  readonly localFirst: boolean;
  /** Nodes that have stopped answering: endpoints there, which may still be called ready, come last. */
  readonly deadNodes?: ReadonlySet<string>;
}

/** Whether an endpoint takes new connections: at once, only while no ready one does, or not at all. */
export type EndpointRank = "ready" | "terminating" | "closed";

interface Candidate extends ServiceEndpoint {
  readonly rank: EndpointRank;
  readonly isDead: boolean;
}

/**
 * The endpoints of `slices` that take new connections, each once, in an order that depends on nothing but themselves. Families are
 * chosen for apart: a ready endpoint of one does not hide those of the other. With `localFirst` the result has endpoints of
 * other nodes only where this node has none; they say that the Service is answered elsewhere, and get no traffic.
 */
export function serviceEndpoints(slices: readonly EndpointSlice[], choice: EndpointChoice): readonly ServiceEndpoint[] {
  const chosen = choice.families.flatMap((family) => {
    const candidates = listCandidates(slices, { ...choice, families: [family] });
    const local = candidates.filter((one) => one.local);
    const living = candidates.filter((one) => !one.isDead);
    return firstNotEmpty([...(choice.localFirst ? byRank(local) : []), ...byRank(living), ...byRank(candidates)]);
  });
  return sortedUnique(chosen).map(({ ip, port, local }) => ({ ip, port, local }));
}

/** Lists in the order in which they are to be used. */
function byRank(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  return (["ready", "terminating"] as const).map((rank) => candidates.filter((one) => one.rank === rank));
}

/**
 * Pods (`NAMESPACE/NAME`) of the node that asks which are ready endpoints at `port` of one of `ips`, as their slices say. Slices are written by
 * whoever may write in the namespace: whether there is such a pod, and what it is, is to be asked elsewhere.
 */
export function readyPodsAt(
  slices: readonly EndpointSlice[],
  { ips, port, ...choice }: Omit<EndpointChoice, "localFirst"> & {
    readonly port: number;
    readonly ips: ReadonlySet<string>;
  },
): ReadonlySet<string> {
  const pods = slicesWithPort(slices, choice).flatMap(({ slice, ports }) => {
    if (!ports.includes(port)) return [];
    const namespace = slice.metadata?.namespace ?? "";
    return (slice.endpoints ?? []).flatMap(({ addresses, conditions, nodeName, targetRef }) => {
      const isHere = nodeName === choice.nodeName && ips.has(addresses[0] ?? "");
      const isOwnPod = targetRef?.kind === "Pod" && (targetRef.namespace ?? namespace) === namespace;
      return isHere && isOwnPod && endpointRank(conditions) === "ready" ? [`${namespace}/${targetRef.name ?? ""}`] : [];
    });
  });
  return new Set(pods);
}

interface SliceWithPort {
  readonly slice: EndpointSlice;
  /** Numbers of the port that is asked for; seldom more than one. */
  readonly ports: readonly number[];
}

function slicesWithPort(
  slices: readonly EndpointSlice[],
  { families, portName, protocol, targetPort }: Omit<EndpointChoice, "localFirst">,
): readonly SliceWithPort[] {
  const ofFamilies = slices.filter((slice) => families.some((family) => family === slice.addressType));
  const called = ofFamilies.map((slice) => ({ slice, ports: portNumbers(slice, `${protocol} ${portName}`) }));
  if (targetPort === undefined || called.some(({ ports }) => ports.length > 0)) return called;
  return ofFamilies.map((slice) => ({ slice, ports: portNumbers(slice, numberId(protocol, targetPort)).slice(0, 1) }));
}

type SlicePort = NonNullable<EndpointSlice["ports"]>[number];

/** What a slice's port is found by: its name, and its number. */
function slicePortIds({ name, protocol = "TCP", port }: SlicePort): readonly string[] {
  return [`${protocol} ${name ?? ""}`, ...(port ? [numberId(protocol, port)] : [])];
}

function numberId(protocol: string, port: number): string {
  return `${protocol}/${port}`;
}

function portNumbers(slice: EndpointSlice, id: string): readonly number[] {
  const ports = slice.ports ?? [];
  if (ports.length > FEW_PORTS) return portsOf(slice).get(id) ?? [];
  return ports.flatMap((one) => slicePortIds(one).includes(id) ? one.port ?? [] : []);
}

/** Most slices have one or two ports: keeping a table for each slice would not pay. */
const FEW_PORTS = 4;

/** Numbers of a slice's ports by what they are found by; made once for each slice, which may have thousands and is asked for each port of its Service. */
function portsOf(slice: EndpointSlice): ReadonlyMap<string, readonly number[]> {
  const known = SLICE_PORTS.get(slice);
  if (known !== undefined) return known;
  const ports = new Map<string, number[]>();
  for (const one of slice.ports ?? []) {
    const { port } = one;
    if (port === undefined || port === null) continue;
    for (const id of slicePortIds(one)) {
      const numbers = ports.get(id);
      if (numbers === undefined) ports.set(id, [port]);
      else numbers.push(port);
    }
  }
  SLICE_PORTS.set(slice, ports);
  return ports;
}

const SLICE_PORTS = new WeakMap<EndpointSlice, ReadonlyMap<string, readonly number[]>>();

function listCandidates(slices: readonly EndpointSlice[], choice: EndpointChoice): readonly Candidate[] {
  return slicesWithPort(slices, choice).flatMap(({ slice, ports }) =>
    ports.flatMap((port) => listEndpoints(slice, { ...choice, port }))
  );
}

function listEndpoints(
  slice: EndpointSlice,
  options: EndpointChoice & { readonly port: number },
): readonly Candidate[] {
  return (slice.endpoints ?? []).flatMap((endpoint) => {
    // Consumers take the first address only; the others are reserved by the API.
    const ip = endpoint.addresses[0];
    if (ip === undefined) return [];
    const { nodeName = "" } = endpoint;
    const local = nodeName === options.nodeName;
    const isDead = !local && (options.deadNodes?.has(nodeName) ?? false);
    return [{ ip, port: options.port, local, isDead, rank: endpointRank(endpoint.conditions) }];
  });
}

type Conditions = NonNullable<EndpointSlice["endpoints"]>[number]["conditions"];

/** The rank that follows from an endpoint's conditions. */
export function endpointRank(conditions: Conditions): EndpointRank {
  const isTerminating = conditions?.terminating ?? false;
  if (conditions?.ready ?? !isTerminating) return "ready";
  return isTerminating && (conditions?.serving ?? true) ? "terminating" : "closed";
}

/**
 * Nodes with a ready endpoint; if there is none in the whole cluster, nodes whose endpoints serve while they terminate.
 * Endpoints without a Pod count by the node name they carry.
 */
export function nodesWithEndpoints(slices: Iterable<EndpointSlice>): ReadonlySet<string> {
  const nodes = { ready: new Set<string>(), terminating: new Set<string>(), closed: new Set<string>() };
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      if (endpoint.nodeName) nodes[endpointRank(endpoint.conditions)].add(endpoint.nodeName);
    }
  }
  return nodes.ready.size > 0 ? nodes.ready : nodes.terminating;
}

function firstNotEmpty<T>(lists: readonly (readonly T[])[]): readonly T[] {
  return lists.find((list) => list.length > 0) ?? [];
}

/** An endpoint may stand in two slices while its controller moves it from one to the other. */
function sortedUnique(endpoints: readonly Candidate[]): readonly Candidate[] {
  const sorted = [...endpoints].sort((a, b) =>
    compareText(a.ip, b.ip) || a.port - b.port || Number(b.local) - Number(a.local)
  );
  return sorted.filter((one, index) => {
    const before = sorted[index - 1];
    return before?.ip !== one.ip || before.port !== one.port;
  });
}
