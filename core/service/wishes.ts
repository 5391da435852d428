// The wishes that a Service's fields and annotations carry, one by one: text in, value or fault out. Pure.
// What a tenant writes is bounded before it is parsed. Faults are told, never guessed over.
import type { Service, Toleration } from "../kube/types.ts";
import { type IpRange, isLoopback, parseIpRange } from "../shared/ip_ranges.ts";
import { isDnsSubdomain } from "../shared/names.ts";
import {
  ENABLED_ANNOTATION,
  IP_MODE_ANNOTATION,
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  PRIORITY_CLASS_ANNOTATION,
  RESOURCES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
  TOLERATIONS_ANNOTATION,
} from "./labels.ts";
import { parseResources, parseTolerations, type PodResources } from "./pod_wishes.ts";
import type { Parsed } from "../shared/small_yaml.ts";

/** How clients see an address in the status. */
export type IpMode = "VIP" | "Proxy";

/** One wish. */
export interface Wish<T> {
  /** What it is called in messages and in the record of last good values. */
  readonly name: string;
  /** Stable CamelCase name of the fault. */
  readonly reason: string;
  /** What goes wrong while no value is known: clients may come in, pods may be stranded, or nothing. */
  readonly guards: "access" | "pods" | "nothing";
  /** Longest text in characters that is looked at. */
  readonly maxLength: number;
  /** The text as it stands in the Service; empty: no wish. */
  readonly textOf: (service: Service) => string;
  /** Never called with an empty text. */
  readonly parse: (text: string) => Parsed<T>;
}

/** Most source ranges of a Service. */
export const MAX_SOURCE_RANGES = 512;
const MAX_SOURCE_RANGES_LENGTH = 16_384;
const MAX_ANNOTATION_LENGTH = 4_096;
const MAX_MATCHES = 64;

/** Every wish, by the field of the reading that it fills. */
export const WISHES = {
  sourceRanges: {
    name: SOURCE_RANGES_ANNOTATION,
    reason: "InvalidSourceRange",
    guards: "access",
    maxLength: MAX_SOURCE_RANGES_LENGTH,
    textOf: sourceRangesText,
    parse: parseSourceRanges,
  } satisfies Wish<readonly IpRange[]>,
  matchAddresses: {
    ...annotationWish(MATCH_ADDRESSES_ANNOTATION, { reason: "InvalidMatchAddress", guards: "access" }),
    parse: parseMatchAddresses,
  } satisfies Wish<readonly IpRange[]>,
  matchInterfaces: {
    ...annotationWish(MATCH_INTERFACES_ANNOTATION, { reason: "InvalidMatchInterface", guards: "access" }),
    parse: parseInterfaceNames,
  } satisfies Wish<readonly string[]>,
  addressWish: {
    name: "spec.loadBalancerIP",
    reason: "InvalidMatchAddress",
    guards: "access",
    maxLength: MAX_ANNOTATION_LENGTH,
    textOf: (service: Service) => service.spec?.loadBalancerIP ?? "",
    parse: parseAddressWish,
  } satisfies Wish<IpRange | undefined>,
  tolerations: {
    ...annotationWish(TOLERATIONS_ANNOTATION, { guards: "pods" }),
    parse: parseTolerations,
  } satisfies Wish<readonly Toleration[]>,
  resources: {
    ...annotationWish(RESOURCES_ANNOTATION, { guards: "pods" }),
    parse: parseResources,
  } satisfies Wish<PodResources>,
  priorityClassName: {
    ...annotationWish(PRIORITY_CLASS_ANNOTATION, { guards: "pods" }),
    // Present and empty means none, as in K3s; absent means the default.
    textOf: (service: Service): string => {
      const text = service.metadata?.annotations?.[PRIORITY_CLASS_ANNOTATION]?.trim();
      return text === "" ? NO_PRIORITY_CLASS : text ?? "";
    },
    parse: (text: string): Parsed<string> =>
      text === NO_PRIORITY_CLASS
        ? { value: "" }
        : isDnsSubdomain(text)
        ? { value: text }
        : { fault: `${quoted(text)} is not the name of a PriorityClass` },
  } satisfies Wish<string>,
  ipMode: {
    ...annotationWish(IP_MODE_ANNOTATION, { guards: "nothing" }),
    parse: (text: string): Parsed<IpMode> =>
      text === "VIP" || text === "Proxy"
        ? { value: text }
        : { fault: `it must be "VIP" or "Proxy", not ${quoted(text)}` },
  } satisfies Wish<IpMode>,
  enabled: {
    ...annotationWish(ENABLED_ANNOTATION, { guards: "nothing" }),
    parse: (text: string): Parsed<boolean> =>
      text === "true" || text === "false"
        ? { value: text === "true" }
        : { fault: `it must be "true" or "false", not ${quoted(text)}` },
  } satisfies Wish<boolean>,
};

/** The form of an explicit "none" in the record of last good values. */
const NO_PRIORITY_CLASS = '""';

/** Values of the wishes that are in force. */
export type WishValues = {
  readonly [Field in keyof typeof WISHES]?: (typeof WISHES)[Field] extends Wish<infer T> ? NonNullable<T> : never;
};

/** Parses one text, bounded. */
export function parseWish<T>(wish: Wish<T>, text: string): Parsed<T> {
  if (text.length > wish.maxLength) return { fault: `it is longer than ${wish.maxLength} characters` };
  return wish.parse(text);
}

/** Entries of a comma separated list, blanks cut, empty ones left out. */
export function splitList(text: string): readonly string[] {
  return text.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
}

function annotationWish(
  name: string,
  options: { readonly guards: Wish<unknown>["guards"]; readonly reason?: string },
): Omit<Wish<unknown>, "parse"> {
  return {
    name,
    reason: options.reason ?? "InvalidAnnotation",
    guards: options.guards,
    maxLength: MAX_ANNOTATION_LENGTH,
    textOf: (service) => (service.metadata?.annotations?.[name] ?? "").trim(),
  };
}

/** The spec's field wins over the annotation, as in upstream's `GetLoadBalancerSourceRanges`. */
function sourceRangesText(service: Service): string {
  const field = service.spec?.loadBalancerSourceRanges ?? [];
  return field.length > 0 ? field.join(",") : (service.metadata?.annotations?.[SOURCE_RANGES_ANNOTATION] ?? "").trim();
}

function parseSourceRanges(text: string): Parsed<readonly IpRange[]> {
  const entries = splitList(text);
  // Without any range nobody would be admitted, and nothing would be said.
  if (entries.length === 0) return { fault: "it names no range" };
  if (entries.length > MAX_SOURCE_RANGES) return { fault: `there are more than ${MAX_SOURCE_RANGES} source ranges` };
  const ranges: IpRange[] = [];
  for (const entry of entries) {
    const range = entry.includes("/") ? parseIpRange(entry) : undefined;
    if (range === undefined) return { fault: `${quoted(entry)} is not a CIDR range such as "10.0.0.0/24"` };
    ranges.push(range);
  }
  return { value: ranges };
}

function parseMatchAddresses(text: string): Parsed<readonly IpRange[]> {
  const entries = splitList(text);
  if (entries.length > MAX_MATCHES) return { fault: `there are more than ${MAX_MATCHES} addresses` };
  const ranges: IpRange[] = [];
  for (const entry of entries) {
    const range = parseIpRange(entry);
    if (range === undefined) return { fault: `${quoted(entry)} is neither an IP address nor a range` };
    if (isLoopback(range)) return { fault: `${quoted(entry)} is loopback, which is never served` };
    ranges.push(range);
  }
  return { value: ranges };
}

/** The API takes any text there, and K3s passes it over. */
function parseAddressWish(text: string): Parsed<IpRange | undefined> {
  const range = text.includes("/") ? undefined : parseIpRange(text);
  return range !== undefined && isLoopback(range)
    ? { fault: `${quoted(text)} is loopback, which is never served` }
    : { value: range };
}

function parseInterfaceNames(text: string): Parsed<readonly string[]> {
  const names = splitList(text);
  if (names.length > MAX_MATCHES) return { fault: `there are more than ${MAX_MATCHES} interfaces` };
  const bad = names.find((name) => !INTERFACE_NAME_REGEXP.test(name));
  return bad === undefined ? { value: names } : { fault: `${quoted(bad)} is not the name of an interface` };
}

/** Cut, as the text may be long. */
function quoted(text: string): string {
  return `"${text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}...` : text}"`;
}

const MAX_QUOTED = 64;
/** What the kernel allows (`dev_valid_name`). */
const INTERFACE_NAME_REGEXP = /^[^\s/:]{1,15}$/;
