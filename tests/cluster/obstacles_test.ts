// What keeps a Service's pods from being made, placed or left alone, and that the Service says so.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { ResourceType } from "../../core/kube/contract.ts";
import { DAEMON_SETS, PODS } from "../../core/kube/resources.ts";
import type { KubeObject, Pod } from "../../core/kube/types.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { APP_IMAGE, SERVE_ANNOTATION } from "../support/world_app.ts";
import { worldSuite } from "../support/world_suite.ts";

const REAL_ONLY = { only: { kind: "real", reason: "admission policies need the real API server" } } as const;
const NEXT: Pick<ResourceType<KubeObject>, "group" | "version" | "namespaced"> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  namespaced: false,
};
const POLICIES: ResourceType<KubeObject> = {
  ...NEXT,
  kind: "ValidatingAdmissionPolicy",
  plural: "validatingadmissionpolicies",
};
const BINDINGS: ResourceType<KubeObject> = {
  ...NEXT,
  kind: "ValidatingAdmissionPolicyBinding",
  plural: "validatingadmissionpolicybindings",
};
const DENY_PORT = (port: number): object => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicy",
  metadata: { name: "deny-port" },
  spec: {
    matchConstraints: {
      resourceRules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }],
    },
    validations: [{
      expression:
        `object.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort != ${port}))`,
      message: "host ports are not allowed here",
    }],
  },
});

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test(
    "a Service whose pods an admission policy refuses is served, and says what keeps its ports from nobody in the policy's words",
    async ({ world, ns }) => {
      const port = world.port();
      await world.admin.create(POLICIES, DENY_PORT(port) as KubeObject);
      await world.admin.create(BINDINGS, {
        apiVersion: "admissionregistration.k8s.io/v1",
        kind: "ValidatingAdmissionPolicyBinding",
        metadata: { name: "deny-port" },
        spec: { policyName: "deny-port", validationActions: ["Deny"] },
      } as KubeObject);
      const probe = (): Promise<Pod> =>
        world.admin.create(PODS, {
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name: "probe", namespace: ns.name },
          spec: { containers: [{ name: "c", image: "i", ports: [{ containerPort: port, hostPort: port }] }] },
        } as Pod, { dryRun: true });
      await waitUntil("the policy to be in force", () => probe().then(() => false, () => true));
      await ns.createService({ name: "denied", ports: [port] });
      await ns.waitForIngress("denied", world.nodeIps);
      // Said of pods that are missing for a minute: until then they may be about to come.
      const wordsRegexp =
        /node1, node2: .*its ports are not kept from other pods: its pod can't be created: .*deny-port.*host ports are not allowed here/;
      const condition = await ns.waitForCondition(
        "denied",
        ({ message = "" }) => wordsRegexp.test(message),
        120_000,
      );
      equal(condition.status, "True");
      await waitUntil(
        "the Warning",
        async () =>
          (await ns.events("denied")).some(({ type, reason, message = "" }) =>
            type === "Warning" && reason === "FailedCreate" && wordsRegexp.test(message)
          ),
      );
      await world.admin.delete(BINDINGS, { name: "deny-port" });
      await world.admin.delete(POLICIES, { name: "deny-port" });
      await ns.waitForCondition("denied", ({ message = "" }) => !wordsRegexp.test(message), 120_000);
      deepEqual([...await ns.ingress("denied")].sort(), [...world.nodeIps].sort());
    },
    REAL_ONLY,
  );

  test("a node whose port another pod has is told of with the pod's name", async ({ world, ns }) => {
    const port = world.port();
    await world.admin.create(PODS, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "old-proxy", namespace: ns.name },
      spec: {
        nodeName: "node1",
        // Less, and the scheduler evicts it for the sake of the Service's pod.
        priorityClassName: "system-node-critical",
        containers: [{ name: "c", image: "i", ports: [{ containerPort: 8080, hostPort: port, protocol: "TCP" }] }],
      },
    } as Pod);
    await ns.createService({ name: "blocked", ports: [port] });
    await ns.waitForIngress("blocked", [world.node("node2").ip4]);
    const condition = await ns.waitForCondition("blocked", ({ message = "" }) => message.includes("old-proxy"));
    equal(condition.reason, "PartlyServed");
    // The scheduler and the agent find out at the same time.
    const bySchedulerRegexp = `its pod is not scheduled: pod ${ns.name}/old-proxy has port ${port}/TCP of the node`;
    const byAgentRegexp = `rules are not programmed: PortInUse: TCP port ${port} is in use by pod ${ns.name}/old-proxy`;
    match(condition.message ?? "", new RegExp(`node1: (${bySchedulerRegexp}|${byAgentRegexp})`));
  });

  test("a node on whose port the Service's own pod listens serves", async ({ world, ns }) => {
    const port = world.port();
    await world.admin.create(PODS, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "edge-node1",
        namespace: ns.name,
        labels: { app: "edge" },
        annotations: { [SERVE_ANNOTATION]: `tcp/${port}` },
      },
      spec: {
        nodeName: "node1",
        hostNetwork: true,
        priorityClassName: "system-node-critical",
        containers: [{
          name: "c",
          image: APP_IMAGE,
          args: [`tcp/${port}`],
          env: [{ name: "NAME", value: "edge-node1" }],
          ports: [{ containerPort: port, hostPort: port, protocol: "TCP" }],
        }],
      },
    } as Pod);
    await ns.waitForPod("edge-node1");
    await ns.createService({ name: "edge", ports: [{ port, targetPort: port }] });
    await ns.waitForIngress("edge", world.nodeIps, 40_000);
    const words = `node1: the Service's pod ${ns.name}/edge-node1 listens on the node itself`;
    const condition = await ns.waitForCondition("edge", ({ message = "" }) => message.includes(words), 60_000);
    equal(condition.reason, "Served");
    for (const name of ["node1", "node2"]) {
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node(name).ip4, port });
    }
  });

  test("a Service without endpoints is served, and says that it has none until it has", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "empty", ports: [port] });
    await ns.waitForIngress("empty", world.nodeIps);
    const told = await ns.waitForCondition("empty", ({ message = "" }) => message.includes("no endpoints"));
    equal(told.status, "True");
    equal(
      told.message,
      `Served by 2 nodes: node1, node2. node1, node2: no endpoints: connections to TCP port ${port} are refused`,
    );
    await waitUntil(
      "the Event",
      async () => (await ns.events("empty")).some(({ message = "" }) => message.includes("no endpoints")),
    );
    await ns.createApp({ name: "empty", nodes: ["node1"] });
    await ns.waitForCondition("empty", ({ message }) => message === "Served by 2 nodes: node1, node2");
    const log = world.servers[0]?.logTail(50) ?? "";
    match(
      log,
      new RegExp(`Service is served .*service=${ns.name}/empty addresses=\\S+ reason=(Partly)?Served message=`),
    );
  });

  test("two programs that write one DaemonSet: ours waits longer each time, and says who the other is", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "fought", ports: [port] });
    await ns.waitForIngress("fought", world.nodeIps);
    const key = { namespace: "kube-system", name: (await ns.daemonSet("fought")).metadata?.name ?? "" };
    let edits = 0;
    const isForeign = async (): Promise<boolean> => {
      const { metadata } = await world.admin.get(DAEMON_SETS, key);
      return metadata?.labels?.["k3slb.io/dataplane"] === "theirs";
    };
    const startMs = performance.now();
    for (; edits < 5; edits++) {
      await world.admin.patch(DAEMON_SETS, key, {
        type: "merge",
        body: { metadata: { labels: { "k3slb.io/dataplane": "theirs" } } },
      }, { fieldManager: "k3s" });
      await waitUntil("the DaemonSet to be ours again", async () => !await isForeign(), { deadlineMs: 30_000 });
    }
    ok(performance.now() - startMs > 5_000, "growing pauses");
    const condition = await ns.waitForCondition("fought", ({ message = "" }) => message.includes("also written by"));
    match(condition.message ?? "", /DaemonSet kube-system\/svclb-fought-\w+ is also written by "k3s"/);
    match(condition.message ?? "", /--disable=servicelb/);
    await waitUntil(
      "the Warning",
      async () =>
        (await ns.events("fought")).some(({ type, reason }) => type === "Warning" && reason === "DaemonSetContested"),
    );
  });
}
