// The one reading of a Service: what its fields and annotations say, checked, for the server and the agent alike. Pure.
// A wish that can't be read keeps the value that it had before; what that was stands in an annotation (last_good.ts).
import type { Service, Toleration } from "../kube/types.ts";
import { IP_FAMILIES, type IpFamily, type Protocol } from "../shared/ip.ts";
import { ALL_ADDRESSES, ipFamilyOf, type IpRange, renderIpRange } from "../shared/ip_ranges.ts";
import { objectKey, type ServiceKey } from "./keys.ts";
import { LAST_GOOD_ANNOTATION, POOL_LABEL } from "./labels.ts";
import type { PodResources } from "./pod_wishes.ts";
import { type IpMode, parseWish, type Wish, WISHES, type WishValues } from "./wishes.ts";

/** Something in the Service that can't be taken as it is. */
export interface SettingsProblem {
  /** Stable CamelCase name. */
  readonly reason: string;
  /** What is wrong and what to do, for people. */
  readonly message: string;
}

/** One port of a Service. */
export interface ServicePort {
  /** Empty if it has none. */
  readonly name: string;
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Port on the nodes' addresses. */
  readonly port: number;
  /** The port that Kubernetes has allocated on every node. */
  readonly nodePort?: number;
  /** Number or name of the pods' port; absent: the same as `port`. */
  readonly targetPort?: number | string;
}

/** What a Service says. */
export interface ServiceReading {
  /** `namespace/name`. */
  readonly key: ServiceKey;
  /** Its namespace. */
  readonly namespace: string;
  /** Its name. */
  readonly name: string;
  /** `spec.type` is LoadBalancer. */
  readonly isLoadBalancer: boolean;
  /** Its deletion has begun. */
  readonly isBeingDeleted: boolean;
  /** `spec.loadBalancerClass`. */
  readonly lbClass?: string;
  /** Not opted out of. */
  readonly enabled: boolean;
  /** In the Service's order. */
  readonly ports: readonly ServicePort[];
  /** In the Service's order; where the API server does not know the field, those of its cluster addresses. */
  readonly families: readonly IpFamily[];
  /** Its addresses inside the cluster. */
  readonly clusterIps: readonly string[];
  /** Labels of its pods; absent: they are not chosen by labels. */
  readonly selector?: Readonly<Record<string, string>>;
  /** `Local`: only endpoints of the node itself. */
  readonly trafficPolicy: "Cluster" | "Local";
  /** Session affinity ClientIP: seconds for which a client keeps its endpoint. */
  readonly affinitySeconds?: number;
  /** The pool of nodes that is asked for. */
  readonly pool?: string;
  /** Ranges of the Service's families in canonical form, sorted; absent means everyone, empty no one. */
  readonly sourceRanges?: readonly string[];
  /** Addresses that traffic must be sent to; absent means all. */
  readonly matchAddresses?: readonly IpRange[];
  /** Interfaces whose addresses traffic must be sent to; absent means all. */
  readonly matchInterfaces?: readonly string[];
  /** `spec.loadBalancerIP`: a node that has this address serves at it alone. */
  readonly addressWish?: IpRange;
  /** Beyond those that every such pod has. */
  readonly tolerations: readonly Toleration[];
  /** PriorityClass of the pods. */
  readonly priorityClassName?: string;
  /** Of each container of the pods. */
  readonly resources?: PodResources;
  /** How clients see the addresses. */
  readonly ipMode?: IpMode;
  /** Wishes that can't be read. The value from before is in force; where there is none, see {@linkcode unknown}. */
  readonly faults: readonly SettingsProblem[];
  /** Why it can't be known what pods are wanted, or who may come in: what there is, is left as it is. */
  readonly unknown?: SettingsProblem;
  /** Why it can't be known who may come in, and where: such a Service is closed, never opened. */
  readonly unknownAccess?: SettingsProblem;
  /** Parts that have no effect. */
  readonly warnings: readonly SettingsProblem[];
  /** The texts that are in force, by the name of the wish; a wish without a known value is absent. */
  readonly inForce: ReadonlyMap<string, string>;
  /** Names of the wishes that can't be read. */
  readonly unreadable: readonly string[];
}

/** What `service` says. Never throws; read once for each object, which must not be changed after. */
export function readService(service: Service): ServiceReading {
  const known = READINGS.get(service);
  if (known !== undefined) return known;
  const reading = read(service);
  READINGS.set(service, reading);
  return reading;
}

/**
 * Whether two versions of a Service mean the same to a node: one unreadable value in place of another changes nothing, nor do other labels of its
 * pods before its EndpointSlices follow.
 */
export function saysSame(a: Service, b: Service): boolean {
  return wordsOf(a) === wordsOf(b);
}

function wordsOf(service: Service): string {
  const { matchAddresses, addressWish, selector, ...rest } = readService(service);
  const addresses = [...matchAddresses ?? [], ...addressWish === undefined ? [] : [addressWish]].map(renderIpRange);
  // External IPs are kube-proxy's to read, and say which ports others can't have.
  const { externalIPs } = service.spec ?? {};
  return JSON.stringify([
    service.metadata?.uid,
    rest,
    selector === undefined,
    addresses,
    matchAddresses?.length,
    externalIPs,
  ]);
}

const READINGS = new WeakMap<Service, ServiceReading>();

function read(service: Service): ServiceReading {
  const { spec, metadata } = service;
  const wishes = readWishes(service);
  const tooMany = tooManyPorts(service);
  const { sourceRanges: ranges, tolerations = NONE, enabled = true, ...values } = wishes.values;
  const clusterIps = (spec?.clusterIPs ?? (spec?.clusterIP ? [spec.clusterIP] : []))
    .filter((address) => address !== "" && address !== "None");
  const families = familiesOf(spec?.ipFamilies ?? [], clusterIps);
  // API servers before dual stack leave the families out: then every range is kept.
  const admitted = ranges === undefined ? undefined : admittedRanges(ranges, familiesOf(spec?.ipFamilies ?? [], []));
  const pool = metadata?.labels?.[POOL_LABEL];
  const selector = spec?.selector;
  return {
    key: objectKey(service),
    namespace: metadata?.namespace ?? "",
    name: metadata?.name ?? "",
    isLoadBalancer: spec?.type === "LoadBalancer",
    isBeingDeleted: metadata?.deletionTimestamp !== undefined,
    ...(spec?.loadBalancerClass ? { lbClass: spec.loadBalancerClass } : {}),
    enabled,
    ports: (spec?.ports ?? []).slice(0, MAX_PORTS).map((port) => ({
      name: port.name ?? "",
      protocol: (port.protocol ?? "TCP") as Protocol,
      port: port.port,
      ...(port.nodePort ? { nodePort: port.nodePort } : {}),
      ...(port.targetPort ? { targetPort: port.targetPort } : {}),
    })),
    families,
    clusterIps,
    ...(selector === undefined || Object.keys(selector).length === 0 ? {} : { selector }),
    trafficPolicy: spec?.externalTrafficPolicy === "Local" ? "Local" : "Cluster",
    ...(spec?.sessionAffinity === "ClientIP"
      ? { affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS }
      : {}),
    ...(pool ? { pool } : {}),
    ...(admitted === undefined ? {} : { sourceRanges: admitted.ranges }),
    tolerations,
    ...values,
    faults: tooMany === undefined ? wishes.faults : [tooMany, ...wishes.faults],
    ...wishes.unknown,
    ...(tooMany === undefined ? {} : { unknown: tooMany, unknownAccess: tooMany }),
    warnings: admitted?.warnings ?? NONE,
    inForce: wishes.inForce,
    unreadable: wishes.unreadable,
  };
}

function tooManyPorts({ spec }: Service): SettingsProblem | undefined {
  if ((spec?.ports ?? []).length <= MAX_PORTS) return undefined;
  const message = `The Service has more than ${MAX_PORTS} ports, which is more than one Service can have; divide it`;
  return { reason: "TooManyPorts", message };
}

interface ReadWishes extends Pick<ServiceReading, "faults" | "inForce" | "unreadable"> {
  readonly values: WishValues;
  readonly unknown: Pick<ServiceReading, "unknown" | "unknownAccess">;
}

function readWishes(service: Service): ReadWishes {
  if (Object.values<Wish<unknown>>(WISHES).every((wish) => wish.textOf(service) === "")) return NO_WISHES;
  const values: Record<string, unknown> = {};
  const faults: SettingsProblem[] = [];
  const inForce = new Map<string, string>();
  const unreadable: string[] = [];
  let unknown: SettingsProblem | undefined;
  let unknownAccess: SettingsProblem | undefined;
  let record: ReadonlyMap<string, string> | undefined;
  for (const [field, wish] of Object.entries<Wish<unknown>>(WISHES)) {
    const text = wish.textOf(service);
    const parsed = readText(wish, text);
    if ("value" in parsed) {
      if (parsed.value !== undefined) values[field] = parsed.value;
      inForce.set(wish.name, text);
      continue;
    }
    unreadable.push(wish.name);
    record ??= lastGoodTexts(service);
    const before = record.get(wish.name);
    const last = before === undefined ? undefined : readText(wish, before);
    const hasLast = last !== undefined && "value" in last;
    const fate = hasLast ? "what it said before stays in force" : FATES[wish.guards];
    const problem = {
      reason: wish.reason,
      message: `${wishName(wish, service)} can't be used: ${parsed.fault}; ${fate}`,
    };
    faults.push(problem);
    if (hasLast) {
      if (last.value !== undefined) values[field] = last.value;
      inForce.set(wish.name, before ?? "");
      continue;
    }
    if (wish.guards !== "nothing") unknown ??= problem;
    if (wish.guards === "access") unknownAccess ??= problem;
  }
  return {
    values: values as WishValues,
    faults,
    inForce,
    unreadable,
    unknown: {
      ...(unknown === undefined ? {} : { unknown }),
      ...(unknownAccess === undefined ? {} : { unknownAccess }),
    },
  };
}

const NONE: readonly never[] = [];

/** Most Services have no wishes: all of them share this value. */
const NO_WISHES: ReadWishes = {
  values: {},
  faults: NONE,
  inForce: new Map(Object.values(WISHES).map(({ name }) => [name, ""])),
  unreadable: NONE,
  unknown: {},
};

function readText(wish: Wish<unknown>, text: string): { readonly value: unknown } | { readonly fault: string } {
  return text === "" ? { value: undefined } : parseWish(wish, text);
}

function wishName(wish: Wish<unknown>, service: Service): string {
  if (wish === WISHES.addressWish) return `Field ${wish.name}`;
  const fromSpec = wish === WISHES.sourceRanges && (service.spec?.loadBalancerSourceRanges ?? []).length > 0;
  return fromSpec ? "Field spec.loadBalancerSourceRanges" : `Annotation "${wish.name}"`;
}

const FATES: Readonly<Record<Wish<unknown>["guards"], string>> = {
  access: "no node serves the Service until it is fixed",
  pods: "no pods are made until it is fixed",
  nothing: "it has no effect",
};

/** Texts in the record of the Service, by the name of the wish. Whoever may write it may write the wishes too. */
export function lastGoodTexts(service: Service): ReadonlyMap<string, string> {
  const record = service.metadata?.annotations?.[LAST_GOOD_ANNOTATION];
  if (record === undefined || record.length > MAX_RECORD_LENGTH) return new Map();
  try {
    const parsed: unknown = JSON.parse(record);
    const entries = typeof parsed === "object" && parsed !== null ? Object.entries(parsed) : [];
    return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
  } catch {
    // Not written by this program: as good as none.
    return new Map();
  }
}

/** Most ports of a Service; some thousands fit into one, and each is a container's port, rules, and a claim on every node. */
export const MAX_PORTS = 1_000;
/** Most external IPs that are looked at. */
export const MAX_EXTERNAL_IPS = 32;

/** Longest record that is looked at: every wish at its longest. */
export const MAX_RECORD_LENGTH = 65_536;

/** Kubernetes' own default for session affinity. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

function familiesOf(listed: readonly string[], clusterIps: readonly string[]): readonly IpFamily[] {
  const texts: readonly (string | undefined)[] = listed.length > 0 ? listed : clusterIps.map(ipFamilyOf);
  return [...new Set(texts)].filter((text): text is IpFamily => IP_FAMILIES.some((family) => family === text));
}

/** Ranges of another family than the Service's can never match. */
function admittedRanges(
  ranges: readonly IpRange[],
  families: readonly IpFamily[],
): { readonly ranges: readonly string[]; readonly warnings: readonly SettingsProblem[] } {
  const isOwn = (range: IpRange): boolean => families.length === 0 || families.includes(range.family);
  const own = ranges.filter(isOwn);
  const kept = [...new Set(own.map(renderIpRange))].toSorted();
  // Whoever writes "everyone" of one family has seldom thought of the other one.
  const closed = own.some(({ prefix }) => prefix === 0)
    ? families.find((family) => !own.some((range) => range.family === family))
    : undefined;
  const closedWarnings = closed === undefined ? [] : [{
    reason: "SourceRangeFamily",
    message: `Source ranges ${kept.join(", ")} admit no ${closed} client; add ${ALL_ADDRESSES[closed]} to admit all`,
  }];
  const foreign = [...new Set(ranges.filter((range) => !isOwn(range)).map(renderIpRange))].toSorted();
  if (foreign.length === 0) return { ranges: kept, warnings: closedWarnings };
  const message =
    `Source ranges ${foreign.join(", ")} are not of the Service's address family (${families.join(" and ")})` +
    (kept.length === 0 ? "; no client is admitted" : " and have no effect");
  return { ranges: kept, warnings: [{ reason: "SourceRangeFamily", message }] };
}
