// What an HTTP request asks for: verb, resource, namespace, name, subresource (k8s.io/apiserver `request/requestinfo.go`).
import type { Resource, ResourceTable } from "./resources.ts";

/** A request to a resource. */
export interface ResourceRequest {
  readonly verb: string;
  readonly resource: Resource;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
}

const VERB_OF_METHOD: Readonly<Record<string, string>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** Path segments, decoded. */
export function segmentsOf(pathname: string): string[] {
  return pathname.split("/").filter((part) => part !== "").map((part) => decodeURIComponent(part));
}

/** The resource that a path names; nothing if no kind is served there. */
export function parseResourceRequest(
  method: string,
  url: URL,
  options: { readonly segments: readonly string[]; readonly table: ResourceTable },
): ResourceRequest | undefined {
  const { segments, table } = options;
  const isCore = segments[0] === "api";
  if (!isCore && segments[0] !== "apis") return undefined;
  const [group = "", version = ""] = isCore ? ["", segments[1]] : [segments[1], segments[2]];
  const rest = segments.slice(isCore ? 2 : 3);
  const isNamespaced = rest[0] === "namespaces" && rest.length > 2 && !["status", "finalize"].includes(rest[2] ?? "");
  const namespace = isNamespaced ? rest[1] ?? "" : "";
  const [plural = "", name = "", subresource = ""] = isNamespaced ? rest.slice(2) : rest;
  const resource = table.find(group, version, plural);
  if (resource === undefined || (isNamespaced && !resource.namespaced)) return undefined;
  if (subresource !== "" && !resource.subresources.includes(subresource)) return undefined;
  if (resource.namespaced && name !== "" && namespace === "") return undefined;
  let verb = VERB_OF_METHOD[method] ?? method.toLowerCase();
  if (verb === "get" && name === "") {
    verb = ["1", "true"].includes(url.searchParams.get("watch") ?? "") ? "watch" : "list";
  }
  if (verb === "delete" && name === "") verb = "deletecollection";
  return { verb, resource, namespace, name, subresource };
}
