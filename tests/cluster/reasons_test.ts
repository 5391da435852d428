// Every reason for which a node can be left out, on a real control plane: `explain`, its JSON, the condition and an Event say the same, and what
// they say to do, when done, makes the node serve.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { NODES } from "../../core/kube/resources.ts";
import type { NodeAnswer, ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import { VERDICT_REASONS } from "../../core/service_lb/answers/remedies.ts";
import type { VerdictReason } from "../../core/service_lb/nodes/node_verdicts.ts";
import { enterWorld } from "../support/netns.ts";
import { runProgram, type RunResult } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World, worldKind } from "../support/world.ts";
import { plainEnvironment, programCommand } from "../support/world_node.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";
import {
  type AgentReason,
  type Case,
  CASES,
  EXCLUDE,
  type Ground,
  K3S,
  lbPod,
  patchForwarding,
  restartServer,
  served,
  TOGETHER,
  WITH_PODS,
} from "./reasons.ts";

async function k3slb(world: World, ...words: readonly string[]): Promise<RunResult> {
  const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
  const settings = { K3SLB_HONOR_EXCLUDE_LABEL: "true", K3SLB_DATAPLANE: dataplaneOf(world) };
  const env = { ...plainEnvironment(), ...settings };
  return await runProgram([...programCommand(), ...words, "--kubeconfig", kubeconfig], { env });
}

const podWorlds = new WeakSet<World>();
const dataplaneOf = (world: World): string => podWorlds.has(world) ? "pods" : "agent";

/** Makes the case's Service. */
async function arrange(ground: Ground, { wish, appOn, before, after }: Case): Promise<void> {
  const { ns, name, port } = ground;
  await before?.(ground);
  if (appOn !== undefined) await ns.createApp({ name, nodes: appOn });
  await ns.createService({ name, ports: [port], ...wish });
  await after?.(ground);
}

/** Waits until everybody says the same of the node; returns what there is to do. */
async function said({ world, ns, name }: Ground, reason: string, { node = "node2", message }: Case): Promise<string> {
  const about = `${reason}: ${ns.name}/${name}`;
  let seen = "";
  const { answer, verdict } = await waitUntil(`explain to say ${about}`, async () => {
    const { code, stdout, stderr } = await k3slb(world, "explain", `${ns.name}/${name}`, "-o", "json");
    equal(code, 0, stderr);
    seen = stdout;
    const answer: ServiceAnswer = JSON.parse(stdout);
    const verdict = answer.nodes.find((one) => one.node === node && one.reason === reason);
    const condition = await ns.condition(name);
    return verdict !== undefined && condition?.message === answer.served.message && { answer, verdict };
  }, {
    deadlineMs: 40_000,
    intervalMs: 300,
    explain: async () => `${seen}\n${JSON.stringify(await ns.condition(name))}\n${world.logs()}`,
  });
  const { message: words = "", remedy = "" } = verdict satisfies NodeAnswer;
  match(words, message, about);
  match(remedy, CASES[reason as VerdictReason].remedy, about);
  const told = await ns.condition(name);
  deepEqual([told?.status, told?.reason], [answer.served.status, answer.served.reason], about);
  ok(told?.message?.includes(words), `${about}: the condition: ${told?.message}`);
  await waitUntil(
    `an Event with the words of ${about}`,
    async () => (await ns.events(name)).some(({ message = "" }) => message.includes(words)),
    { explain: async () => JSON.stringify((await ns.events(name)).map(({ message }) => message)) },
  );
  const text = (await k3slb(world, "explain", `svc/${name}`, "-n", ns.name)).stdout.replaceAll(/\s+/g, " ");
  ok(text.includes(`${node} no ${reason}: ${words}`), `${about}: ${text}`);
  ok(text.includes(`- ${remedy}`), `${about}: ${text}`);
  return remedy;
}

/** Does what is printed. */
async function follow(ground: Ground, remedy: string, { shows, mend }: Case): Promise<void> {
  const command = /kubectl .*$/.exec(remedy)?.[0];
  if (command !== undefined && (mend === undefined || shows !== undefined)) {
    const script = command.replace(/^kubectl/, '"$@"');
    const done = await runProgram(["sh", "-c", script, "sh", ...ground.world.api.kubectl], { env: plainEnvironment() });
    equal(done.code, 0, `${remedy}: ${done.stderr}`);
    if (shows !== undefined) match(done.stdout, new RegExp(shows.source, "m"), remedy);
  }
  await mend?.(ground);
}

async function serves({ world, ns, name }: Ground, { node = "node2" }: Case): Promise<void> {
  await waitUntil(`${node} to serve ${name}`, async () => {
    const { message = "" } = await ns.condition(name) ?? {};
    return new RegExp(`Served by \\d nodes?: [^.]*\\b${node}\\b`).test(message);
  }, { deadlineMs: 40_000, explain: async () => `${JSON.stringify(await ns.condition(name))}\n${world.logs()}` });
}

Deno.test("every reason for which a node can be left out has its case", () => {
  deepEqual(Object.keys(CASES).toSorted(), VERDICT_REASONS.toSorted());
  deepEqual(TOGETHER.flat().toSorted(), Object.keys(CASES).filter((reason) => !(reason in WITH_PODS)).toSorted());
});

if (worldKind() !== "memory" && await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3, serverArgs: ["--honor-exclude-label"] });

  for (const reasons of TOGETHER) {
    const keepsLabel = reasons.includes("NotLinux") && worldKind() === "nodes";
    const options = keepsLabel ? { skip: "controller-manager puts back the label of a real kubelet's node" } : {};
    test(`left out with agents, said by all alike, mended as printed: ${reasons.join(", ")}`, async (t) => {
      const grounds = reasons.map((reason): readonly [AgentReason, Ground] => [reason, groundFor(t, reason)]);
      try {
        await Promise.all(grounds.map(([reason, ground]) => arrange(ground, CASES[reason])));
        const remedies = await Promise.all(grounds.map(([reason, ground]) => said(ground, reason, CASES[reason])));
        for (const [index, [reason, ground]] of grounds.entries()) {
          await follow(ground, remedies[index] ?? "", CASES[reason]);
        }
        if (reasons.includes("AgentMissing")) {
          await t.world.node("node2").startAgent();
          t.world.node("node3").agent?.resume();
        }
        await Promise.all(grounds.map(([reason, ground]) => serves(ground, CASES[reason])));
      } finally {
        await asBefore(t.world);
      }
    }, options);
  }

  test("left out with pods that forward, said by all alike, mended as printed", async (t) => {
    const { world } = t;
    await Promise.all(world.nodes.map((node) => node.stopAgent()));
    // Where an agent was heard of, a pod may be missing for a minute.
    for (const { name } of world.nodes) await patchForwarding(world, name, () => ({ $patch: "delete" }));
    podWorlds.add(world);
    await restartServer(world, ["--dataplane", "pods"]);
    const node2 = world.node("node2");
    const groundOf = new Map(Object.keys(WITH_PODS).map((reason) => [reason, groundFor(t, reason)]));
    const each = async <T>(
      reasons: readonly string[],
      work: (ground: Ground, one: Case, reason: string) => Promise<T>,
    ) =>
      await Promise.all(
        reasons.map((reason) => work(groundOf.get(reason) as Ground, CASES[reason as VerdictReason], reason)),
      );
    // While the cluster's loops run:
    const refused = ["FailedCreate", "NotScheduled"];
    const harmed = ["PodEnding", "PodFailed", "PodNotReady"];
    await each([...refused, ...harmed], (ground, { after: _, ...one }) => arrange(ground, one));
    await each(harmed, served);
    const remedies = await each(refused, (ground, one, reason) => said(ground, reason, one));
    // And while they don't, so that what would pass stays to be seen.
    const goOn = [world.api.pauseController("kube-scheduler")];
    await each(["WaitingForScheduler"], arrange);
    await each(["WaitingForScheduler"], (ground) => lbPod(ground, "node2"));
    goOn.push(world.api.pauseController("kube-controller-manager"));
    await node2.stopKubelet();
    try {
      await each(["NoPod"], arrange);
      await each(harmed, async (ground, { after }) => await after?.(ground));
      const frozen = [...harmed, "WaitingForScheduler", "NoPod"];
      remedies.push(...await each(frozen, (ground, one, reason) => said(ground, reason, one)));
      const all = [...refused, ...frozen];
      await each(
        all,
        (ground, one, reason) => follow(ground, remedies[all.indexOf(reason)] ?? "", { ...one, mend: () => {} }),
      );
    } finally {
      for (const resume of goOn) resume();
      await node2.startKubelet();
    }
    await each(refused, async (ground, { mend }) => await mend?.(ground));
    await each([...groundOf.keys()], serves);
  });
}

function groundFor(t: WorldTest, reason: string): Ground {
  return { ...t, name: reason.toLowerCase(), port: t.world.port(), ends: new Map() };
}

/** Nodes as they were. */
async function asBefore(world: World): Promise<void> {
  for (const node of world.nodes) {
    await node.label({
      ...{ "kubernetes.io/os": "linux", [EXCLUDE]: null },
      ...{ [`${K3S}/enablelb`]: null, [`${K3S}/lbpool`]: null },
    });
    node.agent?.resume();
  }
  await world.admin.patch(NODES, { name: "node2" }, { type: "merge", body: { spec: { taints: null } } });
}
