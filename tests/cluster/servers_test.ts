// Servers that come, go, take over and are switched: what they install, what they remove, and that traffic does not notice.
import { deepEqual, equal, ok } from "node:assert/strict";
import { FIELD_MANAGER } from "../../core/kube/contract.ts";
import { LEASES, SERVICES } from "../../core/kube/resources.ts";
import { DATAPLANE_LABEL, SERVICE_FINALIZER } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import type { Program } from "../support/programs.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";

const LEASE = { namespace: "kube-system", name: "k3slb-server" };

async function leader(world: World): Promise<string> {
  return (await world.admin.get(LEASES, LEASE)).spec?.holderIdentity ?? "";
}

async function stopAll(servers: readonly Program[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0 });

  test("These services will remain `pending` until a load balancer is installed", async ({ world, ns }) => {
    await ns.createService({ name: "web", ports: [world.port()] });
    await staysTrue("no address", async () => (await ns.ingress("web")).length === 0, 500);
    await world.startServer();
    await ns.waitForIngress("web", world.nodeIps);
    await stopAll(world.servers);
  });

  test("two servers: one is active, the other takes over when it is killed, and addresses stay", async ({ world, ns }) => {
    const first = await world.startServer();
    await waitUntil("the first to lead", async () => (await leader(world)).startsWith(first.name));
    const second = await world.startServer();
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    await first.kill();
    await staysTrue("the addresses stay", async () => (await ns.ingress("web")).length === 2, 500);
    await waitUntil("the second to lead", async () => (await leader(world)).startsWith(second.name), {
      deadlineMs: 60_000,
    });
    await ns.createService({ name: "later", ports: [world.port()] });
    await ns.waitForIngress("later", world.nodeIps);
    await second.stop();
  });

  test("a server that loses the Lease leads again when the other holder is gone", async ({ world, ns }) => {
    const server = await world.startServer();
    await waitUntil("it to lead", async () => (await leader(world)).startsWith(server.name), { deadlineMs: 60_000 });
    const renewTime = new Date().toISOString().replace("Z", "000Z");
    const thief = { holderIdentity: "thief", leaseDurationSeconds: 1, renewTime };
    await world.admin.patch(LEASES, LEASE, { type: "merge", body: { spec: thief } });
    await waitUntil("it to lead again", async () => (await leader(world)).startsWith(server.name), {
      deadlineMs: 60_000,
    });
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps, 30_000);
    ok(server.running);
    await server.stop();
  });

  test("a server that ends in order hands over at once", async ({ world, ns }) => {
    const first = await world.startServer();
    await waitUntil("the first to lead", async () => (await leader(world)).startsWith(first.name), {
      deadlineMs: 60_000,
    });
    const second = await world.startServer();
    equal(await first.stop(), 0);
    await waitUntil("the second to lead", async () => (await leader(world)).startsWith(second.name), {
      deadlineMs: 10_000,
    });
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    await second.stop();
  });

  test("a Service that changes its type while no server runs is released by the next one", async ({ world, ns }) => {
    const server = await world.startServer();
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps, 60_000);
    await server.stop();
    await ns.patchService("web", { spec: { type: "ClusterIP" } });
    const next = await world.startServer();
    await waitUntil("nothing to be left of the load balancer", async () => {
      const { metadata, status } = await ns.service("web");
      return (metadata?.finalizers ?? []).length === 0 && (status?.conditions ?? []).length === 0 &&
        (await ns.daemonSets("web")).length === 0;
    }, { deadlineMs: 60_000, explain: world.logs });
    await ns.deleteService("web");
    await next.stop();
  });

  test("a server that died right after its finalizer: the next one takes it off, and a cloud's of the same name not", async ({ world, ns }) => {
    for (const [name, fieldManager] of [["left", FIELD_MANAGER], ["cloud", "cloud-controller-manager"]] as const) {
      await ns.createService({ name, ports: [world.port()] });
      const body = { metadata: { finalizers: [SERVICE_FINALIZER] } };
      await world.admin.patch(SERVICES, { namespace: ns.name, name }, { type: "merge", body }, { fieldManager });
      await ns.patchService(name, { spec: { type: "ClusterIP" } });
    }
    const server = await world.startServer();
    const finalizers = async (name: string): Promise<readonly string[]> =>
      (await ns.service(name)).metadata?.finalizers ?? [];
    await waitUntil("the finalizer to go", async () => (await finalizers("left")).length === 0, {
      deadlineMs: 60_000,
      explain: world.logs,
    });
    deepEqual(await finalizers("cloud"), [SERVICE_FINALIZER]);
    const body = { metadata: { finalizers: null } };
    await world.admin.patch(SERVICES, { namespace: ns.name, name: "cloud" }, { type: "merge", body });
    await server.stop();
  });

  test("with no server running, traffic goes on", async ({ world, ns }) => {
    const port = world.port();
    const server = await world.startServer();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps, 60_000);
    await server.stop();
    for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.deletePod("web-node1");
    await world.waitForAnswer(
      world.client,
      { protocol: "tcp", ip: world.node("node1").ip4, port },
      (answer) => answer.outcome === "answer" && answer.server === "web-node2",
    );
  });

  test("switching the data plane from agent to pods and back converges, and the address keeps answering", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    let server = await world.startServer();
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps, 60_000);
    const stream = await world.client.ns.open({ protocol: "tcp", ip: world.node("node1").ip4, port });
    equal((await stream.exchange()).outcome, "answer");
    for (const dataplane of ["pods", "agent"] as const) {
      await server.stop();
      server = await world.startServer(["--dataplane", dataplane]);
      await waitUntil(`all pods to be of data plane ${dataplane}`, async () => {
        const pods = await ns.lbPods("web");
        return pods.length === 2 && pods.every(({ metadata }) => metadata?.labels?.[DATAPLANE_LABEL] === dataplane);
      }, { deadlineMs: 60_000, explain: world.logs });
      await ns.waitForIngress("web", world.nodeIps);
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
      equal((await stream.exchange()).outcome, "answer");
    }
    await stream.close();
    await server.stop();
  });

  test("To disable the embedded LB, configure all servers with `--disable=servicelb`: what it made goes, and only that", async ({ world, ns }) => {
    const server = await world.startServer();
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps, 60_000);
    const foreign = await ns.createService({
      name: "foreign",
      ports: [world.port()],
      spec: { loadBalancerClass: "example.com/other" },
    });
    await server.stop();
    await world.startServer(["--disable=servicelb,coredns,traefik"]);
    await ns.waitForIngress("web", [], 60_000);
    await waitUntil("the DaemonSet to be gone", async () => (await ns.daemonSets("web")).length === 0);
    ok(((await ns.service("web")).metadata?.finalizers ?? []).length === 0);
    equal((await ns.service("foreign")).metadata?.resourceVersion, foreign.metadata?.resourceVersion);
    await ns.createService({ name: "later", ports: [world.port()] });
    await staysTrue(
      "a later Service is left to another balancer",
      async () => (await ns.daemonSets("later")).length === 0,
      500,
    );
    deepEqual(await ns.ingress("later"), []);
    await stopAll(world.servers);
  });

  test("Any service load balancer can be used: with `--disable=servicelb` a different one, such as MetalLB, has Services to itself", async ({ world, ns }) => {
    await world.startServer(["--disable=servicelb,coredns,traefik"]);
    const port = world.port();
    await ns.createService({ name: "web", ports: [port] });
    const status = { loadBalancer: { ingress: [{ ip: "198.51.100.7" }] } };
    await world.admin.patch(SERVICES, { namespace: ns.name, name: "web" }, { type: "merge", body: { status } }, {
      subresource: "status",
    });
    const before = await ns.service("web");
    await staysTrue(
      "the other balancer's address stays",
      async () => (await ns.service("web")).metadata?.resourceVersion === before.metadata?.resourceVersion,
      1000,
    );
    deepEqual(await ns.ingress("web"), ["198.51.100.7"]);
    deepEqual(await ns.daemonSets("web"), []);
    await stopAll(world.servers);
  });
}
