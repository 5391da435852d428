// Jobs behind a proxy: what is in the cluster is asked without it, and no hash changes by that.
import assert from "node:assert/strict";
import { desiredJob } from "../../../../../core/helm/jobs/desired_job.ts";
import { withNoProxy } from "../../../../../core/helm/jobs/job_env.ts";
import { ClusterNames } from "../../../../../core/helm/jobs/no_proxy.ts";
import type { KubeClient, ResourceType } from "../../../../../core/kube/contract.ts";
import type { KubeObject } from "../../../../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../../../../core/runtime/clock.ts";
import { K3slbError } from "../../../../../core/shared/errors.ts";
import { chartWith, SETTINGS } from "../fixtures.ts";

const CLUSTER: Readonly<Record<string, readonly object[]>> = {
  services: [{ spec: { clusterIPs: ["10.43.0.1", "fd43::1"] } }],
  servicecidrs: [{ spec: { cidrs: ["10.43.0.0/16"] } }],
  nodes: [
    { spec: { podCIDRs: ["10.42.0.0/24", "fd42:0:0:0::/64"] } },
    { spec: { podCIDRs: ["10.42.1.0/24", "fd42:0:0:1::/64"] } },
    { spec: { podCIDRs: ["10.42.3.0/24"] } },
    { spec: {} },
  ],
};

function namesOf(env: Readonly<Record<string, string>>, missing: readonly string[] = []): ClusterNames {
  const answer = (type: ResourceType<KubeObject>): readonly object[] => {
    if (missing.includes(type.plural)) throw new K3slbError("No", { code: "kube-forbidden" });
    return CLUSTER[type.plural] ?? [];
  };
  const client = {
    // deno-lint-ignore require-await
    get: async (type: ResourceType<KubeObject>) => answer(type)[0],
    // deno-lint-ignore require-await
    list: async (type: ResourceType<KubeObject>) => ({ items: answer(type) }),
  } as unknown as KubeClient;
  return new ClusterNames({ client, clock: SYSTEM_CLOCK, env, clusterDomain: "cluster.example" });
}

const signal = new AbortController().signal;

Deno.test("ClusterNames: addresses of the API server, ranges of Services and pods, and the cluster's names", async () => {
  assert.deepEqual(await namesOf({ HTTPS_PROXY: "http://proxy:3128" }).entries(signal), [
    "10.43.0.0/16",
    "fd43::1/128",
    "10.42.0.0/23",
    "10.42.3.0/24",
    "fd42::/63",
    ".svc",
    ".cluster.example",
  ]);
  assert.deepEqual(await namesOf({ NO_PROXY: "10.0.0.1" }).entries(signal), []);
  assert.deepEqual(await namesOf({ http_proxy: "x" }, ["servicecidrs", "nodes"]).entries(signal), [
    "10.43.0.1/32",
    "fd43::1/128",
    ".svc",
    ".cluster.example",
  ]);
});

Deno.test("withNoProxy: both spellings say all that was said before, and more", () => {
  const cases = [
    { given: [], want: "10.43.0.0/16,.svc" },
    { given: [{ name: "NO_PROXY", value: "a, b,.svc" }], want: "a,b,.svc,10.43.0.0/16" },
    { given: [{ name: "no_proxy", value: "c" }], want: "c,10.43.0.0/16,.svc" },
    { given: [{ name: "no_proxy", value: "c" }, { name: "NO_PROXY", value: "a" }], want: "a,10.43.0.0/16,.svc" },
  ];
  for (const { given, want } of cases) {
    const kept = { name: "HTTPS_PROXY", value: "http://proxy:3128" };
    assert.deepEqual(withNoProxy([kept, ...given], ["10.43.0.0/16", ".svc"]), [
      kept,
      { name: "no_proxy", value: want },
      { name: "NO_PROXY", value: want },
    ]);
  }
});

Deno.test("desiredJob: what is added for the cluster changes no hash", () => {
  const facts = { chart: chartWith(), secrets: new Map(), revision: 0 };
  const settings = { ...SETTINGS, env: { HTTPS_PROXY: "http://proxy:3128" } };
  const [plain, direct] = [[], ["10.43.0.0/16"]].map((direct) =>
    desiredJob({ ...facts, direct }, { action: "install", settings })
  );
  assert.equal(direct?.hash, plain?.hash);
  const env = direct?.job.spec?.template.spec?.containers[0]?.env ?? [];
  assert.equal(env.find(({ name }) => name === "NO_PROXY")?.value, "10.43.0.0/16");
});
