// Label selectors and field selectors: parsing, matching, and which fields each kind can be selected by
// (k8s.io/apimachinery `pkg/labels`, `pkg/fields`; the kinds' own lists of selectable fields).
import { asList, asObject, asText, at, type Json, type JsonObject } from "./json.ts";
import type { Resource } from "./resources.ts";
import type { ApiObject } from "./store.ts";
import { badRequest } from "./status_error.ts";

/** Answers whether an object is selected. */
export type Matcher = (object: ApiObject) => boolean;

type LabelTest = (labels: JsonObject) => boolean;

function parseLabelRequirement(text: string): LabelTest {
  const set = /^\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*$/.exec(text);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = new Set(list.split(",").map((value) => value.trim()));
    return operator === "in"
      ? (labels) => Object.hasOwn(labels, key) && values.has(asText(labels[key]))
      : (labels) => !Object.hasOwn(labels, key) || !values.has(asText(labels[key]));
  }
  const relation = /^\s*([^\s!=<>]+)\s*(==|=|!=|>|<)\s*([^\s=!]*)\s*$/.exec(text);
  if (relation !== null) {
    const [, key = "", operator, value = ""] = relation;
    if (operator === "!=") return (labels) => labels[key] !== value;
    if (operator === ">") return (labels) => Number(labels[key]) > Number(value);
    if (operator === "<") return (labels) => Number(labels[key]) < Number(value);
    return (labels) => labels[key] === value;
  }
  const presence = /^\s*(!?)\s*([^\s!=()]+)\s*$/.exec(text);
  if (presence !== null) {
    const [, not, key = ""] = presence;
    return not === "!" ? (labels) => !Object.hasOwn(labels, key) : (labels) => Object.hasOwn(labels, key);
  }
  throw badRequest(`unable to parse requirement: found '${text.trim()}', expected: identifier`);
}

/** Splits at commas that are not inside brackets. */
function splitRequirements(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index < text.length; index++) {
    const letter = text[index];
    if (letter === "(") depth++;
    else if (letter === ")") depth--;
    else if (letter === "," && depth === 0) {
      parts.push(text.slice(start, index));
      start = index + 1;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

/** Matcher of a label selector in the query syntax. */
export function labelMatcher(selector: string): Matcher {
  if (selector.trim() === "") return () => true;
  const tests = splitRequirements(selector).map(parseLabelRequirement);
  return (object) => {
    const labels = asObject(object.metadata["labels"]);
    return tests.every((test) => test(labels));
  };
}

/** Whether labels satisfy a LabelSelector object; an absent selector selects nothing. */
export function matchesLabelSelector(selector: Json | undefined, labels: JsonObject): boolean {
  if (selector === undefined || selector === null) return false;
  const fixed = Object.entries(asObject(at(selector, "matchLabels")));
  return fixed.every(([key, value]) => labels[key] === value) &&
    asList(at(selector, "matchExpressions")).every((entry) => matchesExpression(asObject(entry), labels));
}

/** One `matchExpressions` entry, of label selectors and of node selectors. */
export function matchesExpression(expression: JsonObject, labels: JsonObject): boolean {
  const key = asText(expression["key"]);
  const values = asList(expression["values"]);
  const value = labels[key];
  switch (expression["operator"]) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return Number(value) > Number(values[0]);
    case "Lt":
      return Number(value) < Number(values[0]);
    default:
      return false;
  }
}

const SELECTABLE: Readonly<Record<string, readonly string[]>> = {
  Pod: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
  ],
  Service: ["spec.clusterIP", "spec.type"],
  Node: ["spec.unschedulable"],
  Namespace: ["status.phase"],
  Secret: ["type"],
  Job: ["status.successful"],
  Event: [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
  ],
};

/** The `field=value` pairs that must hold. */
export interface FieldRequirement {
  readonly field: string;
  readonly value: string;
  readonly negated: boolean;
}

/** Requirements of a field selector in the query syntax. */
export function parseFieldSelector(selector: string): FieldRequirement[] {
  return selector.split(",").filter((part) => part.trim() !== "").map((part) => {
    const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(part);
    if (match === null) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
    const [, field = "", operator, value = ""] = match;
    return { field: field.trim(), value, negated: operator === "!=" };
  });
}

function fieldText(object: ApiObject, field: string): string {
  const value = field === "source" ? at(object, "source", "component") : at(object, ...field.split("."));
  if (value === undefined || value === null) {
    return field === "spec.unschedulable" || field === "spec.hostNetwork" ? "false" : "";
  }
  return String(value);
}

/** Matcher of a field selector for one kind. */
export function fieldMatcher(selector: string, resource: Resource): Matcher {
  const requirements = parseFieldSelector(selector);
  if (requirements.length === 0) return () => true;
  const known = ["metadata.name", "metadata.namespace", ...(SELECTABLE[resource.kind] ?? [])];
  for (const { field } of requirements) {
    if (!known.includes(field)) {
      throw badRequest(`field label not supported: ${field}`);
    }
  }
  return (object) =>
    requirements.every(({ field, value, negated }) => (fieldText(object, field) === value) !== negated);
}
