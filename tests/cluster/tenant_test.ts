// What somebody who may make Services, EndpointSlices and pods in his own namespace tries to take from the nodes, and does not get.
import assert from "node:assert/strict";
import { CONFIG_MAPS, ENDPOINT_SLICES, PODS } from "../../core/kube/resources.ts";
import type { EndpointSlice, Pod } from "../../core/kube/types.ts";
import { FACTS_CONFIG_MAP, FACTS_KEY, parseFacts } from "../../core/service/cluster_facts.ts";
import { POOL_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { serviceId } from "../../core/service/service_id.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { APP_IMAGE } from "../support/world_app.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** Who answers a machine at an address, or how it ends. */
async function answers(from: World["client"], ip: string, port: number): Promise<string> {
  const answer = await from.ns.request({ protocol: "tcp", ip, port, timeoutMs: 500 });
  return answer.outcome === "answer" ? answer.server : answer.outcome;
}

/** Makes a Service beside the attack and waits until it is served: by then the agents have seen the attack. */
async function serveWitness({ world, ns }: WorldTest): Promise<void> {
  const port = world.port();
  await ns.createService({ name: "witness", app: "evil", ports: [port] });
  await ns.waitForIngress("witness", world.nodeIps);
  for (const node of world.nodes) await world.waitForAnswer(world.client, { protocol: "tcp", ip: node.ip4, port });
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("a pod that only bears a load balancer's labels makes no node forward", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "evil", nodes: ["node1"] });
    await ns.createService({
      name: "spoof",
      app: "evil",
      ports: [port],
      spec: { loadBalancerClass: "example.com/other" },
    });
    const pod: Pod = {
      metadata: {
        name: "spoof",
        namespace: ns.name,
        labels: { [SERVICE_NAME_LABEL]: "spoof", [SERVICE_NAMESPACE_LABEL]: ns.name },
      },
      spec: {
        nodeName: "node1",
        automountServiceAccountToken: false,
        tolerations: [{ operator: "Exists" }],
        containers: [{ name: "x", image: APP_IMAGE, ports: [{ containerPort: port, hostPort: port }] }],
      },
    };
    await world.admin.create(PODS, pod);
    await ns.waitForPod("spoof");
    await serveWitness({ world, ns });
    assert.equal(await answers(world.client, world.node("node1").ip4, port), "refused");
    // kube-proxy has rules for it, as for every Service.
    const rules = (await world.node("node1").ns.run("iptables-save", ["-t", "nat"])).split("\n");
    assert.deepEqual(rules.filter((rule) => rule.includes("K3SLB") && rule.includes(`${ns.name}/spoof`)), []);
  });

  test("loopback ports of the nodes are nobody's Service, and the Service says why", async ({ world, ns }) => {
    const port = world.port();
    const node = world.node("node1");
    await node.ns.setSysctl("net.ipv4.conf.all.route_localnet", 1);
    const listen = { protocol: "tcp", port, name: "resolver", ip: "127.0.0.53" } as const;
    await node.ns.listen(listen);
    try {
      await ns.createApp({ name: "evil", nodes: ["node1"] });
      await ns.createService({
        name: "dns",
        app: "evil",
        ports: [port],
        annotations: { "k3slb.io/match-addresses": "127.0.0.53" },
      });
      const condition = await ns.waitForCondition("dns", ({ message }) => /loopback/.test(message ?? ""));
      assert.equal(condition.status, "False");
      await ns.createService({
        name: "lo",
        app: "evil",
        ports: [world.port()],
        annotations: { "k3slb.io/match-interfaces": "lo" },
      });
      await ns.waitForCondition("lo", ({ message }) => /loopback/.test(message ?? ""));
      await serveWitness({ world, ns });
      assert.equal(await answers(node, "127.0.0.53", port), "resolver");
    } finally {
      await node.ns.unlisten(listen);
      await node.ns.setSysctl("net.ipv4.conf.all.route_localnet", 0);
    }
  });

  test("an older Service that had the port where nobody is takes it nowhere else", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "evil", nodes: ["node1"] });
    // Made in the same second as the other, it is older by its name.
    await ns.createService({ name: "a-bomb", app: "evil", ports: [port], labels: { [POOL_LABEL]: "nowhere" } });
    await ns.waitForCondition("a-bomb", ({ reason }) => reason === "NoNodeSelected");
    await ns.daemonSet("a-bomb");
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
    const id = serviceId(await ns.service("web"));
    const facts = { namespace: "kube-system", name: FACTS_CONFIG_MAP };
    await waitUntil("the agents to be told that it has the port", async () => {
      const { contested } = parseFacts((await world.admin.get(CONFIG_MAPS, facts)).data?.[FACTS_KEY] ?? "") ?? {};
      return contested?.get(`${port}/TCP`)?.some(({ service, without }) => service === id && without.size === 0);
    });
    await ns.patchService("a-bomb", { metadata: { labels: { [POOL_LABEL]: null } } });
    await ns.waitForCondition("a-bomb", ({ reason }) => reason === "PortTaken");
    await serveWitness({ world, ns });
    for (const ip of world.nodeIps) assert.match(await answers(world.client, ip, port), /^web/);
    assert.deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
  });

  test("a port of a process of the node: no endpoint that anybody writes excuses it, and it is given back", async ({ world, ns }) => {
    const port = world.port();
    const node = world.node("node1");
    const listen = { protocol: "tcp", port, name: "sshd" } as const;
    await node.ns.listen(listen);
    try {
      await ns.createApp({ name: "evil", nodes: ["node2"] });
      await ns.createService({ name: "ssh", app: "evil", ports: [port] });
      const slice = (name: string, ready: boolean, targetRef?: Record<string, string>): EndpointSlice => ({
        metadata: { name, namespace: ns.name, labels: { "kubernetes.io/service-name": "ssh" } },
        addressType: "IPv4",
        ports: [{ name: `tcp-${port}`, port, protocol: "TCP" }],
        endpoints: [{
          addresses: [node.ip4],
          nodeName: "node1",
          conditions: { ready, serving: ready, terminating: false },
          ...(targetRef ? { targetRef } : {}),
        }],
      });
      await world.admin.create(ENDPOINT_SLICES, slice("closed", false));
      await world.admin.create(ENDPOINT_SLICES, slice("foreign", true, { kind: "Pod", name: "evil-node2" }));
      await serveWitness({ world, ns });
      await ns.waitForCondition("ssh", ({ message }) => /node1.*in use by/.test(message ?? ""));
      assert.equal(await answers(world.client, node.ip4, port), "sshd");
      // It restarts: the Service that waits has the port meanwhile, and no longer.
      for (const name of ["closed", "foreign"]) await world.admin.delete(ENDPOINT_SLICES, { namespace: ns.name, name });
      await node.ns.unlisten(listen);
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: node.ip4, port });
      await node.ns.listen(listen);
      await waitUntil("the port to be given back", async () => {
        return await answers(world.client, node.ip4, port) === "sshd";
      }, { deadlineMs: 60_000, explain: () => world.logs() });
    } finally {
      await node.ns.unlisten(listen);
    }
  });

  test("ports that the node needs for itself are reserved without a word from the operator", async ({ world, ns }) => {
    // A real kubelet takes the connection and closes it, a simulated one listens nowhere.
    const without = await Promise.all(world.nodes.map(({ ip4 }) => answers(world.client, ip4, 10_250)));
    await ns.createApp({ name: "evil", nodes: ["node1"] });
    await ns.createService({ name: "kubelet", app: "evil", ports: [10_250] });
    await ns.waitForCondition("kubelet", ({ message }) => /10250 is reserved/.test(message ?? ""));
    await serveWitness({ world, ns });
    const beside = await Promise.all(world.nodes.map(({ ip4 }) => answers(world.client, ip4, 10_250)));
    assert.deepEqual(beside, without);
  });

  test("a Service of 100 ports and 1,000 endpoints is refused alone, and says why", async ({ world, ns }) => {
    const ports = Array.from({ length: 100 }, () => world.port());
    await ns.createApp({ name: "evil", nodes: ["node1"] });
    await ns.createService({ name: "big", app: "nobody", ports });
    const slice: EndpointSlice = {
      metadata: { name: "big-1", namespace: ns.name, labels: { "kubernetes.io/service-name": "big" } },
      addressType: "IPv4",
      ports: ports.map((port) => ({ name: `tcp-${port}`, port: 8080, protocol: "TCP" })),
      endpoints: Array.from({ length: 1000 }, (_, i) => ({
        addresses: [`10.99.${i >> 8}.${i & 255}`],
        conditions: { ready: true },
      })),
    };
    await world.admin.create(ENDPOINT_SLICES, slice);
    await ns.waitForCondition("big", ({ message }) => /asks for 100000 rules/.test(message ?? ""));
    await serveWitness({ world, ns });
  });
}
