// The table of rights against the roles that are shipped: what one has and the other lacks fails.
import { deepEqual, equal } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { AGENT_RULES, type Right, rightsOf, rightText, SERVER_RULES } from "../../../../cli/check/rights.ts";
import { parseYamlDocuments } from "../../../../core/shared/yaml.ts";

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
    readonly resourceNames?: readonly string[];
  }[];
}

/** What the roles of a shipped manifest grant, as texts. */
function granted(file: string, names: RegExp): readonly string[] {
  const text = readFileSync(new URL(`../../../../deploy/${file}`, import.meta.url), "utf8");
  const roles = parseYamlDocuments(text).map(({ value }) => value as Role)
    .filter(({ kind, metadata }) => /^(Cluster)?Role$/.test(kind) && names.test(metadata.name));
  return roles.flatMap(({ metadata, rules = [] }) =>
    rules.flatMap(({ apiGroups, resources, verbs, resourceNames = [""] }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((path) =>
          verbs.flatMap((verb) =>
            resourceNames.map((name) => {
              const [resource = "", subresource = ""] = path.split("/");
              return rightText({ namespace: metadata.namespace ?? "", group, resource, subresource, verb, name });
            })
          )
        )
      )
    )
  ).sort();
}

Deno.test("SERVER_RULES: as deploy/rbac.yaml grants them, in cli/check/rights.ts and there", () => {
  deepEqual(rightsOf(SERVER_RULES, "kube-system").map(rightText).sort(), granted("rbac.yaml", /^k3slb-server/));
});

Deno.test("AGENT_RULES: as deploy/k3slb.yaml grants them, in cli/check/rights.ts and there", () => {
  deepEqual(rightsOf(AGENT_RULES, "kube-system").map(rightText).sort(), granted("k3slb.yaml", /^k3slb-agent/));
});

Deno.test("rightText: as kubectl auth can-i takes it", () => {
  const right: Right = {
    namespace: "lb",
    group: "apps",
    resource: "daemonsets",
    subresource: "status",
    verb: "patch",
    name: "x",
  };
  equal(rightText(right), "patch daemonsets.apps/x --subresource=status -n lb");
  equal(rightText({ ...right, namespace: "", group: "", subresource: "", name: "" }), "patch daemonsets");
});
