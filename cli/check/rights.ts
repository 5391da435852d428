// What each program must be allowed to do, as RBAC's own rules say it: one table, to which deploy/ is held by a test. Pure.
import { FACTS_CONFIG_MAP } from "../../core/service/cluster_facts.ts";
import { ELECTION_LEASE_NAME, ENDPOINT_READER_ROLE, FACTS_READER_ROLE } from "../../core/service/labels.ts";

/** The two programs. */
export type ProgramName = "server" | "agent";

/** Some verbs on some kinds, in one place. */
export interface RightsRule {
  /** `servicelb`: the namespace of the load balancer's pods; `cluster`: everywhere, and kinds without a namespace. */
  readonly in: "cluster" | "kube-system" | "servicelb";
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly names?: readonly string[];
}

/** One thing to do, as a SelfSubjectAccessReview asks for it. */
export interface Right {
  readonly namespace: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly verb: string;
  readonly name: string;
}

const EVERYTHING: readonly string[] = ["get", "create", "patch", "delete"];

/** What `k3slb server` must be allowed to do without manifests, packaged parts and charts. */
export const SERVER_RULES: readonly RightsRule[] = [
  { in: "servicelb", group: "apps", resources: ["daemonsets"], verbs: ["list", "watch", "create", "patch", "delete"] },
  { in: "servicelb", group: "", resources: ["pods"], verbs: ["list", "watch"] },
  { in: "servicelb", group: "", resources: ["events"], verbs: ["list"] },
  { in: "servicelb", group: "", resources: ["serviceaccounts"], verbs: EVERYTHING, names: ["svclb"] },
  {
    in: "servicelb",
    group: "",
    resources: ["configmaps"],
    verbs: ["get", "list", "watch", "create", "patch", "delete"],
    names: [FACTS_CONFIG_MAP],
  },
  {
    in: "servicelb",
    group: "rbac.authorization.k8s.io",
    resources: ["roles", "rolebindings"],
    verbs: EVERYTHING,
    names: [FACTS_READER_ROLE],
  },
  { in: "servicelb", group: "coordination.k8s.io", resources: ["leases"], verbs: ["create"] },
  {
    in: "servicelb",
    group: "coordination.k8s.io",
    resources: ["leases"],
    verbs: ["get", "update"],
    names: [ELECTION_LEASE_NAME],
  },
  { in: "kube-system", group: "", resources: ["configmaps"], verbs: ["get"], names: ["kube-proxy"] },
  { in: "kube-system", group: "k3s.cattle.io", resources: ["addons"], verbs: ["list"] },
  { in: "cluster", group: "", resources: ["services"], verbs: ["get", "list", "watch", "patch"] },
  { in: "cluster", group: "", resources: ["services/status"], verbs: ["patch"] },
  { in: "cluster", group: "", resources: ["nodes"], verbs: ["list", "watch"] },
  { in: "cluster", group: "", resources: ["events"], verbs: ["create", "patch"] },
  { in: "cluster", group: "networking.k8s.io", resources: ["servicecidrs"], verbs: ["list"] },
  { in: "cluster", group: "apps", resources: ["daemonsets"], verbs: ["list"] },
  { in: "cluster", group: "", resources: ["configmaps"], verbs: ["list"], names: [FACTS_CONFIG_MAP] },
  { in: "cluster", group: "discovery.k8s.io", resources: ["endpointslices"], verbs: ["list", "watch"] },
  {
    in: "cluster",
    group: "rbac.authorization.k8s.io",
    resources: ["clusterroles", "clusterrolebindings"],
    verbs: EVERYTHING,
    names: [ENDPOINT_READER_ROLE],
  },
  {
    in: "cluster",
    group: "apiextensions.k8s.io",
    resources: ["customresourcedefinitions"],
    verbs: ["get", "create", "patch"],
    names: ["addons.k3s.cattle.io"],
  },
];

/** What `k3slb agent` must be allowed to do. */
export const AGENT_RULES: readonly RightsRule[] = [
  { in: "cluster", group: "", resources: ["services", "pods"], verbs: ["list", "watch"] },
  { in: "cluster", group: "", resources: ["nodes"], verbs: ["get", "list", "watch"] },
  { in: "cluster", group: "discovery.k8s.io", resources: ["endpointslices"], verbs: ["list", "watch"] },
  { in: "cluster", group: "", resources: ["nodes/status"], verbs: ["patch"] },
  { in: "servicelb", group: "", resources: ["pods/status"], verbs: ["patch"] },
  { in: "servicelb", group: "", resources: ["configmaps"], verbs: ["list", "watch"], names: [FACTS_CONFIG_MAP] },
];

/** Each right of `rules` by itself. */
export function rightsOf(rules: readonly RightsRule[], servicelbNamespace: string): readonly Right[] {
  return rules.flatMap((rule) =>
    rule.resources.flatMap((path) =>
      rule.verbs.flatMap((verb) =>
        (rule.names ?? [""]).map((name): Right => {
          const [resource = "", subresource = ""] = path.split("/");
          const namespace = rule.in === "cluster" ? "" : rule.in === "servicelb" ? servicelbNamespace : rule.in;
          return { namespace, group: rule.group, resource, subresource, verb, name };
        })
      )
    )
  );
}

/** As kubectl's `auth can-i` takes it. */
export function rightText({ verb, resource, subresource, group, namespace, name }: Right): string {
  const kind = `${resource}${group === "" ? "" : `.${group}`}${name === "" ? "" : `/${name}`}`;
  const sub = subresource === "" ? "" : ` --subresource=${subresource}`;
  return `${verb} ${kind}${sub}${namespace === "" ? "" : ` -n ${namespace}`}`;
}

/** Rights that a server grants when it runs for the first time. */
export function isGrantedByServer({ resource, name }: Right): boolean {
  return resource === "endpointslices" || name === FACTS_CONFIG_MAP;
}
