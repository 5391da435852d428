// OpenAPI v3 as kubectl asks for it: where a server checks fields (`apply`), and what a field is (`explain`). The schemas of built-in kinds are read
// from the declarations of the models that types.ts takes its types from too, when they are first asked for; custom kinds bring their own.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { asList, asObject, asText, at, isObject, type Json, type JsonObject } from "./json.ts";
import { apiVersion, type Resource, type ResourceTable } from "./resources.ts";

const CLIENT = fileURLToPath(new URL("../../../node_modules/kubernetes-fluent-client", import.meta.url));

/** Answer to a path below `/openapi/v3`; nothing for a version that is not served. */
export function openApi(path: readonly string[], table: ResourceTable): JsonObject | undefined {
  if (path.length === 0) {
    const places = new Set(table.all().map(placeOf));
    return { paths: Object.fromEntries([...places].map((it) => [it, { serverRelativeURL: `/openapi/v3/${it}` }])) };
  }
  const resources = table.all().filter((it) => placeOf(it) === path.join("/"));
  return resources.length === 0 ? undefined : document(resources);
}

/** Paths of fields that the object's kind does not have, such as `spec.prots`. Kinds without a schema have every field. */
export function unknownFields(object: JsonObject, resource: Resource): readonly string[] {
  // The model of definitions names the fields of schemas in its own way.
  if (resource.kind === "CustomResourceDefinition") return [];
  const schemas: JsonObject = resource.custom ? {} : MODELS;
  const name = modelOf(resource.kind, resource.group);
  if (!resource.custom) addModel(name, schemas);
  const schema = resource.custom ? customSchema(resource, schemas) : schemas[name];
  return schema === undefined ? [] : unknownIn(object, schema as JsonObject, { schemas, path: "", isRoot: true });
}

const MODELS: JsonObject = {};
const ROOT_FIELDS: ReadonlySet<string> = new Set(["apiVersion", "kind", "metadata"]);

function unknownIn(
  value: Json,
  schema: JsonObject,
  context: { readonly schemas: JsonObject; readonly path: string; readonly isRoot?: boolean },
): string[] {
  const { schemas, path, isRoot = false } = context;
  const reference = at(asList(schema["allOf"])[0], "$ref");
  if (reference !== undefined) {
    const named = schemas[asText(reference).split("/").at(-1) ?? ""];
    return named === undefined ? [] : unknownIn(value, named as JsonObject, { schemas, path });
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, index) =>
      unknownIn(item, asObject(schema["items"]), { schemas, path: `${path}[${index}]` })
    );
  }
  const { properties, additionalProperties } = schema;
  const isOpen = schema["x-kubernetes-preserve-unknown-fields"] === true || additionalProperties !== undefined;
  if (!isObject(value) || properties === undefined) return [];
  return Object.entries(value).flatMap(([field, inner]) => {
    if (field.startsWith("$")) return []; // An order to strategic merge.
    const here = path === "" ? field : `${path}.${field}`;
    const known = asObject(properties)[field];
    if (known !== undefined) return unknownIn(inner, asObject(known), { schemas, path: here });
    return isOpen || isRoot && ROOT_FIELDS.has(field) ? [] : [here];
  });
}

function placeOf(resource: Resource): string {
  return `${resource.group === "" ? "api" : "apis"}/${apiVersion(resource)}`;
}

function document(resources: readonly Resource[]): JsonObject {
  const schemas: JsonObject = {};
  const paths: JsonObject = {};
  for (const resource of resources) {
    const { group, version, kind, plural, namespaced } = resource;
    const gvk: JsonObject = { group, version, kind };
    const path = `/${placeOf(resource)}/${namespaced ? "namespaces/{namespace}/" : ""}${plural}/{name}`;
    const parameters: Json[] = ["fieldValidation", "dryRun", "fieldManager"].map((name) => ({
      name,
      in: "query",
      schema: { type: "string" },
    }));
    paths[path] = { patch: { "x-kubernetes-group-version-kind": gvk, parameters, responses: {} } };
    const name = resource.custom ? `${group}.${version}.${kind}` : modelOf(kind, group);
    if (!resource.custom) addModel(name, schemas);
    const own = resource.custom ? customSchema(resource, schemas) : schemas[name] ?? { type: "object" };
    schemas[name] = { ...(own as JsonObject), "x-kubernetes-group-version-kind": [gvk] };
  }
  return { openapi: "3.0.0", info: { title: "Kubernetes", version: "v1.36.3" }, paths, components: { schemas } };
}

function customSchema(resource: Resource, schemas: JsonObject): JsonObject {
  addModel("V1ObjectMeta", schemas);
  const properties = (resource.schema?.["properties"] ?? {}) as JsonObject;
  const metadata = { allOf: [{ $ref: "#/components/schemas/V1ObjectMeta" }] };
  return { ...resource.schema, properties: { ...properties, metadata } };
}

function modelOf(kind: string, group: string): string {
  return kind === "Event" ? `${group === "" ? "Core" : "Events"}V1Event` : `V1${kind}`;
}

function addModel(model: string, schemas: JsonObject): void {
  if (schemas[model] !== undefined) return;
  const file = join(realpathSync(CLIENT), "..", "@kubernetes", "client-node", "dist", "gen", "models", `${model}.d.ts`);
  if (!existsSync(file)) return;
  const schema = schemas[model] = { type: "object" } as JsonObject;
  const text = readFileSync(file, "utf8");
  const about = /\/\*\*\n\* ([^\n]*)\n\*\/\nexport declare class/.exec(text)?.[1];
  if (about !== undefined) schema["description"] = plain(about);
  const properties: JsonObject = {};
  const required: Json[] = [];
  for (const [, comment, name = "", optional, type = ""] of text.matchAll(FIELD)) {
    const field = name.replace(NAME_PREFIX, "");
    const shape = shapeOf(type.trim(), schemas);
    properties[field] = comment === undefined ? shape : { ...shape, description: plain(comment) };
    if (optional === undefined) required.push(field);
  }
  schema["properties"] = properties;
  if (required.length > 0) schema["required"] = required;
}

/** What TypeScript's rules make of field names. */
const NAME_PREFIX = /^_/;

/** A field with the comment above it: `'name'?: type;`, where a mapping's type goes over three lines. */
const FIELD = /(?:\/\*\*\n +\* ([^\n]*)\n +\*\/\n +)?'(\w+)'(\?)?: (\{\n[^}]*\}|[^;]*);/g;

function shapeOf(type: string, schemas: JsonObject): JsonObject {
  const list = /^Array<(.*)>$/.exec(type)?.[1];
  if (list !== undefined) return { type: "array", items: shapeOf(list, schemas) };
  const map = /^\{\s*\[key: string\]: (.*);\s*\}$/s.exec(type)?.[1];
  if (map !== undefined) return { type: "object", additionalProperties: shapeOf(map, schemas) };
  if (type === "number") return { type: "integer" };
  if (type === "string" || type === "boolean") return { type };
  if (type === "Date" || type === "V1MicroTime") return { type: "string", format: "date-time" };
  if (type === "IntOrString") return { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] };
  if (!/^\w+$/.test(type) || type === "any") return { type: "object" };
  addModel(type, schemas);
  return { allOf: [{ $ref: `#/components/schemas/${type}` }] };
}

function plain(comment: string): string {
  return comment.replaceAll(/\\(['"])/g, "$1");
}
