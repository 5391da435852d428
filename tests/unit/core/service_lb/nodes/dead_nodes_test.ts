// Nodes that have stopped answering: what their Services say and list, by the verdicts and by the whole controller.
import { deepEqual, equal, fail, match } from "node:assert/strict";
import { SERVICES } from "../../../../../core/kube/resources.ts";
import type { Node } from "../../../../../core/kube/types.ts";
import type { BeginAsk } from "../../../../../core/runtime/ask_nodes.ts";
import { readDeadNodes } from "../../../../../core/service_lb/nodes/dead_node_words.ts";
import { askedNode } from "../../../../../core/service_lb/nodes/asked_node.ts";
import { DeadNodes } from "../../../../../core/service_lb/nodes/dead_nodes.ts";
import { desiredService } from "../../../../../core/service_lb/desired_service.ts";
import { parseIpRange } from "../../../../../core/shared/ip_ranges.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { waitUntil } from "../../../../support/wait.ts";
import { loadBalancer, withCluster } from "../controller_cluster.ts";
import { node, pod, service, SERVICE_OPTIONS } from "../fixtures.ts";

const WEB = service();
const NODES = ["a", "b", "c"].map((name, index) => node(name, { internal: [`10.0.0.${index + 1}`] }));

function served(dead: readonly string[], nodes: readonly Node[] = NODES): readonly [addresses: string, words: string] {
  const desired = desiredService(WEB, {
    ...SERVICE_OPTIONS,
    facts: {
      nodes: new Map(nodes.map((each) => [each.metadata?.name ?? "", each])),
      allowList: false,
      pods: nodes.map((each) => pod(WEB, each.metadata?.name ?? "")),
      slices: [],
      conflicts: new Map(),
      silentNodes: new Set(),
      deadNodes: new Map(dead.map((name) => [name, `the node has not answered the server at ${name} since 2026`])),
    },
  });
  return [desired.ingress.map(({ ip }) => ip).join(" "), `${desired.summary.reason}: ${desired.summary.message}`];
}

Deno.test("a dead node's address leaves the status, but never the last one", () => {
  equal(served([])[0], "10.0.0.1 10.0.0.2 10.0.0.3");
  const [addresses, words] = served(["c"]);
  equal(addresses, "10.0.0.1 10.0.0.2");
  match(words, /^PartlyServed: .*c: the node has not answered the server at c since 2026/);
  equal(served(["b", "c"])[0], "10.0.0.1");
  const [all, last] = served(["a", "b", "c"]);
  equal(all, "10.0.0.1 10.0.0.2 10.0.0.3");
  match(last, /it stays as no better node serves/);
});

Deno.test("a node that answers and is not Ready is better than a dead one", () => {
  const nodes = [NODES[0] as Node, node("b", { internal: ["10.0.0.2"], ready: false })];
  equal(served(["a"], nodes)[0], "10.0.0.2");
});

Deno.test("askedNode() takes the node's own addresses and its kubelet's port", () => {
  const facts = { serviceRanges: [] };
  const status = {
    addresses: [{ type: "ExternalIP", address: "203.0.113.1" }, { type: "InternalIP", address: "10.0.0.9" }],
  };
  deepEqual(askedNode({ metadata: { name: "x" }, status }, facts), { name: "x", ips: ["10.0.0.9"] });
  const portOf = (Port: number): number | undefined =>
    askedNode({ metadata: { name: "x" }, status: { ...status, daemonEndpoints: { kubeletEndpoint: { Port } } } }, facts)
      .kubeletPort;
  deepEqual([0, 10_255, 65_536].map(portOf), [undefined, 10_255, undefined]);
});

Deno.test("askedNode() passes over addresses that no node has", () => {
  const serviceRanges = [parseIpRange("10.43.0.0/16") ?? fail()];
  for (
    const address of [
      "127.0.0.1",
      "::1",
      "0.0.0.0",
      "224.0.0.1",
      "::ffff:10.0.0.1",
      "10.43.0.1",
      "169.254.169.254",
      "fe80::1",
      "no address",
    ]
  ) {
    const status = { addresses: [{ type: "InternalIP", address }, { type: "InternalIP", address: "10.0.0.9" }] };
    deepEqual(askedNode({ metadata: { name: "x" }, status }, { serviceRanges }).ips, ["10.0.0.9"], address);
  }
});

Deno.test("DeadNodes asks nodes with an agent, not its own host, and its words stay while the state does", async () => {
  const clock = createFakeClock();
  const ending = new AbortController();
  const asked = new Set<string>();
  let isCut = false;
  const beginAsk: BeginAsk = (ask, onEnd) => {
    asked.add(ask.node);
    if (!(isCut && ask.node === "c")) queueMicrotask(() => onEnd("answered"));
    return () => {};
  };
  const changed: string[] = [];
  const dead = new DeadNodes({
    clock,
    logger: SILENT_LOGGER,
    signal: ending.signal,
    beginAsk,
    onChange: (name) => changed.push(name),
    isOn: true,
    serviceRanges: [],
    ownIps: () => ["127.0.0.1", "10.0.0.1"],
  });
  const all = [...NODES, node("d", { internal: ["10.0.0.4"], agent: false })];
  const nodes = new Map(all.map((each) => [each.metadata?.name ?? "", each]));
  dead.note({ services: new Map(), nodes });
  await clock.advance(5000);
  deepEqual([...asked], [], "asked for no Service's sake");
  const services = new Map([["default/web", WEB]]);
  dead.note({ services, nodes: new Map([...nodes].filter(([name]) => name === "c" || name === "d")) });
  await clock.advance(5000);
  deepEqual([...asked], [], "the only one with an agent: its address stays whatever it answers");
  dead.note({ services, nodes });
  await clock.advance(5000);
  deepEqual([...asked].sort(), ["b", "c"]);
  isCut = true;
  await clock.advance(4500);
  deepEqual(changed, ["c"]);
  const words = dead.nodes.get("c") ?? "";
  match(words, /^the node has not answered the server at 10\.0\.0\.3 since 2026-11-23T00:00:15Z$/);
  await clock.advance(60_000);
  equal(dead.nodes.get("c"), words);
  deepEqual(readDeadNodes(`Served by 2 nodes: a, b. c: ${words}. d: something else`), new Map([["c", words]]));
  isCut = false;
  await clock.advance(1000);
  deepEqual([changed, dead.nodes.size], [["c", "c"], 0]);
  ending.abort();
});

Deno.test("DeadNodes believes no silence of a node whose agent still writes its heartbeat, until it answers again", async () => {
  const clock = createFakeClock();
  const ending = new AbortController();
  let isCut = false;
  const beginAsk: BeginAsk = (ask, onEnd) => {
    if (!(isCut && ask.node === "c")) queueMicrotask(() => onEnd("answered"));
    return () => {};
  };
  const dead = new DeadNodes({
    clock,
    logger: SILENT_LOGGER,
    signal: ending.signal,
    beginAsk,
    onChange: () => {},
    isOn: true,
    serviceRanges: [],
    ownIps: () => [],
  });
  const services = new Map([["default/web", WEB]]);
  const noteBeat = (lastHeartbeatTime: string): void => {
    const nodes = NODES.map((one): [string, Node] => {
      const conditions = (one.status?.conditions ?? []).map((each) => ({ ...each, lastHeartbeatTime }));
      return [one.metadata?.name ?? "", { ...one, status: { ...one.status, conditions } }];
    });
    dead.note({ services, nodes: new Map(nodes) });
  };
  const state = (): unknown => [[...dead.nodes.keys()], [...dead.unheard]];
  noteBeat("2026-11-23T00:00:00Z");
  await clock.advance(5000);
  isCut = true;
  await clock.advance(4500);
  noteBeat("2026-11-23T00:00:00Z");
  deepEqual(state(), [["c"], []], "what it wrote before says nothing");
  noteBeat("2026-11-23T00:01:00Z");
  deepEqual(state(), [[], ["c"]]);
  await clock.advance(300_000);
  deepEqual(state(), [[], ["c"]], "its silence means nothing from now on");
  isCut = false;
  await clock.advance(60_000);
  deepEqual(state(), [[], []]);
  isCut = true;
  await clock.advance(4500);
  deepEqual(state(), [["c"], []], "it answered, so that its silence means something again");
  const others = NODES.filter(({ metadata }) => metadata?.name !== "c");
  dead.note({ services, nodes: new Map(others.map((one) => [one.metadata?.name ?? "", one])) });
  noteBeat("2026-01-01T00:01:00Z");
  await clock.advance(300_000);
  deepEqual(state(), [[], []], "of another node of that name nothing was known");
  ending.abort();
});

Deno.test("startServiceLb() takes a dead node out within seconds, says so, and lists it again at its first answer", () =>
  withCluster(3, async ({ admin, events, startController, ips, service: find }) => {
    const silent = new Set<string>();
    const beginAsk: BeginAsk = ({ node: name }, onEnd) => {
      if (!silent.has(name)) queueMicrotask(() => onEnd("refused"));
      return () => {};
    };
    const stop = startController({}, beginAsk);
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("all addresses", async () => await ips("web") === "10.0.0.1 10.0.0.2 10.0.0.3");
    silent.add("n2");
    await waitUntil("n2 to leave", async () => await ips("web") === "10.0.0.1 10.0.0.3");
    const conditionOf = async (): Promise<string> => {
      const condition = (await find("web")).status?.conditions?.[0];
      return `${condition?.reason}: ${condition?.message}`;
    };
    match(await conditionOf(), /PartlyServed: .*n2: the node has not answered the server at 10\.0\.0\.2 since /);
    match(events.map(({ message }) => message).join("\n"), /n2: the node has not answered the server/);
    silent.add("n1").add("n3");
    silent.delete("n2");
    await waitUntil("n2 alone", async () => await ips("web") === "10.0.0.2");
    silent.clear();
    await waitUntil("all again", async () => await ips("web") === "10.0.0.1 10.0.0.2 10.0.0.3");
    await waitUntil("no word of it", async () => /^Served: /.test(await conditionOf()));
    await stop();
  }));
