// What the server says of a Service's source ranges, in `spec` and in the annotation: words and places of `pkg/apis/core/validation`.
import { isIP } from "node:net";
import { asObject, asText, at, type JsonObject } from "./json.ts";
import type { Cause } from "./status_error.ts";
import type { ApiObject } from "./store.ts";

const ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges";

/** The faults; an annotation that was there already is not looked at again. */
export function sourceRangeCauses(service: ApiObject, live: ApiObject | undefined): readonly Cause[] {
  const spec = asObject(service["spec"]);
  const listed = ranges(spec);
  const annotation = annotationOf(service);
  const field = listed.length > 0 ? "spec.LoadBalancerSourceRanges" : `metadata.annotations[${ANNOTATION}]`;
  if (listed.length === 0 && annotation === undefined) return [];
  const forbidden: Cause = {
    reason: "FieldValueForbidden",
    message: "Forbidden: may only be used when `type` is 'LoadBalancer'",
    field,
  };
  const known = live === undefined ? [] : ranges(asObject(live["spec"]));
  const faults = listed.length > 0
    ? listed.map((range, i) => known.includes(range) ? [] : causesOf(range, `${field}[${i}]`))
    : (live !== undefined && annotationOf(live) === annotation) || annotation?.trim() === ""
    ? []
    : (annotation ?? "").split(",").map((range) => causesOf(range.trim(), field));
  return [...(spec["type"] === "LoadBalancer" ? [] : [forbidden]), ...faults.flat()];
}

function ranges(spec: JsonObject): readonly string[] {
  const listed = spec["loadBalancerSourceRanges"];
  return Array.isArray(listed) ? listed.map((range) => asText(range).trim()) : [];
}

function annotationOf(service: ApiObject): string | undefined {
  const value = at(service, "metadata", "annotations", ANNOTATION);
  return value === undefined ? undefined : asText(value);
}

function causesOf(range: string, field: string): readonly Cause[] {
  const [ip = "", length = "", ...rest] = range.split("/");
  const bits = isIP(ip) === 4 ? 32 : isIP(ip) === 6 ? 128 : -1;
  if (rest.length === 0 && /^\d+$/.test(length) && Number(length) <= bits) return [];
  const message = `Invalid value: ${
    JSON.stringify(range)
  }: must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`;
  return [{ reason: "FieldValueInvalid", message, field }];
}
