// What a Service asks for its pods: tolerations and resources, checked as the API server would, and bounded. Pure.
// The pods run in a system namespace with a high priority: what they may ask for is what their work can need.
import type { Toleration } from "../kube/types.ts";
import { isMapping } from "../shared/values.ts";
import { smallYamlParser } from "../shared/small_yaml.ts";

/** Requests and limits as Kubernetes writes them. */
export interface PodResources {
  /** What the scheduler sets aside. */
  readonly requests?: Readonly<Record<string, string>>;
  /** The most that a container gets. */
  readonly limits?: Readonly<Record<string, string>>;
}

/** Tolerations in a YAML or JSON list. */
export const parseTolerations = smallYamlParser(asTolerations);

/** Requests and limits in a YAML or JSON mapping. */
export const parseResources = smallYamlParser(asResources);

/** Tolerations as the API server would take them; an operator that is not given is `Equal`. */
function asTolerations(value: unknown): Toleration[] | string {
  if (!Array.isArray(value)) return "a list of tolerations is expected";
  if (value.length > MAX_TOLERATIONS) return `there are more than ${MAX_TOLERATIONS} tolerations`;
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
    const most = MOST_RESOURCES.get(name);
    if (most === undefined) return `only ${[...MOST_RESOURCES.keys()].join(", ")} can be set, not "${name}"`;
    const amount = value[name];
    const text = typeof amount === "number" ? String(amount) : amount;
    const size = typeof text === "string" ? quantityOf(text) : undefined;
    if (typeof text !== "string" || size === undefined) return `"${name}" is not a quantity such as "10m" or "8Mi"`;
    if (size > (quantityOf(most) ?? 0)) return `"${name}" is more than ${most}, the most that such a pod can have`;
    quantities[name] = text;
  }
  return quantities;
}

/** The number that a quantity means. */
function quantityOf(text: string): number | undefined {
  const match = QUANTITY_REGEXP.exec(text);
  if (match === null) return undefined;
  const [, number = "", suffix = ""] = match;
  const factor = FACTORS[suffix] ?? 10 ** Number(suffix.slice(1));
  return Number(number) * factor;
}

const MAX_TOLERATIONS = 32;
/** Per container; a forwarder needs a few megabytes. */
const MOST_RESOURCES: ReadonlyMap<string, string> = new Map([
  ["cpu", "1"],
  ["memory", "512Mi"],
  ["ephemeral-storage", "1Gi"],
]);
const TOLERATION_FIELDS: readonly string[] = ["key", "operator", "value", "effect", "tolerationSeconds"];
const TAINT_EFFECTS: readonly string[] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const QUANTITY_REGEXP = /^(\d{1,18}(?:\.\d{1,9})?)([numkMGTPE]|[KMGTPE]i|[eE][-+]?\d{1,2})?$/;
const FACTORS: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};
