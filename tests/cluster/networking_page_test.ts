// What the K3s documentation promises in "Networking", "Service Load Balancer": one test a sentence, on four nodes,
// with real packets. Where page and code of K3s differ, the code's names hold (pods are called "svclb-", the page says "svc-").
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { NODES as NODE_OBJECTS } from "../../core/kube/resources.ts";
import { NODE_REPORT_ANNOTATION, POOL_LABEL, POOL_LABEL_PREFIX } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";

const ENABLE_LABEL = "svccontroller.k3s.cattle.io/enablelb";
const NODES = ["node1", "node2", "node3", "node4"];

function ips(world: World, ...names: readonly string[]): readonly string[] {
  return names.map((name) => world.node(name).ip4);
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 4 });

  test("The ServiceLB controller watches Services with the `spec.type` field set to `LoadBalancer`", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "typed", ports: [port], spec: { type: "ClusterIP" } });
    await ns.createService({ name: "witness", ports: [world.port()] });
    await ns.waitForIngress("witness", world.nodeIps);
    deepEqual(await ns.daemonSets("typed"), []);
    await ns.patchService("typed", { spec: { type: "LoadBalancer" } });
    await ns.waitForIngress("typed", world.nodeIps);
    await ns.patchService("typed", { spec: { type: "ClusterIP" } });
    await ns.waitForIngress("typed", []);
    await waitUntil("its DaemonSet to go", async () => (await ns.daemonSets("typed")).length === 0);
  });

  test("Create a Service of type LoadBalancer: it works without a cloud provider or any additional configuration", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "plain", nodes: ["node2"] });
    const service = await ns.createService({ name: "plain", ports: [port] });
    deepEqual([service.metadata?.labels, service.metadata?.annotations], [undefined, undefined]);
    for (const name of NODES) {
      const { metadata, spec } = await world.admin.get(NODE_OBJECTS, { name });
      equal(spec?.providerID, undefined, "no cloud provider has been here");
      const configured = Object.keys({ ...metadata?.labels, ...metadata?.annotations });
      const own = [NODE_REPORT_ANNOTATION];
      deepEqual(configured.filter((key) => /svccontroller|k3slb/.test(key) && !own.includes(key)), []);
    }
    await ns.waitForIngress("plain", world.nodeIps);
    await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
  });

  test("For each LoadBalancer Service, a DaemonSet is created in the `kube-system` namespace", async ({ world, ns }) => {
    const service = await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    const { metadata } = await ns.daemonSet("web");
    equal((await ns.daemonSets("web")).length, 1);
    equal(metadata?.namespace, "kube-system");
    equal(metadata?.name, `svclb-web-${service.metadata?.uid?.slice(0, 8)}`);
  });

  test("This DaemonSet in turn creates Pods with a `svc` prefix, on each node", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForLbPods("web", NODES);
    for (const pod of await ns.lbPods("web")) match(pod.metadata?.name ?? "", /^svclb-web-/);
  });

  test("ServiceLB uses available host ports", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "web", ports: [port, { port, protocol: "UDP" }] });
    await ns.waitForLbPods("web", NODES);
    for (const pod of await ns.lbPods("web")) {
      const held = (pod.spec?.containers ?? []).flatMap(({ ports }) => ports ?? []);
      deepEqual(held.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`).sort(), [`${port}/TCP`, `${port}/UDP`]);
    }
  });

  test("These Pods use iptables to forward traffic to the Service's ClusterIP address and port", async ({ world, ns }) => {
    const port = world.port();
    const pods = await ns.createApp({ name: "web", nodes: ["node1", "node3"] });
    await ns.createService({ name: "web", ports: [port, { port, protocol: "UDP" }] });
    await ns.waitForIngress("web", world.nodeIps);
    for (const ip of world.nodeIps) {
      for (const protocol of ["tcp", "udp"] as const) {
        const answer = await world.waitForAnswer(world.client, { protocol, ip, port });
        ok(answer.outcome === "answer" && pods.includes(answer.server), JSON.stringify(answer));
      }
    }
  });

  test("The node's external IP is populated into the Service's `status.loadBalancer.ingress`; otherwise, the node's internal IP is used", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    try {
      await world.node("node1").setExternalIps("198.51.100.1");
      await ns.waitForIngress("web", ["198.51.100.1"]);
      await world.node("node2").setExternalIps("198.51.100.2");
      await ns.waitForIngress("web", ["198.51.100.1", "198.51.100.2"]);
    } finally {
      await world.node("node1").setExternalIps();
      await world.node("node2").setExternalIps();
    }
    await ns.waitForIngress("web", world.nodeIps);
  });

  test("The status follows when a node's internal address changes", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    const node = world.node("node4");
    try {
      await node.setAddresses([{ type: "InternalIP", address: "172.30.0.99" }]);
      await ns.waitForIngress("web", [...ips(world, "node1", "node2", "node3"), "172.30.0.99"]);
    } finally {
      await node.setExternalIps();
    }
    await ns.waitForIngress("web", world.nodeIps);
  });

  test("If multiple LoadBalancer Services are created, a separate DaemonSet is created for each Service", async ({ world, ns }) => {
    for (const name of ["one", "two", "three"]) await ns.createService({ name, ports: [world.port()] });
    const names: string[] = [];
    for (const name of ["one", "two", "three"]) {
      await ns.waitForIngress(name, world.nodeIps);
      names.push((await ns.daemonSet(name)).metadata?.name ?? "");
    }
    equal(new Set(names).size, 3);
  });

  test("It is possible to expose multiple Services on the same node, as long as they use different ports", async ({ world, ns }) => {
    const ports = { red: world.port(), blue: world.port() };
    await ns.createApp({ name: "red", nodes: ["node1"] });
    await ns.createApp({ name: "blue", nodes: ["node2"] });
    for (const [name, port] of Object.entries(ports)) {
      await ns.createService({ name, ports: [port] });
      await ns.waitForIngress(name, world.nodeIps);
    }
    for (const [name, port] of Object.entries(ports)) {
      const answer = await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node3").ip4, port });
      ok(answer.outcome === "answer" && answer.server.startsWith(name), JSON.stringify(answer));
    }
  });

  test("The ServiceLB will try to find a free host in the cluster for port 80", async ({ world, ns }) => {
    try {
      for (const name of ["node1", "node2"]) await world.node(name).label({ [POOL_LABEL]: "some" });
      await ns.createService({ name: "first", ports: [80], labels: { [POOL_LABEL]: "some" } });
      await ns.waitForIngress("first", ips(world, "node1", "node2"));
      await ns.createService({ name: "second", ports: [80] });
      await ns.waitForIngress("second", ips(world, "node3", "node4"));
    } finally {
      for (const name of ["node1", "node2"]) await world.node(name).unlabel(POOL_LABEL);
      for (const name of ["second", "first"]) await ns.deleteService(name);
    }
  });

  test("If no host with that port is available, the LB will remain Pending; it says why, and is served when the port becomes free", async ({ world, ns }) => {
    await ns.createService({ name: "first", ports: [80] });
    await ns.waitForIngress("first", world.nodeIps);
    await ns.createService({ name: "second", ports: [80] });
    const condition = await ns.waitForCondition(
      "second",
      ({ status, reason }) => status === "False" && reason === "PortTaken",
    );
    match(condition.message ?? "", new RegExp(`${ns.name}/first`));
    deepEqual(await ns.ingress("second"), []);
    const event = await waitUntil(
      "a Warning on the Service that names the owner",
      async () =>
        (await ns.events("second")).find(({ type, message }) =>
          type === "Warning" && message?.includes(`${ns.name}/first`)
        ),
    );
    ok(event.reason !== undefined);
    await ns.deleteService("first");
    await ns.waitForIngress("second", world.nodeIps);
    await ns.deleteService("second");
  });

  test("Add the `enablelb` label to the nodes that should host ServiceLB Pods; nodes that remain unlabeled will be excluded", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node3"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    try {
      await world.node("node1").label({ [ENABLE_LABEL]: "true" });
      await ns.waitForIngress("web", ips(world, "node1"));
      await ns.waitForLbPods("web", ["node1"]);
      await world.node("node2").label({ [ENABLE_LABEL]: "true" });
      await ns.waitForIngress("web", ips(world, "node1", "node2"));
      const stopped = { protocol: "tcp", ip: world.node("node4").ip4, port } as const;
      await world.waitForAnswer(world.client, stopped, ({ outcome }) => outcome === "refused");
      await world.node("node1").unlabel(ENABLE_LABEL);
      await ns.waitForIngress("web", ips(world, "node2"));
    } finally {
      for (const name of NODES) await world.node(name).unlabel(ENABLE_LABEL);
    }
    // No node has the label any more: all nodes serve again.
    await ns.waitForIngress("web", world.nodeIps);
  });

  const forms = [
    { name: "svccontroller.k3s.cattle.io/lbpool=POOL", label: (pool: string) => ({ [POOL_LABEL]: pool }) },
    {
      name: "lbpool.svccontroller.k3s.cattle.io/POOL=true",
      label: (pool: string) => ({ [POOL_LABEL_PREFIX + pool]: "true" }),
    },
  ];
  for (const { name: form, label } of forms) {
    test(`The DaemonSet for this service only deploys Pods to Node A and Node B, the other's only to Node C and Node D (${form})`, async ({ world, ns }) => {
      const pools = { pool1: ["node1", "node2"], pool2: ["node3", "node4"] };
      const set: string[] = [];
      try {
        for (const [pool, nodes] of Object.entries(pools)) {
          for (const node of nodes) {
            const labels = { [ENABLE_LABEL]: "true", ...label(pool) };
            set.push(...Object.keys(labels));
            await world.node(node).label(labels);
          }
          await ns.createService({ name: pool, ports: [443], labels: { [POOL_LABEL]: pool } });
        }
        for (const [pool, nodes] of Object.entries(pools)) {
          await ns.waitForIngress(pool, ips(world, ...nodes));
          await ns.waitForLbPods(pool, nodes);
        }
      } finally {
        for (const pool of Object.keys(pools)) await ns.deleteService(pool);
        for (const node of NODES) await world.node(node).unlabel(...new Set(set));
      }
    });
  }

  test("A Service that changes its pool moves to the other pool's nodes", async ({ world, ns }) => {
    try {
      await world.node("node1").label({ [POOL_LABEL]: "a" });
      await world.node("node2").label({ [POOL_LABEL]: "b" });
      await ns.createService({ name: "web", ports: [world.port()], labels: { [POOL_LABEL]: "a" } });
      await ns.waitForIngress("web", ips(world, "node1"));
      await ns.patchService("web", { metadata: { labels: { [POOL_LABEL]: "b" } } });
      await ns.waitForIngress("web", ips(world, "node2"));
      await ns.patchService("web", { metadata: { labels: { [POOL_LABEL]: null } } });
      await ns.waitForIngress("web", world.nodeIps);
    } finally {
      for (const node of ["node1", "node2"]) await world.node(node).unlabel(POOL_LABEL);
    }
  });
}
