// The world of real nodes itself, and one Service on it: three kubelets, containerd, kube-proxy, real pods.
// Alone: `K3SLB_WORLD=nodes deno test -A tests/nodes/nodes_test.ts`, as root.
import { deepEqual, equal, ok } from "node:assert/strict";
import { NODES } from "../../core/kube/resources.ts";
import { PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { FORWARDING_CONDITION } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { CONTAINERD_SOCKET } from "../support/node_machine_config.ts";
import { isPodReady } from "../support/pod_lines.ts";
import { runToEnd } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { worldSuite } from "../support/world_suite.ts";

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  test("nodes: every one is Ready, has its addresses and a real kubelet", async ({ world }) => {
    const nodes = (await world.admin.list(NODES)).items;
    deepEqual(nodes.map(({ metadata }) => metadata?.name).sort(), ["node1", "node2", "node3"]);
    for (const { status } of nodes) {
      equal(status?.conditions?.find(({ type }) => type === "Ready")?.status, "True");
      ok(status?.nodeInfo?.containerRuntimeVersion.startsWith("containerd://"));
      equal(status?.addresses?.filter(({ type }) => type === "InternalIP").length, 2);
    }
  });

  test("nodes: a Service is served on every node, TCP and UDP, and its status says so", async ({ world, ns }) => {
    const port = world.port();
    const [pod] = await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port, { port, protocol: "UDP" }] });
    await ns.waitForIngress("web", world.nodeIps);
    for (const { ip4 } of world.nodes) {
      for (const protocol of ["tcp", "udp"] as const) {
        const answer = await world.waitForAnswer(world.client, { protocol, ip: ip4, port });
        ok(answer.outcome === "answer");
        equal(answer.server, pod);
      }
    }
    await waitUntil("every Node's condition to count it", async () => {
      const nodes = (await world.admin.list(NODES)).items;
      return nodes.every(({ status }) =>
        status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION)?.message?.startsWith(
          "2 ports of 1 Service,",
        )
      );
    });
  });

  test("nodes: a pod's own namespace is reached, and asks by the Service's cluster address", async ({ world, ns }) => {
    const port = world.port();
    const [name = ""] = await ns.createApp({ name: "web", nodes: ["node2"] });
    const { spec } = await ns.createService({ name: "web", ports: [port] });
    const pod = await world.node("node2").pod(ns.name, name);
    ok(pod);
    equal((await ns.waitForPod(name)).status?.podIP, pod.ip4);
    await ns.createApp({ name: "other", nodes: ["node3"] });
    const other = await world.node("node3").pod(ns.name, "other-node3");
    ok(other);
    await world.waitForAnswer(other, { protocol: "tcp", ip: spec?.clusterIP ?? "", port });
  });

  // The last one: the nodes are without the image from here on.
  test("nodes: placeholders run a pause image that every kubelet lists, where the usual one can't be had", async ({ world, ns }) => {
    const containerd = ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"];
    for (const node of world.nodes) await runToEnd(node.command([...containerd, "images", "rm", PAUSE_IMAGE]));
    const listed = async (): Promise<readonly (readonly string[])[]> =>
      (await world.admin.list(NODES)).items.map(({ status }) =>
        (status?.images ?? []).flatMap(({ names }) => names ?? [])
      );
    await waitUntil("kubelets to list it no more", async () => {
      return (await listed()).every((names) => names.length > 0 && !names.includes(PAUSE_IMAGE));
    }, { deadlineMs: 120_000, intervalMs: 1_000 });

    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [world.port()] });
    await waitUntil("all placeholders to be ready", async () => {
      const pods = await ns.lbPods("web");
      return pods.length === world.nodes.length && pods.every(isPodReady);
    }, { deadlineMs: 30_000, explain: () => world.logs() });
    const used = [...new Set((await ns.lbPods("web")).map(({ spec }) => spec?.containers?.[0]?.image ?? ""))];
    deepEqual([used.length, used[0] === PAUSE_IMAGE], [1, false]);
    for (const names of await listed()) ok(names.includes(used[0] ?? ""), names.join(" "));
  });
}
