// Whatever a Service, Node, pod or slice says, in whatever length: the DaemonSet stays one that the API takes and that grants nothing, the
// condition one short line that steers no terminal, the status a list of addresses that a node may have.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { EndpointSlice, Node, Pod, Service } from "../../../../core/kube/types.ts";
import { desiredService } from "../../../../core/service_lb/desired_service.ts";
import { trimNode, trimPod, trimService } from "../../../../core/service_lb/trim_objects.ts";
import { ipRangeContains, parseIpRange } from "../../../../core/shared/ip_ranges.ts";
import { visibleLine } from "../../../../core/shared/visible_text.ts";
import { node, pod, service, SERVICE_OPTIONS, slice } from "./fixtures.ts";
import { anyText } from "../../../support/any_text.ts";

/** Texts with all that means something to parsers of YAML, of addresses, to shells, terminals and label selectors. */
const text = fc.oneof(
  anyText(100),
  fc.constantFrom(
    "",
    "$(reboot)",
    "a\nb: c",
    "\u001b]0;x\u0007\u009b31m\u202e",
    "127.0.0.1",
    "::ffff:127.0.0.1",
    "0.0.0.0/0",
    "10.43.0.1",
    "8.8.8.8,224.0.0.1,fe80::1",
    "[{operator: Exists}]",
    "{requests: {cpu: 1}}",
    "x".repeat(100_000),
    ",".repeat(100_000),
    "[".repeat(4_000),
    "10.0.0.0/8,".repeat(10_000),
  ),
);
/** What the API server takes as the value of a label. */
const label = fc.stringMatching(/^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/);
const texts = fc.array(text, { maxLength: 3 });
const ANNOTATIONS = [
  "k3slb.io/enabled",
  "k3slb.io/match-addresses",
  "k3slb.io/match-interfaces",
  "k3slb.io/resources",
  "k3slb.io/ip-mode",
  "k3slb.io/last-good",
  "svccontroller.k3s.cattle.io/tolerations",
  "svccontroller.k3s.cattle.io/priorityclassname",
  "service.beta.kubernetes.io/load-balancer-source-ranges",
];
const services = fc.record({
  annotations: fc.dictionary(fc.constantFrom(...ANNOTATIONS), text, { maxKeys: 5 }),
  labels: fc.dictionary(fc.constantFrom("svccontroller.k3s.cattle.io/lbpool", "k8s-app"), label),
  loadBalancerIP: text,
  loadBalancerSourceRanges: texts,
  externalIPs: texts,
  externalTrafficPolicy: fc.constantFrom("Local", "Cluster", "other"),
  ports: fc.array(fc.record({ name: text, port: fc.integer({ min: 1, max: 65_535 }), targetPort: text }), {
    minLength: 1,
    maxLength: 3,
  }),
}).map(({ annotations, labels, ...spec }) => service({ annotations, labels, spec: spec as never }));

const nodes = fc.record({
  internal: texts,
  external: texts,
  podCidrs: texts,
  published: text,
  pool: label,
  enabled: fc.option(label, { nil: undefined }),
  taint: fc.record({ key: label, value: label, effect: fc.constantFrom("NoSchedule", "NoExecute", "other") }),
  words: text,
}).map(({ internal, external, podCidrs, published, pool, enabled, taint, words }): Node => {
  const labels = {
    "svccontroller.k3s.cattle.io/lbpool": pool,
    ...(enabled === undefined ? {} : { "svccontroller.k3s.cattle.io/enablelb": enabled }),
  };
  const annotations = { "k3slb.io/published-addresses": published };
  const made = node("node1", { internal, external, podCidrs, labels, annotations, taints: [taint] });
  const conditions = [{ type: "k3slb.io/Forwarding", status: "False", reason: words, message: words }];
  return { ...made, status: { ...made.status, conditions: [...made.status?.conditions ?? [], ...conditions] } };
});

const pods = fc.record({ served: text, words: text, isProgrammed: fc.boolean(), isUnschedulable: fc.boolean() });

const slices = fc.array(fc.record({ addresses: fc.array(text, { minLength: 1, maxLength: 2 }), nodeName: text }), {
  maxLength: 3,
});

interface Hostile {
  readonly service: Service;
  readonly node: Node;
  readonly pod: Pod;
  readonly slice: EndpointSlice;
}

const world = fc.record({ service: services, node: nodes, pod: pods, endpoints: slices }).map((given): Hostile => ({
  service: trimService(given.service),
  node: trimNode(given.node),
  pod: trimPod(pod(given.service, "node1", {
    served: given.pod.served,
    ...(given.pod.isProgrammed ? {} : { gate: { reason: given.pod.words, message: given.pod.words } }),
    ...(given.pod.isUnschedulable ? { scheduled: false, unschedulable: given.pod.words } : {}),
  })),
  slice: slice(given.service, given.endpoints as EndpointSlice["endpoints"]),
}));

/** Published by nobody, whatever is asked for. */
const OPTIONS = {
  ...SERVICE_OPTIONS,
  serviceRanges: ["10.43.0.0/16"].flatMap((range) => parseIpRange(range) ?? []),
};
const NEVER = [
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/3",
  "0.0.0.0/8",
  "::/127",
  "fe80::/10",
  "ff00::/8",
  "10.43.0.0/16",
]
  .flatMap((range) => parseIpRange(range) ?? []);

for (const dataplane of ["agent", "pods"] as const) {
  Deno.test(`desiredService() of hostile objects (--dataplane ${dataplane}) is bounded, visible and grants nothing`, () => {
    fc.assert(fc.property(world, (given) => {
      const { daemonSet, ingress, summary } = desiredService(given.service, {
        ...OPTIONS,
        dataplane,
        facts: {
          nodes: new Map([["node1", given.node], ["node2", node("node2", { internal: ["192.0.2.2"] })]]),
          allowList: false,
          pods: [given.pod, pod(given.service, "node2", { dataplane })],
          slices: [given.slice],
          conflicts: new Map(),
          silentNodes: new Set(),
        },
      });
      assert.ok(summary.message.length <= 900, summary.message);
      assert.equal(visibleLine(summary.message), summary.message);
      assert.match(summary.reason, /^[A-Za-z]{1,64}$/);
      assert.ok(ingress.length <= 128, String(ingress.length));
      for (const { ip = "" } of ingress) {
        const range = parseIpRange(ip);
        assert.ok(range !== undefined && !ip.includes("/"), ip);
        assert.ok(!NEVER.some((one) => ipRangeContains(one, range)), ip);
      }
      if (daemonSet.action !== "apply") return;
      checkDaemonSet(daemonSet.daemonSet);
    }));
  });
}

type DaemonSet = Extract<ReturnType<typeof desiredService>["daemonSet"], { readonly action: "apply" }>["daemonSet"];

function checkDaemonSet({ metadata, spec }: DaemonSet): void {
  const template = spec?.template;
  assert.ok(JSON.stringify({ metadata, spec }).length < 100_000);
  assert.match(metadata?.name ?? "", /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  for (const labels of [metadata?.labels, template?.metadata?.labels, spec?.selector.matchLabels]) {
    for (const value of Object.values(labels ?? {})) assert.match(value, /^([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?$/);
  }
  const { containers = [], volumes = [], hostPID = false, serviceAccountName } = template?.spec ??
    {};
  assert.deepEqual([volumes, hostPID, serviceAccountName], [[], false, "svclb"]);
  for (const { image, args = [], command = [], env = [], securityContext, resources } of containers) {
    assert.ok([OPTIONS.lbImage, OPTIONS.pauseImage].includes(image ?? ""), image);
    assert.deepEqual([args, command, securityContext?.privileged ?? false], [[], [], false]);
    for (const { name, value = "" } of env) {
      assert.match(name, /^[A-Z_]+$/);
      // klipper-lb's script splits these into words and hands them to iptables.
      assert.match(value, /^[\w.:/, -]*$/, `${name}=${value}`);
    }
    for (const amounts of [resources?.requests, resources?.limits]) {
      for (const name of Object.keys(amounts ?? {})) assert.match(name, /^(cpu|memory|ephemeral-storage)$/);
    }
  }
}
