// EndpointSlices -> the endpoints that take new connections of one Service port. Pure.
// Rules of the EndpointSlice API (KEP-752, KEP-1672): an absent `ready` or `serving` means yes, an absent `terminating` no;
// ready endpoints first, serving and terminating ones only when there are no ready ones.
import type { EndpointSlice } from "../../core/kube/types.ts";
import type { IpFamily, Protocol } from "../../core/shared/ip.ts";
import type { ForwardEndpoint } from "../dataplane_contract.ts";

/** What endpoints are chosen for. */
export interface EndpointChoice {
  readonly portName: string;
  readonly protocol: Protocol;
  readonly families: readonly IpFamily[];
  readonly nodeName: string;
  /** `externalTrafficPolicy: Local`: those of this node come first, whatever their rank. */
  readonly localFirst: boolean;
}

interface Candidate extends ForwardEndpoint {
  readonly rank: "ready" | "terminating" | "closed";
}

/**
 * The endpoints of `slices` that take new connections, each once, in an order that depends on nothing but themselves. Families are
 * chosen for apart: a ready endpoint of one does not hide those of the other. With `localFirst` the result has endpoints of
 * other nodes only where this node has none; they say that the Service is answered elsewhere, and get no traffic.
 */
export function serviceEndpoints(slices: readonly EndpointSlice[], choice: EndpointChoice): readonly ForwardEndpoint[] {
  const chosen = choice.families.flatMap((family) => {
    const candidates = listCandidates(slices, { ...choice, families: [family] });
    const local = candidates.filter((one) => one.local);
    return firstNotEmpty([...(choice.localFirst ? byRank(local) : []), ...byRank(candidates)]);
  });
  return sortedUnique(chosen).map(({ ip, port, local }) => ({ ip, port, local }));
}

/** Lists in the order in which they are to be used. */
function byRank(candidates: readonly Candidate[]): readonly (readonly Candidate[])[] {
  return (["ready", "terminating"] as const).map((rank) => candidates.filter((one) => one.rank === rank));
}

/** Every endpoint that listens or may come to listen, whatever its state: for telling own processes from foreign ones. */
export function allEndpoints(slices: readonly EndpointSlice[], choice: EndpointChoice): readonly ForwardEndpoint[] {
  return sortedUnique(listCandidates(slices, choice)).map(({ ip, port, local }) => ({ ip, port, local }));
}

function listCandidates(slices: readonly EndpointSlice[], choice: EndpointChoice): readonly Candidate[] {
  return slices.filter((slice) => choice.families.some((family) => family === slice.addressType)).flatMap((slice) =>
    (slice.ports ?? []).filter((port) =>
      (port.name ?? "") === choice.portName && (port.protocol ?? "TCP") === choice.protocol
    ).flatMap(({ port }) => port === undefined || port === null ? [] : listEndpoints(slice, { ...choice, port }))
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
    const local = endpoint.nodeName === options.nodeName;
    return [{ ip, port: options.port, local, rank: rankOf(endpoint.conditions) }];
  });
}

type Conditions = NonNullable<EndpointSlice["endpoints"]>[number]["conditions"];

function rankOf(conditions: Conditions): Candidate["rank"] {
  if (conditions?.ready ?? true) return "ready";
  return (conditions?.serving ?? true) && (conditions?.terminating ?? false) ? "terminating" : "closed";
}

function firstNotEmpty<T>(lists: readonly (readonly T[])[]): readonly T[] {
  return lists.find((list) => list.length > 0) ?? [];
}

/** An endpoint may stand in two slices while its controller moves it from one to the other. */
function sortedUnique(endpoints: readonly Candidate[]): readonly Candidate[] {
  const sorted = [...endpoints].sort((a, b) =>
    compare(a.ip, b.ip) || a.port - b.port || Number(b.local) - Number(a.local)
  );
  return sorted.filter((one, index) => {
    const before = sorted[index - 1];
    return before?.ip !== one.ip || before.port !== one.port;
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
