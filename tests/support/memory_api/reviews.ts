// Reviews: objects that are answered and not kept (authentication.k8s.io, authorization.k8s.io).
import type { Api } from "./api.ts";
import { isAllowed } from "./authorization.ts";
import { asList, asObject, asText, at, type Json, type JsonObject } from "./json.ts";
import type { ResourceRequest } from "./request.ts";
import type { Target } from "./write_rules.ts";

/** Answer to a review: who am I, may I. */
export function review(api: Api, asked: ResourceRequest, context: { target: Target; body: Json }): JsonObject {
  const { target, body } = context;
  const { user } = target;
  const kind = asked.resource.kind;
  const base = {
    kind,
    apiVersion: `${asked.resource.group}/${asked.resource.version}`,
    metadata: { creationTimestamp: api.now() },
  };
  if (kind === "SelfSubjectReview") {
    return { ...base, status: { userInfo: { username: user.name, groups: [...user.groups] } } };
  }
  const spec = asObject(at(body, "spec"));
  const isAdmin = user.groups.includes("system:masters");
  if (kind === "SelfSubjectRulesReview") {
    const all: JsonObject = { verbs: ["*"], apiGroups: ["*"], resources: ["*"] };
    const nonResourceRules: Json = isAdmin ? [{ verbs: ["*"], nonResourceURLs: ["*"] }] : [];
    // Only an administrator's rules are known without looking for them.
    const status: JsonObject = { resourceRules: isAdmin ? [all] : [], nonResourceRules, incomplete: !isAdmin };
    return { ...base, spec, status };
  }
  const wanted = asObject(spec["resourceAttributes"]);
  const allowed = isAllowed({
    user,
    // Authorizers know names alone, whether or not there is such a kind.
    resource: { group: asText(wanted["group"]), plural: asText(wanted["resource"]), kind: "" },
    verb: asText(wanted["verb"]),
    subresource: asText(wanted["subresource"]),
    namespace: asText(wanted["namespace"]),
    name: asText(wanted["name"]),
    fieldSelector: asList(at(wanted, "fieldSelector", "requirements")).map((each) =>
      `${asText(asObject(each)["key"])}=${asText(asList(asObject(each)["values"])[0])}`
    ).join(","),
  }, api.store);
  return { ...base, spec, status: { allowed } };
}
