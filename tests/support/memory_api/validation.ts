// Rules that objects must keep, as far as this program's objects can break them. Words of the messages are the server's
// (k8s.io/kubernetes `pkg/apis/core/validation`, k8s.io/apimachinery `pkg/util/validation`).
import { asList, asObject, asText, at, equal, type Json, type JsonObject } from "./json.ts";
import type { Resource } from "./resources.ts";
import type { ApiObject } from "./store.ts";
import { sourceRangeCauses } from "./source_ranges.ts";
import { type Cause, invalid } from "./status_error.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED_NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const SUBDOMAIN_WORDS =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'example.com', regex used for validation is " +
  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_WORDS =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an " +
  "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE_WORDS =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end " +
  "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is " +
  "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** Kinds whose names are DNS labels. */
const LABEL_NAMED: ReadonlySet<string> = new Set(["Service", "Namespace"]);
/** Kinds whose names are path segments. */
const PATH_NAMED: ReadonlySet<string> = new Set(["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]);

function quoted(value: Json | undefined): string {
  return typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value ?? null);
}

function wrong(field: string, value: Json | undefined, why: string): Cause {
  return { reason: "FieldValueInvalid", message: `Invalid value: ${quoted(value)}: ${why}`, field };
}

function required(field: string, why = ""): Cause {
  return { reason: "FieldValueRequired", message: why === "" ? "Required value" : `Required value: ${why}`, field };
}

function duplicate(field: string, value: Json): Cause {
  return { reason: "FieldValueDuplicate", message: `Duplicate value: ${quoted(value)}`, field };
}

function notSupported(field: string, options: { value: Json | undefined; allowed: readonly string[] }): Cause {
  const list = options.allowed.map((it) => JSON.stringify(it)).join(", ");
  return {
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${quoted(options.value)}: supported values: ${list}`,
    field,
  };
}

function nameCauses(object: ApiObject): Cause[] {
  const name = object.metadata.name;
  if (PATH_NAMED.has(object.kind)) {
    return name.includes("/") || name.includes("%") || name === "." || name === ".."
      ? [wrong("metadata.name", name, "may not contain '/'")]
      : [];
  }
  const isLabel = LABEL_NAMED.has(object.kind);
  const causes: Cause[] = [];
  const limit = isLabel ? 63 : 253;
  if (name.length > limit) {
    causes.push(wrong("metadata.name", name, `must be no more than ${limit} ${isLabel ? "bytes" : "bytes"}`));
  }
  if (isLabel && name.includes(".")) causes.push(wrong("metadata.name", name, "must not contain dots"));
  else if (!(isLabel ? LABEL : SUBDOMAIN).test(name)) {
    causes.push(wrong("metadata.name", name, isLabel ? LABEL_WORDS : SUBDOMAIN_WORDS));
  }
  return causes;
}

function labelCauses(labels: Json | undefined, field: string): Cause[] {
  const causes: Cause[] = [];
  for (const [key, value] of Object.entries(asObject(labels))) {
    const parts = key.split("/");
    const name = parts.at(-1) ?? "";
    const prefix = parts.length > 1 ? parts[0] ?? "" : undefined;
    if (name.length > 63) causes.push(wrong(field, key, "name part must be no more than 63 bytes"));
    if (!QUALIFIED_NAME.test(name)) {
      causes.push(wrong(
        field,
        key,
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric " +
          "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
      ));
    }
    if (prefix !== undefined && !SUBDOMAIN.test(prefix)) {
      causes.push(wrong(field, key, `prefix part ${SUBDOMAIN_WORDS}`));
    }
    const text = asText(value);
    if (text.length > 63) causes.push(wrong(field, value, "must be no more than 63 bytes"));
    if (!LABEL_VALUE.test(text)) causes.push(wrong(field, value, LABEL_VALUE_WORDS));
  }
  return causes;
}

function objects(value: Json | undefined): JsonObject[] {
  return asList(value).map((item) => asObject(item));
}

function serviceCauses(service: ApiObject): Cause[] {
  const spec = asObject(service["spec"]);
  const causes: Cause[] = [];
  const ports = objects(spec["ports"]);
  if (ports.length === 0 && spec["clusterIP"] !== "None" && spec["type"] !== "ExternalName") {
    causes.push(required("spec.ports"));
  }
  const names = new Set<string>();
  const seen = new Set<string>();
  ports.forEach((port, index) => {
    const field = `spec.ports[${index}]`;
    const name = asText(port["name"]);
    if (name === "" && ports.length > 1) causes.push(required(`${field}.name`));
    else if (name !== "") {
      if (names.has(name)) causes.push(duplicate(`${field}.name`, name));
      names.add(name);
    }
    const number = port["port"];
    if (typeof number !== "number" || number < 1 || number > 65535) {
      causes.push(wrong(`${field}.port`, number ?? 0, "must be between 1 and 65535, inclusive"));
    }
    const target = port["targetPort"];
    if (typeof target === "number" && (target < 1 || target > 65535)) {
      causes.push(wrong(`${field}.targetPort`, target, "must be between 1 and 65535, inclusive"));
    }
    const protocol = asText(port["protocol"]);
    if (!["TCP", "UDP", "SCTP"].includes(protocol)) {
      causes.push(notSupported(`${field}.protocol`, { value: protocol, allowed: ["SCTP", "TCP", "UDP"] }));
    }
    const key = `${String(number)}/${protocol}`;
    if (seen.has(key)) {
      causes.push(
        duplicate(field, {
          Name: "",
          Protocol: protocol,
          AppProtocol: null,
          Port: number ?? 0,
          TargetPort: 0,
          NodePort: 0,
        }),
      );
    }
    seen.add(key);
  });
  const types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
  if (!types.includes(asText(spec["type"]))) {
    causes.push(notSupported("spec.type", { value: spec["type"], allowed: types }));
  }
  if (spec["loadBalancerClass"] !== undefined && spec["type"] !== "LoadBalancer") {
    causes.push({
      reason: "FieldValueForbidden",
      message: "Forbidden: may only be used when `type` is 'LoadBalancer'",
      field: "spec.loadBalancerClass",
    });
  }
  return causes;
}

function podSpecCauses(spec: JsonObject, field: string): Cause[] {
  const causes: Cause[] = [];
  const containers = objects(spec["containers"]);
  if (containers.length === 0) causes.push(required(`${field}.containers`));
  const names = new Set<string>();
  containers.forEach((container, index) => {
    const place = `${field}.containers[${index}]`;
    const name = asText(container["name"]);
    if (name === "") causes.push(required(`${place}.name`));
    else if (name.length > 63 || !LABEL.test(name)) causes.push(wrong(`${place}.name`, name, LABEL_WORDS));
    if (names.has(name)) causes.push(duplicate(`${place}.name`, name));
    names.add(name);
    if (asText(container["image"]) === "") causes.push(required(`${place}.image`));
    const portNames = new Set<string>();
    objects(container["ports"]).forEach((port, number) => {
      const portField = `${place}.ports[${number}]`;
      const portName = asText(port["name"]);
      if (portName !== "" && portNames.has(portName)) causes.push(duplicate(`${portField}.name`, portName));
      portNames.add(portName);
      const containerPort = port["containerPort"];
      if (typeof containerPort !== "number") causes.push(required(`${portField}.containerPort`));
      else if (containerPort < 1 || containerPort > 65535) {
        causes.push(wrong(`${portField}.containerPort`, containerPort, "must be between 1 and 65535, inclusive"));
      }
      if (spec["hostNetwork"] === true && port["hostPort"] !== undefined && port["hostPort"] !== containerPort) {
        causes.push(
          wrong(
            `${field}.containers[${index}].ports[${number}].hostPort`,
            port["hostPort"],
            "must match `containerPort` when `hostNetwork` is true",
          ),
        );
      }
    });
  });
  return causes;
}

function workloadCauses(object: ApiObject): Cause[] {
  const spec = asObject(object["spec"]);
  const causes: Cause[] = [];
  const labels = asObject(at(spec, "template", "metadata", "labels"));
  if (object.kind !== "Job") {
    const selector = spec["selector"];
    const matchLabels = asObject(at(selector, "matchLabels"));
    if (selector === undefined) causes.push(required("spec.selector"));
    else if (!Object.entries(matchLabels).every(([key, value]) => labels[key] === value)) {
      causes.push(wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
    }
  }
  causes.push(...labelCauses(labels, "spec.template.labels"));
  causes.push(...podSpecCauses(asObject(at(spec, "template", "spec")), "spec.template.spec"));
  return causes;
}

function crdCauses(object: ApiObject): Cause[] {
  const spec = asObject(object["spec"]);
  const wanted = `${asText(at(spec, "names", "plural"))}.${asText(spec["group"])}`;
  return object.metadata.name === wanted
    ? []
    : [wrong("metadata.name", object.metadata.name, 'must be spec.names.plural+"."+spec.group')];
}

const KIND_CAUSES: Readonly<Record<string, (object: ApiObject, live: ApiObject | undefined) => Cause[]>> = {
  Service: (object, live) => [...serviceCauses(object), ...sourceRangeCauses(object, live)],
  Pod: (object) => podSpecCauses(asObject(object["spec"]), "spec"),
  DaemonSet: workloadCauses,
  Deployment: workloadCauses,
  Job: workloadCauses,
  CustomResourceDefinition: crdCauses,
};

function immutable(field: string, value: Json | undefined): Cause {
  return wrong(field, value, "field is immutable");
}

function updateCauses(next: ApiObject, live: ApiObject): Cause[] {
  const causes: Cause[] = [];
  const isSame = (...path: string[]): boolean => equal(at(next, ...path), at(live, ...path));
  switch (next.kind) {
    case "DaemonSet":
    case "Deployment":
      if (!isSame("spec", "selector")) causes.push(immutable("spec.selector", at(next, "spec", "selector")));
      break;
    case "Job":
      if (!isSame("spec", "selector")) causes.push(immutable("spec.selector", at(next, "spec", "selector")));
      if (!isSame("spec", "template") && at(live, "spec", "suspend") !== true) {
        causes.push(immutable("spec.template", at(next, "spec", "template")));
      }
      break;
    case "ClusterRoleBinding":
    case "RoleBinding":
      if (!isSame("roleRef")) {
        causes.push({ ...wrong("roleRef", next["roleRef"], "cannot change roleRef") });
      }
      break;
    case "Service":
      if (
        at(next, "spec", "type") !== "ExternalName" && at(live, "spec", "clusterIP") !== undefined &&
        !isSame("spec", "clusterIP")
      ) {
        const clusterIp = at(next, "spec", "clusterIP");
        causes.push(
          wrong("spec.clusterIPs[0]", clusterIp === undefined ? [] : [clusterIp], "primary clusterIP can not be unset"),
        );
      }
      if (
        !isSame("spec", "loadBalancerClass") && at(live, "spec", "type") === "LoadBalancer" &&
        at(next, "spec", "type") === "LoadBalancer"
      ) {
        causes.push(wrong("spec.loadBalancerClass", at(next, "spec", "loadBalancerClass"), "may not change once set"));
      }
      break;
    case "EndpointSlice":
      if (!isSame("addressType")) causes.push(immutable("addressType", next["addressType"]));
      break;
    case "Secret":
      if (!isSame("type")) causes.push(immutable("type", next["type"]));
      break;
    default:
  }
  return causes;
}

/**
 * Checks an object before it is stored.
 *
 * @throws {StatusError} 422 with every cause.
 */
export function validate(next: ApiObject, live: ApiObject | undefined, resource: Resource): void {
  const causes = [
    ...(live === undefined ? nameCauses(next) : []),
    ...labelCauses(next.metadata["labels"], "metadata.labels"),
    ...(live === undefined ? [] : updateCauses(next, live)),
    ...(resource.custom ? [] : KIND_CAUSES[next.kind]?.(next, live) ?? []),
  ];
  if (causes.length > 0) throw invalid(resource, next.metadata.name, causes);
}
