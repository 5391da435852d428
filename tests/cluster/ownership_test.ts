// What the server touches, what it leaves alone, and what remains when it is told to stop: classes, finalizers, orphans,
// long names, many ports, wrong values, idle time.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { isNotFound } from "../../core/kube/errors.ts";
import { DAEMON_SETS, ENDPOINT_SLICES, NAMESPACES, SERVICES } from "../../core/kube/resources.ts";
import type { DaemonSet } from "../../core/kube/types.ts";
import {
  DATAPLANE_LABEL,
  DEFAULT_LB_CLASS,
  ENABLED_ANNOTATION,
  SERVICE_FINALIZER,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
  TOLERATIONS_ANNOTATION,
} from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { SERVER_USER } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** Requests that go on while nothing happens: election, heartbeats, and what other parts of the cluster do for themselves. */
const IDLE_RESOURCES = ["leases", "nodes/status"];
const IDLE_MS = 5_000;

/** Waits until a Service that came later is served: the server has had its chance at the earlier one. */
async function serveWitness({ world, ns }: WorldTest): Promise<void> {
  await ns.createService({ name: "witness", ports: [world.port()] });
  await ns.waitForIngress("witness", world.nodeIps);
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("a Service of another loadBalancerClass is left untouched, its foreign status too", async (t) => {
    const { world, ns } = t;
    await ns.createService({ name: "other", ports: [world.port()], spec: { loadBalancerClass: "example.com/other" } });
    const status = { loadBalancer: { ingress: [{ ip: "198.51.100.7" }] } };
    await world.admin.patch(SERVICES, { namespace: ns.name, name: "other" }, { type: "merge", body: { status } }, {
      subresource: "status",
    });
    const before = await ns.service("other");
    await serveWitness(t);
    const after = await ns.service("other");
    equal(after.metadata?.resourceVersion, before.metadata?.resourceVersion);
    deepEqual(await ns.daemonSets("other"), []);
  });

  test("a Service of our own loadBalancerClass is served", async ({ world, ns }) => {
    await ns.createService({ name: "ours", ports: [world.port()], spec: { loadBalancerClass: DEFAULT_LB_CLASS } });
    await ns.waitForIngress("ours", world.nodeIps);
  });

  test("a Service that opts out by annotation is not served, and is served when it opts in", async (t) => {
    const { world, ns } = t;
    await ns.createService({ name: "out", ports: [world.port()], annotations: { [ENABLED_ANNOTATION]: "false" } });
    await serveWitness(t);
    deepEqual(await ns.ingress("out"), []);
    await ns.patchService("out", { metadata: { annotations: { [ENABLED_ANNOTATION]: null } } });
    await ns.waitForIngress("out", world.nodeIps);
  });

  test("a deleted Service leaves nothing: finalizer, DaemonSet, pods and rules are gone", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    // The finalizer stands before the DaemonSet does.
    await ns.daemonSet("web");
    ok((await ns.service("web")).metadata?.finalizers?.includes(SERVICE_FINALIZER));
    await ns.deleteService("web");
    await waitUntil(
      "DaemonSet and pods to be gone",
      async () => (await ns.daemonSets("web")).length === 0 && (await ns.lbPods("web")).length === 0,
    );
    for (const node of world.nodes) {
      await waitUntil(
        `rules of ${node.name} to be gone`,
        async () => !new RegExp(`dport ${port}\\b|:${port}\\b`).test(await node.ns.run("iptables-save")),
      );
    }
  });

  test("a DaemonSet whose Service is gone is collected at start", async ({ world, ns }) => {
    const labels = { [SERVICE_NAME_LABEL]: "gone", [SERVICE_NAMESPACE_LABEL]: ns.name };
    for (const server of world.servers) await server.stop();
    await world.admin.create(DAEMON_SETS, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: {
        name: "svclb-gone-00000000",
        namespace: "kube-system",
        labels: { ...labels, [DATAPLANE_LABEL]: "agent" },
      },
      spec: {
        selector: { matchLabels: { app: "svclb-gone-00000000" } },
        template: {
          metadata: { labels: { app: "svclb-gone-00000000", ...labels } },
          spec: { containers: [{ name: "lb-tcp-1", image: "pause" }] },
        },
      },
    } as DaemonSet);
    await world.startServer();
    await waitUntil("the orphan to be gone", async () => (await ns.daemonSets("gone")).length === 0);
  });

  test("a DaemonSet that somebody deletes or edits comes back as it was", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    const made = await ns.daemonSet("web");
    const key = { namespace: "kube-system", name: made.metadata?.name ?? "" };
    await world.admin.delete(DAEMON_SETS, key);
    await waitUntil("a new DaemonSet", async () => {
      const [again] = await ns.daemonSets("web");
      return again !== undefined && again.metadata?.uid !== made.metadata?.uid;
    });
    await ns.waitForIngress("web", world.nodeIps);
    await world.admin.patch(DAEMON_SETS, key, {
      type: "merge",
      body: { spec: { template: { spec: { hostNetwork: false } } } },
    });
    await waitUntil(
      "the edit to be undone",
      async () => (await ns.daemonSets("web"))[0]?.spec?.template.spec?.hostNetwork === true,
    );
    await ns.waitForIngress("web", world.nodeIps);
  });

  test("a Service with 100 ports is served on all of them", async ({ world, ns }) => {
    await ns.createApp({ name: "many", nodes: ["node1"] });
    const ports = Array.from({ length: 100 }, () => world.port());
    await ns.createService({ name: "many", ports });
    await ns.waitForIngress("many", world.nodeIps);
    for (const port of [ports[0], ports[49], ports[99]]) {
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node2").ip4, port: port ?? 0 });
    }
  });

  test("a Service with 1,000 endpoints has them all in the rules, and others are served as before", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "crowd", ports: [port], spec: { selector: {} } });
    for (let slice = 0; slice < 10; slice++) {
      await world.admin.create(ENDPOINT_SLICES, {
        metadata: {
          name: `crowd-${slice}`,
          namespace: ns.name,
          labels: { "kubernetes.io/service-name": "crowd" },
        },
        addressType: "IPv4",
        ports: [{ name: `tcp-${port}`, port: 8080, protocol: "TCP" }],
        endpoints: Array.from({ length: 100 }, (_, i) => ({ addresses: [`10.42.${100 + slice}.${i + 1}`] })),
      });
    }
    await ns.waitForIngress("crowd", world.nodeIps);
    await waitUntil("1,000 endpoints in the kernel", async () => {
      const rules = await world.node("node1").ns.run("iptables-save", ["-t", "nat"]);
      return rules.split("\n").filter((line) => /^-A K3SLB.*--to-destination 10\.42\.1\d\d\.\d+:8080/.test(line))
        .length === 1000;
    });
    const other = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [other] });
    await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port: other });
  });

  test("names of 63 characters that differ at the end have DaemonSets of their own, 63 characters at most", async ({ world, ns }) => {
    const names = ["a", "b"].map((end) => `n${"a-very-long-name".repeat(4)}`.slice(0, 62) + end);
    for (const name of names) {
      await ns.createService({ name, ports: [world.port()] });
      await ns.waitForIngress(name, world.nodeIps);
    }
    const sets = await Promise.all(names.map((name) => ns.daemonSet(name)));
    equal(new Set(sets.map(({ metadata }) => metadata?.name)).size, 2);
    for (const { metadata } of sets) ok((metadata?.name?.length ?? 64) <= 63);
  });

  test("an annotation that can't be read: not served, and the Service says which one", async ({ world, ns }) => {
    await ns.createService({
      name: "web",
      ports: [world.port()],
      annotations: { [TOLERATIONS_ANNOTATION]: "key: no list" },
    });
    const condition = await ns.waitForCondition("web", ({ status }) => status === "False");
    match(condition.message ?? "", new RegExp(TOLERATIONS_ANNOTATION));
    deepEqual(await ns.ingress("web"), []);
    await ns.patchService("web", { metadata: { annotations: { [TOLERATIONS_ANNOTATION]: null } } });
    await ns.waitForIngress("web", world.nodeIps);
  });

  test("a protocol that nobody forwards (SCTP) is served or said, never silently Pending", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [{ port: world.port(), protocol: "SCTP" }] });
    await ns.waitForCondition("web", ({ status, message }) => status === "True" || /SCTP/.test(message ?? ""));
  });

  test("a Service in a namespace that is deleted leaves nothing", async ({ world }) => {
    const ns = await world.namespace("doomed");
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    await world.admin.delete(NAMESPACES, { name: ns.name });
    await waitUntil("its DaemonSet to be gone", async () => (await ns.daemonSets("web")).length === 0);
    await waitUntil(
      "the namespace to be gone",
      () => world.admin.get(NAMESPACES, { name: ns.name }).then(() => false, (error: unknown) => isNotFound(error)),
      { deadlineMs: 60_000 },
    );
  });

  test("nothing is written while nothing changes, election and heartbeats apart", async (t) => {
    const { world } = t;
    await serveWitness(t);
    const ours = [SERVER_USER];
    let counted = world.api.countRequests();
    const writes = () =>
      counted().filter(({ user, verb, resource }) =>
        ours.includes(user) && !IDLE_RESOURCES.includes(resource) && !["get", "list", "watch"].includes(verb)
      );
    // Events and the status of the test before may still be on their way.
    await waitUntil("a quiet second", async () => {
      counted = world.api.countRequests();
      await staysTrue("no writes", () => writes().length === 0, 1_000);
      return true;
    });
    await staysTrue("no writes by the server", () => writes().length === 0, IDLE_MS);
  });
}
