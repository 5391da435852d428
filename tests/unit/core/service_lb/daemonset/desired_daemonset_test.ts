// The DaemonSet of either data plane, and when it counts as different.
import assert from "node:assert/strict";
import type { DaemonSet, Service } from "../../../../../core/kube/types.ts";
import { desiredDaemonSet, differsFromDesired } from "../../../../../core/service_lb/daemonset/desired_daemonset.ts";
import type { DataplaneName } from "../../../../../core/service/labels.ts";
import { service, SERVICE_OPTIONS } from "../fixtures.ts";

function built(given: Service, dataplane: DataplaneName = "agent", registry = ""): DaemonSet {
  const result = desiredDaemonSet(given, {
    ...SERVICE_OPTIONS,
    dataplane,
    systemDefaultRegistry: registry,
    selection: { allowList: false, honorExcludeLabel: false },
    without: [],
  });
  assert.ok("daemonSet" in result, JSON.stringify(result));
  return result.daemonSet;
}

const MANY_PORTS = Array.from({ length: 50 }, (_, index) => [
  { name: `t${index}`, port: 9000 + index, protocol: "TCP" },
  { name: `u${index}`, port: 9000 + index, protocol: "UDP" },
]).flat();

Deno.test("desiredDaemonSet() makes a placeholder without rights for the agent", () => {
  const spec = built(service()).spec?.template.spec;
  assert.equal(spec?.hostNetwork, true);
  assert.equal(spec?.automountServiceAccountToken, false);
  assert.deepEqual(spec?.readinessGates, [{ conditionType: "k3slb.io/Programmed" }]);
  assert.deepEqual(spec?.securityContext, {
    runAsNonRoot: true,
    runAsUser: 65535,
    runAsGroup: 65535,
    seccompProfile: { type: "RuntimeDefault" },
  });
  assert.deepEqual(spec?.containers.map(({ securityContext }) => securityContext), [{
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"] },
    readOnlyRootFilesystem: true,
  }]);
});

Deno.test("desiredDaemonSet() puts a hundred ports into one placeholder", () => {
  const containers = built(service({ spec: { ports: MANY_PORTS } })).spec?.template.spec?.containers ?? [];
  assert.equal(containers.length, 1);
  const ports = containers[0]?.ports ?? [];
  assert.equal(ports.length, 100);
  assert.equal(new Set(ports.map(({ name }) => name)).size, 100);
  for (const { hostPort, containerPort, name = "" } of ports) {
    assert.equal(hostPort, containerPort);
    assert.ok(name.length <= 15, name);
  }
});

for (
  const { given, want } of [
    { given: undefined, want: "system-node-critical" },
    { given: "", want: "" },
    { given: " ", want: "" },
    { given: "low", want: "low" },
  ]
) {
  Deno.test(`desiredDaemonSet() takes ${given === undefined ? "no annotation" : `"${given}"`} for priority class "${want}", as K3s does`, () => {
    const annotations = given === undefined ? {} : { "svccontroller.k3s.cattle.io/priorityclassname": given };
    assert.equal(built(service({ annotations })).spec?.template.spec?.priorityClassName, want);
  });
}

Deno.test("desiredDaemonSet() keeps the placeholder when only the agent's affairs change", () => {
  const before = built(service());
  const after = built(service({
    spec: { externalTrafficPolicy: "Local", loadBalancerSourceRanges: ["10.0.0.0/8"], clusterIPs: ["10.43.0.77"] },
  }));
  assert.deepEqual(after, before);
});

Deno.test("desiredDaemonSet() serves Local without node ports in data plane agent, and says why not in pods", () => {
  const given = service({ spec: { externalTrafficPolicy: "Local", ports: [{ port: 80 }] } });
  built(given);
  const result = desiredDaemonSet(given, {
    ...SERVICE_OPTIONS,
    dataplane: "pods",
    selection: { allowList: false, honorExcludeLabel: false },
    without: [],
  });
  assert.equal("error" in result ? result.error.reason : "", "NoNodePort");
});

const RANGE_CASES: readonly {
  readonly name: string;
  readonly given: NonNullable<Service["spec"]>;
  readonly want: string;
}[] = [
  { name: "opens both families by default", given: { ipFamilies: ["IPv6", "IPv4"] }, want: "0.0.0.0/0,::/0" },
  { name: "opens only IPv6 to an IPv6 Service", given: { ipFamilies: ["IPv6"] }, want: "::/0" },
  {
    name: "does not open IPv6 for a given 0.0.0.0/0",
    given: { ipFamilies: ["IPv4", "IPv6"], loadBalancerSourceRanges: ["0.0.0.0/0"] },
    want: "0.0.0.0/0",
  },
  {
    name: "leaves out the other family and admits no one if nothing is left",
    given: { loadBalancerSourceRanges: ["fd00::/8"] },
    want: "",
  },
  {
    name: "opens IPv4 for a Service without families, as K3s does",
    given: { ipFamilies: [] },
    want: "0.0.0.0/0",
  },
  {
    name: "keeps the ranges of a Service without families, as K3s does",
    given: { ipFamilies: [], loadBalancerSourceRanges: ["fd00::/8", "10.0.0.0/8"] },
    want: "10.0.0.0/8,fd00::/8",
  },
  {
    name: "sorts and clears host bits",
    given: { loadBalancerSourceRanges: ["203.0.113.9/24", "10.0.0.0/8"] },
    want: "10.0.0.0/8,203.0.113.0/24",
  },
];

for (const { name, given, want } of RANGE_CASES) {
  Deno.test(`desiredDaemonSet() ${name}`, () => {
    const env = built(service({ spec: given }), "pods").spec?.template.spec?.containers[0]?.env;
    assert.equal(env?.find((each) => each.name === "SRC_RANGES")?.value, want);
  });
}

Deno.test("desiredDaemonSet() puts the registry in the place of the image's host", () => {
  const image = (registry: string): string | undefined =>
    built(service(), "agent", registry).spec?.template.spec?.containers[0]?.image;
  assert.equal(image(""), "rancher/mirrored-pause:3.6");
  assert.equal(image("registry.local:5000"), "registry.local:5000/rancher/mirrored-pause:3.6");
});

type Edit = (spec: Record<string, Record<string, unknown>>) => void;

const EDITS: readonly { readonly name: string; readonly edit: Edit; readonly want: boolean }[] = [
  { name: "nothing", edit: () => {}, want: false },
  {
    name: "a default of the server",
    edit: (pod) => Object.assign(pod, { dnsPolicy: "ClusterFirst", restartPolicy: "Always" }),
    want: false,
  },
  { name: "a foreign priority class", edit: (pod) => Object.assign(pod, { priorityClassName: "low" }), want: true },
  { name: "a field that was removed", edit: (pod) => delete pod["hostNetwork"], want: true },
  {
    name: "one more toleration",
    edit: (pod) => Object.assign(pod, { tolerations: [{ operator: "Exists" }] }),
    want: true,
  },
  {
    name: "one more label in the node selector",
    edit: (pod) => Object.assign(pod["nodeSelector"] ?? {}, { disk: "ssd" }),
    want: true,
  },
  { name: "one more container", edit: (pod) => Object.assign(pod, { containers: [1, 2] }), want: true },
];

for (const { name, edit, want } of EDITS) {
  Deno.test(`differsFromDesired() with ${name} is ${want}`, () => {
    const desired = built(service());
    const observed = structuredClone(desired);
    edit(observed.spec?.template.spec as unknown as Record<string, Record<string, unknown>>);
    assert.equal(differsFromDesired(desired, observed), want);
  });
}

Deno.test("differsFromDesired() notices what is no longer wanted", () => {
  const observed = built(service({ annotations: { "k3slb.io/resources": "{limits: {memory: 8Mi}}" } }));
  assert.equal(differsFromDesired(built(service()), observed), true);
});
