// The test world itself: without the program under test, so that a failure here says that the world is broken, not the program.
import { deepEqual, equal } from "node:assert/strict";
import { ENDPOINT_SLICES, NODES } from "../../core/kube/resources.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { worldSuite } from "../support/world_suite.ts";

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, agents: false });

  test("world: every node is Ready and has addresses of both families", async ({ world }) => {
    const nodes = (await world.admin.list(NODES)).items;
    deepEqual(nodes.map(({ metadata }) => metadata?.name).sort(), ["node1", "node2"]);
    for (const node of nodes) {
      equal(node.status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
      equal(node.status?.addresses?.filter(({ type }) => type === "InternalIP").length, 2);
    }
  });

  test("world: an app's pods answer on their own addresses over TCP and UDP", async ({ world, ns }) => {
    const [pod = ""] = await ns.createApp({ name: "echo", nodes: ["node1"] });
    const ip = (await ns.waitForPod(pod)).status?.podIP ?? "";
    for (const protocol of ["tcp", "udp"] as const) {
      const answer = await world.node("node2").ns.request({ protocol, ip, port: 8080 });
      deepEqual({ ...answer, peerPort: 0 }, {
        outcome: "answer",
        server: pod,
        peer: world.node("node2").ip4,
        peerPort: 0,
      });
    }
  });

  test("world: a Service has the app's pods as endpoints, and loses them when they go", async ({ world, ns }) => {
    const pods = await ns.createApp({ name: "echo", nodes: ["node1", "node2"] });
    await ns.createService({ name: "echo", ports: [world.port()] });
    const ready = async (): Promise<number> => {
      const slices = await world.admin.list(ENDPOINT_SLICES, { namespace: ns.name });
      const ips = slices.items.filter(({ addressType }) => addressType === "IPv4").flatMap((slice) =>
        slice.endpoints ?? []
      );
      return ips.filter(({ conditions }) => conditions?.ready !== false).length;
    };
    await waitUntil("two endpoints", async () => await ready() === 2);
    await ns.deletePod(pods[0] ?? "");
    await waitUntil("one endpoint", async () => await ready() === 1);
  });

  test("world: what was asked of the API server is counted by user", async ({ world }) => {
    const counted = world.api.countRequests();
    await world.admin.list(NODES);
    await waitUntil(
      "the request in the count",
      () => counted().some(({ user, verb, resource }) => user === "admin" && verb === "list" && resource === "nodes"),
    );
  });

  for (const how of ["hang", "refuse"] as const) {
    test(`world: the API server can break down (${how}) and come back`, async ({ world }) => {
      const repair = await world.api.breakDown(how);
      let failed = false;
      await world.admin.list(NODES, { timeoutMs: 500 }).catch(() => failed = true);
      equal(failed, true);
      await repair();
      await waitUntil("an answer", async () => (await world.admin.list(NODES, { timeoutMs: 1000 })).items.length === 2);
    });
  }
}
