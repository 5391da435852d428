// What a Service's fields and annotations ask of the load balancer, checked: source ranges, tolerations, priority,
// resources, ipMode. Faults are told, never guessed over. Pure.
import type { Service, Toleration } from "../kube/types.ts";
import { errorMessage } from "../shared/errors.ts";
import type { IpFamily } from "../shared/ip.ts";
import { type IpRange, isLoopback, parseIpRange, renderIpRange } from "../shared/ip_ranges.ts";
import { parseYaml } from "../shared/yaml.ts";
import {
  IP_MODE_ANNOTATION,
  MATCH_ADDRESSES_ANNOTATION,
  PRIORITY_CLASS_ANNOTATION,
  RESOURCES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
  TOLERATIONS_ANNOTATION,
} from "./labels.ts";

/** How clients see an address in the status. */
export type IpMode = "VIP" | "Proxy";

/** Requests and limits as Kubernetes writes them. */
export interface PodResources {
  readonly requests?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, string>>;
}

/** Something in the Service that can't be taken as it is. */
export interface SettingsProblem {
  /** Stable CamelCase name. */
  readonly reason: string;
  readonly message: string;
}

/** A Service's wishes. */
export interface ServiceSettings {
  readonly families: readonly IpFamily[];
  /** Ranges of the Service's families, sorted; absent means everyone, empty no one. */
  readonly sourceRanges?: readonly string[];
  readonly tolerations: readonly Toleration[];
  readonly priorityClassName?: string;
  readonly resources?: PodResources;
  readonly ipMode?: IpMode;
  /** Addresses that traffic must be sent to; absent means all. */
  readonly matchAddresses?: readonly IpRange[];
  /** Faults that stop the DaemonSet from being written: guessing could open access or strand pods. */
  readonly errors: readonly SettingsProblem[];
  /** Faults that are left out of account. */
  readonly warnings: readonly SettingsProblem[];
}

/** Reads every wish; never throws. */
export function serviceSettings(service: Service): ServiceSettings {
  const errors: SettingsProblem[] = [];
  const warnings: SettingsProblem[] = [];
  const families = (service.spec?.ipFamilies ?? []).filter(isFamily);
  const annotations = service.metadata?.annotations ?? {};
  const sourceRanges = readSourceRanges(service, { families, errors, warnings });
  const resources = readYaml(annotations, RESOURCES_ANNOTATION, { check: asResources, errors });
  const ipMode = readIpMode(annotations, warnings);
  const matchAddresses = readMatchAddresses(annotations, { errors, warnings });
  const priorityClassName = annotations[PRIORITY_CLASS_ANNOTATION];
  return {
    families,
    tolerations: readYaml(annotations, TOLERATIONS_ANNOTATION, { check: asTolerations, errors }) ?? [],
    ...(sourceRanges === undefined ? {} : { sourceRanges }),
    ...(priorityClassName ? { priorityClassName } : {}),
    ...(resources === undefined ? {} : { resources }),
    ...(ipMode === undefined ? {} : { ipMode }),
    ...(matchAddresses === undefined ? {} : { matchAddresses }),
    errors,
    warnings,
  };
}

interface RangeContext {
  readonly families: readonly IpFamily[];
  readonly errors: SettingsProblem[];
  readonly warnings: SettingsProblem[];
}

/** The spec's field wins over the annotation, as in upstream's `GetLoadBalancerSourceRanges`. */
function readSourceRanges(service: Service, context: RangeContext): readonly string[] | undefined {
  const fromSpec = service.spec?.loadBalancerSourceRanges ?? [];
  const source = fromSpec.length > 0 ? "spec.loadBalancerSourceRanges" : `annotation "${SOURCE_RANGES_ANNOTATION}"`;
  const texts = fromSpec.length > 0
    ? fromSpec
    : splitList(service.metadata?.annotations?.[SOURCE_RANGES_ANNOTATION] ?? "");
  if (texts.length === 0) return undefined;
  const kept = new Set<string>();
  const foreign: string[] = [];
  for (const text of texts) {
    const range = text.includes("/") ? parseIpRange(text) : undefined;
    if (range === undefined) {
      const message = `Source range "${text.trim()}" in ${source} is not a CIDR range such as "10.0.0.0/24"`;
      context.errors.push({ reason: "InvalidSourceRange", message });
    } else if (context.families.length > 0 && !context.families.includes(range.family)) {
      foreign.push(renderIpRange(range));
    } else kept.add(renderIpRange(range));
  }
  if (foreign.length > 0) {
    const families = context.families.join(" and ");
    const message =
      `Source ranges ${foreign.toSorted().join(", ")} are not of the Service's address family (${families})` +
      (kept.size === 0 ? "; no client is admitted" : " and have no effect");
    context.warnings.push({ reason: "SourceRangeFamily", message });
  }
  return [...kept].toSorted();
}

function readIpMode(annotations: Annotations, warnings: SettingsProblem[]): IpMode | undefined {
  const mode = annotations[IP_MODE_ANNOTATION];
  if (mode === undefined || mode === "VIP" || mode === "Proxy") return mode;
  warnings.push({
    reason: "InvalidAnnotation",
    message: `Annotation "${IP_MODE_ANNOTATION}" must be "VIP" or "Proxy", not "${mode}"; it has no effect`,
  });
  return undefined;
}

function readMatchAddresses(
  annotations: Annotations,
  { errors, warnings }: Pick<RangeContext, "errors" | "warnings">,
): readonly IpRange[] | undefined {
  const text = annotations[MATCH_ADDRESSES_ANNOTATION];
  if (text === undefined || text.trim() === "") return undefined;
  const ranges: IpRange[] = [];
  for (const part of splitList(text)) {
    const range = parseIpRange(part);
    const what = `"${part}" in annotation "${MATCH_ADDRESSES_ANNOTATION}"`;
    if (range === undefined) {
      warnings.push({
        reason: "InvalidAnnotation",
        message: `${what} is neither an IP address nor a range; it has no effect`,
      });
    } else if (isLoopback(range)) {
      errors.push({ reason: "InvalidMatchAddress", message: `${what} is loopback, which is never served` });
    } else ranges.push(range);
  }
  return ranges;
}

type Annotations = Readonly<Record<string, string>>;

interface YamlCheck<T> {
  /** The value as wanted, or a sentence that says what is wrong. */
  readonly check: (value: unknown) => T | string;
  readonly errors: SettingsProblem[];
}

function readYaml<T extends object>(annotations: Annotations, name: string, options: YamlCheck<T>): T | undefined {
  const text = annotations[name];
  if (text === undefined || text.trim() === "") return undefined;
  let checked: T | string;
  try {
    checked = options.check(parseYaml(text));
  } catch (error) {
    checked = errorMessage(error);
  }
  if (typeof checked !== "string") return checked;
  options.errors.push({ reason: "InvalidAnnotation", message: `Annotation "${name}" can't be used: ${checked}` });
  return undefined;
}

/** Tolerations as the API server would take them; an operator that is not given is `Equal`. */
function asTolerations(value: unknown): Toleration[] | string {
  if (!Array.isArray(value)) return "a list of tolerations is expected";
  const tolerations: Toleration[] = [];
  for (const [index, item] of value.entries()) {
    const toleration = asToleration(item);
    if (typeof toleration === "string") return `toleration ${index + 1}: ${toleration}`;
    tolerations.push(toleration);
  }
  return tolerations;
}

function asToleration(item: unknown): Toleration | string {
  if (!isMapping(item)) return "a mapping is expected";
  const unknownField = Object.keys(item).find((field) => !TOLERATION_FIELDS.includes(field));
  if (unknownField !== undefined) return `field "${unknownField}" does not exist`;
  const { key, operator = "Equal", value, effect, tolerationSeconds } = item;
  for (const [name, field] of Object.entries({ key, value, effect })) {
    if (field !== undefined && field !== null && typeof field !== "string") return `"${name}" must be a string`;
  }
  if (operator !== "Equal" && operator !== "Exists") return `operator must be "Equal" or "Exists"`;
  if (!key && operator !== "Exists") return `an empty key needs operator "Exists"`;
  if (operator === "Exists" && value) return `operator "Exists" takes no value`;
  if (typeof effect === "string" && !TAINT_EFFECTS.includes(effect)) return `effect "${effect}" does not exist`;
  if (tolerationSeconds !== undefined && tolerationSeconds !== null) {
    if (typeof tolerationSeconds !== "number" || !Number.isInteger(tolerationSeconds)) {
      return `"tolerationSeconds" must be a whole number`;
    }
    if (effect !== "NoExecute") return `"tolerationSeconds" needs effect "NoExecute"`;
  }
  return {
    ...(typeof key === "string" && key !== "" ? { key } : {}),
    operator,
    ...(typeof value === "string" && value !== "" ? { value } : {}),
    ...(typeof effect === "string" && effect !== "" ? { effect } : {}),
    ...(typeof tolerationSeconds === "number" ? { tolerationSeconds } : {}),
  };
}

function asResources(value: unknown): PodResources | string {
  if (!isMapping(value)) return `a mapping with "requests" and "limits" is expected`;
  const unknownField = Object.keys(value).find((field) => field !== "requests" && field !== "limits");
  if (unknownField !== undefined) return `field "${unknownField}" does not exist`;
  const requests = asQuantities(value["requests"]);
  const limits = asQuantities(value["limits"]);
  if (typeof requests === "string") return `requests: ${requests}`;
  if (typeof limits === "string") return `limits: ${limits}`;
  return { ...(requests === undefined ? {} : { requests }), ...(limits === undefined ? {} : { limits }) };
}

function asQuantities(value: unknown): Readonly<Record<string, string>> | string | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isMapping(value)) return "a mapping is expected";
  const quantities: Record<string, string> = {};
  for (const name of Object.keys(value).toSorted()) {
    const amount = value[name];
    const text = typeof amount === "number" ? String(amount) : amount;
    if (typeof text !== "string" || !QUANTITY_REGEXP.test(text)) {
      return `"${name}" is not a quantity such as "10m" or "8Mi"`;
    }
    quantities[name] = text;
  }
  return quantities;
}

function isFamily(text: string): text is IpFamily {
  return text === "IPv4" || text === "IPv6";
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function splitList(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim()).filter((part) => part !== "");
}

const TOLERATION_FIELDS: readonly string[] = ["key", "operator", "value", "effect", "tolerationSeconds"];
const TAINT_EFFECTS: readonly string[] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const QUANTITY_REGEXP = /^\d+(\.\d+)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?\d+)?$/;
