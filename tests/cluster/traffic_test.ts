// Packets through the whole program: clients on the LAN, rules that the agents made, echo servers in pods.
// What answers, and whose address it sees, for every protocol, family and traffic policy.
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { enterWorld } from "../support/netns.ts";
import { runProgram } from "../support/programs.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { isDualStack, type World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

type Family = "IPv4" | "IPv6";

const FAMILIES: readonly Family[] = isDualStack() ? ["IPv4", "IPv6"] : ["IPv4"];
const PROTOCOLS = ["TCP", "UDP"] as const;
/** On a slow node the agent looks at its rules less often, every 15 s at least. */
const LONG_LOOK = { deadlineMs: 30_000 };
/** After an outage the cluster's own controllers and kubelets wait up to half a minute before they ask again. */
const CLUSTER_RETURNS = { deadlineMs: 90_000 };

function ipOf(host: { readonly ip4: string; readonly ip6: string }, family: Family): string {
  return family === "IPv4" ? host.ip4 : host.ip6;
}

/** A served app with one pod on `node1`. */
async function serveOnNode1({ world, ns }: WorldTest, spec: Record<string, unknown> = {}): Promise<number> {
  const port = world.port();
  await ns.createApp({ name: "web", nodes: ["node1"] });
  await ns.createService({ name: "web", ports: [port, { port, protocol: "UDP" }], spec });
  await ns.waitForIngress("web", world.nodeIps);
  await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
  return port;
}

async function flushRules(world: World, node: string): Promise<void> {
  for (const table of ["nat", "filter"]) {
    for (const tool of ["iptables", "ip6tables"]) {
      const { ns } = world.node(node);
      await runProgram([...ns.command([tool, "-t", table, "-F"])]);
      await runProgram([...ns.command([tool, "-t", table, "-X"])]);
    }
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  for (const family of FAMILIES) {
    for (const protocol of PROTOCOLS) {
      for (const policy of ["Cluster", "Local"] as const) {
        test(`a local endpoint answers and sees the client's address: ${protocol}, ${family}, ${policy}`, async ({ world, ns }) => {
          const port = world.port();
          const [pod] = await ns.createApp({ name: "web", nodes: ["node1"] });
          const spec = { externalTrafficPolicy: policy, ipFamilies: [family] };
          await ns.createService({ name: "web", ports: [{ port, protocol }], spec });
          const request = {
            protocol: protocol === "TCP" ? "tcp" : "udp",
            ip: ipOf(world.node("node1"), family),
            port,
          } as const;
          const answer = await world.waitForAnswer(world.client, request);
          ok(answer.outcome === "answer");
          deepEqual([answer.server, answer.peer], [pod, ipOf(world.client, family)]);
        });
      }

      test(`a node without an endpoint forwards to another node: ${protocol}, ${family}, Cluster`, async ({ world, ns }) => {
        const port = world.port();
        const [pod] = await ns.createApp({ name: "web", nodes: ["node1"] });
        await ns.createService({ name: "web", ports: [{ port, protocol }], spec: { ipFamilies: [family] } });
        const request = {
          protocol: protocol === "TCP" ? "tcp" : "udp",
          ip: ipOf(world.node("node2"), family),
          port,
        } as const;
        const answer = await world.waitForAnswer(world.client, request);
        ok(answer.outcome === "answer");
        equal(answer.server, pod);
      });
    }
  }

  test("Local: only nodes with a ready endpoint are in the status, the others drop", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port], spec: { externalTrafficPolicy: "Local" } });
    await ns.waitForIngress("web", [world.node("node1").ip4]);
    const request = { protocol: "tcp", ip: world.node("node2").ip4, port, timeoutMs: 400 } as const;
    await world.waitForAnswer(world.client, request, ({ outcome }) => outcome === "timeout");
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.waitForIngress("web", world.nodeIps);
    await world.waitForAnswer(world.client, request);
  });

  test("dual stack: one Service answers on both families and lists both", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.createService({ name: "web", ports: [port], spec: { ipFamilyPolicy: "RequireDualStack" } });
    await ns.waitForIngress("web", world.nodes.flatMap(({ ip4, ip6 }) => [ip4, ip6]));
    for (const node of world.nodes) {
      for (const family of FAMILIES) {
        await world.waitForAnswer(world.client, { protocol: "tcp", ip: ipOf(node, family), port });
      }
    }
  }, isDualStack() ? {} : { skip: "nodes have one family" });

  test("the node itself and a pod of the same node reach the node's address (hairpin)", async (t) => {
    const port = await serveOnNode1(t);
    const node = t.world.node("node1");
    const request = { protocol: "tcp", ip: node.ip4, port } as const;
    await t.world.waitForAnswer(node, request);
    const pod = await node.pod(t.ns.name, "web-node1");
    ok(pod);
    await t.world.waitForAnswer(pod, request);
  });

  test("a Service of the other protocol on the same port is another Service's", async ({ world, ns }) => {
    const port = world.port();
    for (const [name, protocol] of [["stream", "TCP"], ["datagram", "UDP"]] as const) {
      await ns.createApp({ name, nodes: ["node1"] });
      await ns.createService({ name, ports: [{ port, protocol }] });
      await ns.waitForIngress(name, world.nodeIps);
    }
    for (const [name, protocol] of [["stream", "tcp"], ["datagram", "udp"]] as const) {
      const answer = await world.waitForAnswer(world.client, { protocol, ip: world.node("node1").ip4, port });
      ok(answer.outcome === "answer" && answer.server.startsWith(name));
    }
  });

  test("source ranges let in who is inside, and nobody else", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    const spec = { loadBalancerSourceRanges: [`${world.client.ip4}/32`] };
    await ns.createService({ name: "web", ports: [port], spec });
    const request = { protocol: "tcp", ip: world.node("node1").ip4, port, timeoutMs: 400 } as const;
    await world.waitForAnswer(world.client, request);
    equal((await world.node("node2").ns.request(request)).outcome, "timeout");
    await ns.patchService("web", { spec: { loadBalancerSourceRanges: [`${world.node("node2").ip4}/32`] } });
    await world.waitForAnswer(world.node("node2"), request);
    await world.waitForAnswer(world.client, request, ({ outcome }) => outcome === "timeout");
  });

  test("session affinity keeps a client on its pod", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1", "node1", "node1"] });
    await ns.createService({ name: "web", ports: [port], spec: { sessionAffinity: "ClientIP" } });
    const request = { protocol: "tcp", ip: world.node("node1").ip4, port } as const;
    await world.waitForAnswer(world.client, request);
    const counts = await world.client.ns.requestMany(request, 20);
    equal(Object.keys(counts).length, 1, JSON.stringify(counts));
  });

  test("without affinity connections are spread over the pods", async ({ world, ns }) => {
    const port = world.port();
    const pods = await ns.createApp({ name: "web", nodes: ["node1", "node1"] });
    await ns.createService({ name: "web", ports: [port] });
    const request = { protocol: "tcp", ip: world.node("node1").ip4, port } as const;
    await world.waitForAnswer(world.client, request);
    // 40 connections all on one of two pods: once in 5e11 runs.
    const counts = await waitUntil("both pods to answer", async () => {
      const seen = await world.client.ns.requestMany(request, 40);
      return pods.every((pod) => (seen[pod] ?? 0) > 0) && seen;
    });
    equal(Object.values(counts).reduce((sum, count) => sum + count, 0), 40);
  });

  test("a Service without endpoints refuses TCP connections", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    equal((await world.client.ns.request({ protocol: "tcp", ip: world.node("node1").ip4, port })).outcome, "refused");
  });

  test("traffic follows when an endpoint moves to another node", async ({ world, ns }) => {
    const port = world.port();
    const [first = ""] = await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port, { port, protocol: "UDP" }] });
    const request = (protocol: "tcp" | "udp") => ({ protocol, ip: world.node("node1").ip4, port });
    for (const protocol of ["tcp", "udp"] as const) await world.waitForAnswer(world.client, request(protocol));
    const [second] = await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.deletePod(first);
    for (const protocol of ["tcp", "udp"] as const) {
      await world.waitForAnswer(
        world.client,
        request(protocol),
        (answer) => answer.outcome === "answer" && answer.server === second,
      );
    }
  });

  test("an endpoint on the host's network answers, local and remote", async ({ world, ns }) => {
    const [port, target] = [world.port(), world.port()];
    await ns.createApp({ name: "web", nodes: ["node1"], hostNetwork: true, serve: [`tcp/${target}`] });
    await ns.createService({ name: "web", ports: [{ port, targetPort: target }] });
    for (const { ip4 } of world.nodes) await world.waitForAnswer(world.client, { protocol: "tcp", ip: ip4, port });
  });

  test("an open connection survives new Services, a killed agent and its restart", async (t) => {
    const { world, ns } = t;
    const port = await serveOnNode1(t);
    const stream = await world.client.ns.open({ protocol: "tcp", ip: world.node("node1").ip4, port });
    equal((await stream.exchange()).outcome, "answer");
    await ns.createService({ name: "other", ports: [world.port()] });
    await ns.waitForIngress("other", world.nodeIps);
    equal((await stream.exchange()).outcome, "answer");
    await world.node("node1").killAgent();
    equal((await stream.exchange()).outcome, "answer");
    await world.node("node1").startAgent();
    await ns.createService({ name: "third", ports: [world.port()] });
    await ns.waitForIngress("third", world.nodeIps);
    equal((await stream.exchange()).outcome, "answer");
    await stream.close();
  });

  test("an agent that is killed leaves traffic going, also for new connections", async (t) => {
    const port = await serveOnNode1(t);
    const node = t.world.node("node1");
    await node.killAgent();
    try {
      const request = { protocol: "tcp", ip: node.ip4, port } as const;
      await staysTrue(
        "connections are answered",
        async () => (await t.world.client.ns.request(request)).outcome === "answer",
        1_000,
      );
      deepEqual(await t.ns.ingress("web"), t.world.nodeIps);
    } finally {
      await node.startAgent();
    }
  });

  for (const how of ["hang", "refuse"] as const) {
    test(`with the API server away (${how}) traffic goes on and flushed rules are repaired`, async (t) => {
      const { world } = t;
      const port = await serveOnNode1(t);
      const request = { protocol: "tcp", ip: world.node("node1").ip4, port, timeoutMs: 500 } as const;
      const repairApi = await world.api.breakDown(how);
      try {
        equal((await world.client.ns.request(request)).outcome, "answer");
        await flushRules(world, "node1");
        await waitUntil(
          "the rules to be there again",
          async () => (await world.client.ns.request(request)).outcome === "answer",
          { ...LONG_LOOK, explain: () => world.logs() },
        );
      } finally {
        await repairApi();
      }
      const later = world.port();
      await waitUntil(
        "the API server to take a Service again",
        () => t.ns.createService({ name: "later", app: "web", ports: [later] }),
        CLUSTER_RETURNS,
      );
      await waitUntil(
        "an answer of a Service made after the outage",
        async () => (await world.client.ns.request({ ...request, port: later })).outcome === "answer",
        { ...CLUSTER_RETURNS, explain: () => world.logs() },
      );
    });
  }

  test("a port on which a process of the host listens is not taken: the reason names the process", async ({ world, ns }) => {
    const port = world.port();
    const node = world.node("node2");
    const listen = { protocol: "tcp", port, name: "host-process" } as const;
    await node.ns.listen(listen);
    try {
      await ns.createApp({ name: "web", nodes: ["node1"] });
      await ns.createService({ name: "web", ports: [port] });
      await ns.waitForIngress("web", [world.node("node1").ip4]);
      const condition = await ns.waitForCondition("web", ({ message }) => /node2.*deno/.test(message ?? ""));
      equal(condition.reason, "PartlyServed");
      const answer = await world.client.ns.request({ protocol: "tcp", ip: node.ip4, port });
      ok(answer.outcome === "answer" && answer.server === "host-process");
    } finally {
      await node.ns.unlisten(listen);
    }
    await ns.waitForIngress("web", world.nodeIps);
  });

  test("`agent cleanup` leaves no rule of ours behind", async (t) => {
    const port = await serveOnNode1(t);
    const node = t.world.node("node2");
    await node.stopAgent();
    const cleanup = await node.runProgram(["agent", "cleanup"]);
    equal(cleanup.code, 0, cleanup.stderr);
    for (const tool of ["iptables-save", "ip6tables-save"]) {
      equal((await node.ns.run(tool)).includes("K3SLB"), false);
    }
    // A real kube-proxy forwards what the status lists by itself.
    if (t.world.kind !== "nodes") {
      notEqual(
        (await t.world.client.ns.request({ protocol: "tcp", ip: node.ip4, port, timeoutMs: 500 })).outcome,
        "answer",
      );
    }
    await node.startAgent();
    await t.world.waitForAnswer(t.world.client, { protocol: "tcp", ip: node.ip4, port });
  });
}
