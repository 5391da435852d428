// What roles grant, verb by verb, and which of it was used by the audit log of an API server.
import type { KubeObject } from "../../core/kube/types.ts";
import type { ApiRequest } from "./control_plane_audit.ts";

/** A role, or a binding of one. */
export interface RbacObject extends KubeObject {
  readonly rules?: readonly Rule[];
  readonly subjects?: readonly object[];
}

/** One rule of a role. */
export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** One verb on one resource (on one name, if the rule has names). */
export interface Grant {
  /** Empty: everywhere. */
  readonly namespace: string;
  readonly group: string;
  readonly resource: string;
  readonly verb: string;
  readonly name: string | undefined;
}

/** Every verb that a role grants. */
export function grantsOf({ kind, metadata, rules = [] }: RbacObject): readonly Grant[] {
  const namespace = kind === "Role" ? metadata?.namespace ?? "" : "";
  return rules.flatMap(({ apiGroups, resources, verbs, resourceNames }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        verbs.flatMap((verb) =>
          (resourceNames ?? [undefined]).map((name): Grant => ({ namespace, group, resource, verb, name }))
        )
      )
    )
  );
}

/** The verbs that a request needed: one that applies what was not there creates it too. */
function verbsOf({ verb, code }: ApiRequest): readonly string[] {
  if (verb === "patch" && code === 201) return ["patch", "create"];
  // Watches begin with the objects that are there; servers without that are asked for a list first.
  return verb === "watch" ? ["watch", "list"] : [verb];
}

function isUseOf(request: ApiRequest, grant: Grant): boolean {
  const resource = request.subresource === "" ? request.resource : `${request.resource}/${request.subresource}`;
  return request.code !== 403 && verbsOf(request).includes(grant.verb) && request.group === grant.group &&
    resource === grant.resource && (grant.name ?? request.name) === request.name &&
    (grant.namespace === "" || grant.namespace === request.namespace);
}

/** The grants that none of `requests` needed. */
export function unusedGrants(grants: readonly Grant[], requests: readonly ApiRequest[]): readonly Grant[] {
  return grants.filter((grant) => !requests.some((request) => isUseOf(request, grant)));
}
