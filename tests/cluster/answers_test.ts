// `k3slb explain`, `ports`, `status` and `dump` on a cluster. Why nodes are left out, reason by reason: reasons_test.ts.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SECRETS, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import type { ExplainAnswer } from "../../cli/output/render_answer.ts";
import type { ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import { enterWorld } from "../support/netns.ts";
import type { Host } from "../support/net_topology.ts";
import { runProgram, type RunResult } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { plainEnvironment, programCommand } from "../support/world_node.ts";
import { worldSuite } from "../support/world_suite.ts";

/** Moves the cursor to the top. */
const HOME = "\u001b[H";
const ERASE_BELOW = "\u001b[J";

/** Runs the program as the administrator of the cluster. */
async function k3slb(world: World, ...words: readonly string[]): Promise<RunResult> {
  const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
  return await runProgram([...programCommand(), ...words, "--kubeconfig", kubeconfig], { env: plainEnvironment() });
}

async function explain(world: World, service: string): Promise<ServiceAnswer> {
  const { code, stdout, stderr } = await k3slb(world, "explain", service, "-o", "json");
  equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** Does what a remedy says: by kubectl on a real control plane, by the same changes elsewhere. */
async function follow(world: World, remedy: string): Promise<void> {
  if (world.kind !== "memory") {
    const script = remedy.replace(/^kubectl/, '"$@"');
    const { code, stderr } = await runProgram(["sh", "-c", script, "sh", ...world.api.kubectl], {
      env: plainEnvironment(),
    });
    equal(code, 0, `${remedy}: ${stderr}`);
    return;
  }
  const annotate = /^kubectl annotate service -n (\S+) (\S+) (\S+)-$/.exec(remedy);
  const patch = /^kubectl patch service -n (\S+) (\S+) -p '(.+)'$/.exec(remedy);
  if (annotate !== null) {
    const [, namespace = "", name = "", key = ""] = annotate;
    const body = { metadata: { annotations: { [key]: null } } };
    await world.admin.patch(SERVICES, { namespace, name }, { type: "merge", body });
  } else if (patch !== null) {
    const [, namespace = "", name = "", body = ""] = patch;
    await world.admin.patch(SERVICES, { namespace, name }, { type: "merge", body: JSON.parse(body) });
  } else throw new Error(`No way to do this: ${remedy}`);
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("explain: a taken port names who has it; ports lists both, and status --problems ends with 1", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    const { services } = JSON.parse((await k3slb(world, "status", "-o", "json")).stdout);
    const row = services.find(({ name }: { name: string }) => name === `${ns.name}/web`);
    deepEqual([row.state, row.problem, row.serving], ["Served", false, 2]);
    await ns.createService({ name: "web-later", app: "web", ports: [port] });
    const { message = "" } = await ns.waitForCondition("web-later", ({ reason }) => reason === "PortTaken");
    const answer = await explain(world, `${ns.name}/web-later`);
    deepEqual({ ours: answer.ours, problem: answer.problem, reason: answer.served.reason }, {
      ours: true,
      problem: true,
      reason: "PortTaken",
    });
    equal(answer.served.message, message);
    match(answer.nodes[0]?.remedy ?? "", new RegExp(`Service web in namespace ${ns.name}`));
    const rows: readonly { node: string; port: string; service: string; state: string }[] = JSON.parse(
      (await k3slb(world, "ports", "-o", "json")).stdout,
    );
    deepEqual(
      rows.filter((row) => row.port === `${port}/TCP` && row.node === "node1").map((
        { service, state },
      ) => [service, state]),
      [[`${ns.name}/web`, "serves"], [`${ns.name}/web-later`, "PortTaken"]],
    );
    const problems = await k3slb(world, "status", "--problems");
    equal(problems.code, 1);
    match(problems.stdout, new RegExp(`${ns.name}/web-later`));
    ok(!problems.stdout.includes(`${ns.name}/web `), "what is well is left out");
    await ns.deleteService("web");
    await waitUntil(
      "the next one to have it",
      async () => (await explain(world, `${ns.name}/web-later`)).served.status === "True",
    );
  });

  test("explain: Services that are not ours say so, with what to do", async ({ world, ns }) => {
    await ns.createApp({ name: "web", nodes: ["node1"] });
    const port = world.port();
    await ns.createService({ name: "out", app: "web", ports: [port], annotations: { "k3slb.io/enabled": "false" } });
    const out = await explain(world, `${ns.name}/out`);
    deepEqual([out.ours, out.served.reason], [false, "OptedOut"]);
    await follow(world, out.served.remedy ?? "");
    await ns.waitForIngress("out", world.nodeIps);
    await ns.createService({ name: "inner", app: "web", ports: [world.port()], spec: { type: "ClusterIP" } });
    const inner = await explain(world, `${ns.name}/inner`);
    equal(inner.served.reason, "NotLoadBalancer");
    await follow(world, inner.served.remedy ?? "");
    await ns.waitForIngress("inner", world.nodeIps);
    await ns.createService({
      name: "other",
      app: "web",
      ports: [world.port()],
      spec: { loadBalancerClass: "example.com/other" },
    });
    const other = await explain(world, `${ns.name}/other`);
    deepEqual([other.served.reason, other.endpoints.ready], ["OtherClass", 1]);
  });

  test("status: the active server, and what each node's agent says", async ({ world }) => {
    const { server, nodes } = JSON.parse((await k3slb(world, "status", "-o", "json")).stdout);
    equal(server.state, "Active");
    const states = nodes.map(({ name, state }: { name: string; state: string }) => [name, state]);
    deepEqual(states, [["node1", "Forwarding"], ["node2", "Forwarding"]]);
  });

  test("status --watch: draws over itself, no taller than the terminal, in plain text, and ends in order at Ctrl-C", async ({ world, ns }) => {
    for (let i = 0; i < 9; i++) await ns.createService({ name: `web${i}`, ports: [world.port()] });
    const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
    const words = [...programCommand(), "status", "--watch", "--kubeconfig", kubeconfig];
    const child = new Deno.Command("script", {
      args: ["-qefc", `stty cols 80 rows 10 && exec ${words.join(" ")}`, "/dev/null"],
      env: { ...plainEnvironment(), TERM: "xterm-256color" },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    let text = "";
    const reading = (async () => {
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) text += part;
    })();
    const keys = child.stdin.getWriter();
    try {
      await waitUntil("two screens", () => text.split(HOME).length > 2, { explain: () => text });
    } finally {
      await keys.write(new TextEncoder().encode("\u0003"));
      await keys.close();
    }
    equal((await child.status).code, 0);
    await reading;
    const [before = "", ...screens] = text.replaceAll(/\^C|\r/g, "").split(HOME);
    equal(before, "");
    for (const screen of screens) {
      ok(screen.startsWith("SERVER"), screen);
      // Each line is erased to its end, and what is below; nothing else steers the terminal.
      const lines = screen.replace(ERASE_BELOW, "").split("\u001b[K\n");
      deepEqual([lines.length, lines.pop()], [10, ""]);
      match(lines.at(-1) ?? "", /^… \d+ more lines/);
      for (const line of lines) ok(line.length <= 80 && !line.includes("\u001b") && !line.includes("\\u"), line);
    }
  });

  test("explain: on a node it follows packets through the live rules, and that is where real ones go", async ({ world, ns }) => {
    const port = world.port();
    const pods = await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    const node = world.node("node1");
    const to = { protocol: "tcp", ip: node.ip4, port } as const;
    await world.waitForAnswer(world.client, to);
    const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
    const words = ["explain", `${ns.name}/web`, "--kubeconfig", kubeconfig];
    const told: ExplainAnswer = JSON.parse((await node.runProgram([...words, "-o", "json"])).stdout);
    ok(told.packets !== undefined && "paths" in told.packets, JSON.stringify(told.packets));
    const { paths } = told.packets;
    equal(told.packets.node, "node1");
    const ips = new Map(
      await Promise.all(pods.map(async (name) => [(await ns.waitForPod(name)).status?.podIP ?? "", name] as const)),
    );
    const pod = await world.node("node1").pod(ns.name, "web-node1");
    ok(pod);
    const clients: readonly (readonly [string, Pick<Host, "ns" | "ip4">])[] = [
      ["outside", world.client],
      ["pod", pod],
      ["node", node],
    ];
    for (const [client, from] of clients) {
      const path = paths.find((one) => one.client === client && one.address === node.ip4);
      const foretold = path?.ends.map((end) => `${ips.get(end.to.split(":")[0] ?? "")} ${end.masqueraded}`);
      const met = new Set<string>();
      await waitUntil(`packets from ${client} to have gone every way`, async () => {
        const answer = await from.ns.request(to);
        if (answer.outcome === "answer") met.add(`${answer.server} ${client === "node" || answer.peer !== from.ip4}`);
        return met.size === 2;
      });
      deepEqual(foretold?.toSorted(), [...met].toSorted(), client);
    }
    const screen = (await node.runProgram(words)).stdout;
    match(screen, /^Packets on this machine, node node1 \(iptables, (nft|legacy)\):$/m);
    for (const line of screen.split("\n")) ok(line.length <= 80, line);
    match(
      (await k3slb(world, "explain", `${ns.name}/web`)).stdout,
      /^Packets on this machine: not followed: it is not a node of the cluster/m,
    );
  });

  test("explain: wrong words: one line, the nearest name, the right exit code", async ({ world, ns }) => {
    await ns.createService({ name: "shop", ports: [world.port()] });
    const near = await k3slb(world, "explain", `${ns.name}/shpo`);
    equal(near.code, 1);
    match(
      near.stderr,
      new RegExp(`There is no Service "shpo" in namespace "${ns.name}"\\n {2}hint: Did you mean "${ns.name}/shop"\\?`),
    );
    const elsewhere = await k3slb(world, "explain", "default/shop");
    match(elsewhere.stderr, new RegExp(`There is one in another namespace: ${ns.name}/shop`));
    const usage = await k3slb(world, "explain", "a/b/c");
    equal(usage.code, 2);
    match(usage.stderr, /names no Service/);
  });

  test("dump: status, answers, versions and this node's rules in one archive, and nothing of what was planted", async ({ world, ns }) => {
    const planted = "s3cr3t-that-nobody-may-see";
    await ns.createService({
      name: "web",
      ports: [world.port()],
      annotations: { "k3slb.io/resources": `password=${planted}`, "example.com/token": planted },
    });
    await world.admin.create(
      SECRETS,
      { metadata: { namespace: ns.name, name: "s" }, stringData: { a: planted } } as KubeObject,
    );
    await ns.waitForCondition("web", ({ reason }) => reason === "InvalidAnnotation");
    const dir = mkdtempSync(join(tmpdir(), "k3slb-dump-"));
    try {
      const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
      const file = join(dir, "x.tar.gz");
      const words = ["dump", "--file", file, "--kubeconfig", kubeconfig];
      const command = world.node("node1").ns.command([...programCommand(), ...words]);
      const { code, stderr } = await runProgram(command, { env: plainEnvironment() });
      equal(code, 0, stderr);
      equal((await runProgram(["tar", "-xzf", file, "--strip-components=1", "-C", dir])).code, 0);
      const read = (path: string): string => readFileSync(join(dir, path), "utf8");
      match(read("versions.json"), /"version"/);
      ok(JSON.parse(read("cluster/explain.json")).some(({ name }: { name: string }) => name === "web"));
      equal(JSON.parse(read("cluster/status.json")).server.state, "Active");
      match(read("host/iptables-nft.txt"), /K3SLB-SERVICES/);
      match(read("metrics/agent.txt"), /^k3slb_agent_ports /m);
      const { stdout } = await runProgram([
        "grep",
        "-rlE",
        "--exclude=x.tar.gz",
        `${planted}|PRIVATE KEY|client-key`,
        dir,
      ]);
      equal(stdout, "");
      const again = await runProgram(command, { env: plainEnvironment() });
      equal(again.code, 1, "a file that is there is kept");
      match(again.stderr, /code: dump-unwritable/);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test("explain: without the right to look, one line says which one is missing", async ({ world, ns }) => {
    const kubeconfig = await world.api.kubeconfig("nobody", ["nobodies"]);
    const { code, stderr } = await runProgram([
      ...programCommand(),
      "explain",
      `${ns.name}/web`,
      "--kubeconfig",
      kubeconfig,
    ], {
      env: plainEnvironment(),
    });
    equal(code, 1);
    match(stderr, /^error: .*forbidden/im);
  });
}
