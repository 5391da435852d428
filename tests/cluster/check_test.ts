// `k3slb check` on healthy and broken nodes. `k3slb probe`: what a Service's published addresses answer from a client's place.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CheckRow } from "../../cli/check/checks.ts";
import type { ProbeAnswer } from "../../cli/probe/probe_result.ts";
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, NODES, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../core/service/cluster_facts.ts";
import { enterWorld } from "../support/netns.ts";
import { runProgram, type RunResult } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { plainEnvironment, programCommand } from "../support/world_node.ts";
import { worldSuite } from "../support/world_suite.ts";

/** Runs the program on node1 as the administrator of the cluster. */
async function k3slb(world: World, ...words: readonly string[]): Promise<RunResult> {
  const kubeconfig = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
  const command = world.node("node1").ns.command([...programCommand(), ...words, "--kubeconfig", kubeconfig]);
  return await runProgram(command, { env: plainEnvironment() });
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("probe: a served Service connects at every address, TCP with latency, UDP with an answer", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.createService({
      name: "web",
      ports: [
        { port, targetPort: 8080 },
        { port, targetPort: 8080, protocol: "UDP" },
      ],
    });
    await ns.waitForIngress("web", world.nodeIps);
    const { code, stdout, stderr } = await k3slb(world, "probe", `${ns.name}/web`, "-o", "json");
    equal(code, 0, stderr + stdout);
    const { results, addresses }: ProbeAnswer = JSON.parse(stdout);
    deepEqual([...addresses].sort(), [...world.nodeIps].sort());
    equal(results.length, 2 * addresses.length);
    for (const { protocol, state, latencyMs = -1 } of results) {
      equal(state, protocol === "TCP" ? "Connected" : "Answered");
      ok(latencyMs >= 0);
    }
    const http = await k3slb(world, "probe", `${ns.name}/web`, "--http", "/", "-o", "json");
    equal(http.code, 0, http.stderr + http.stdout);
    const asked: ProbeAnswer = JSON.parse(http.stdout);
    for (const { protocol, state, httpStatus } of asked.results) {
      deepEqual([state, httpStatus], protocol === "TCP" ? ["Connected", 200] : ["Answered", undefined]);
    }
  });

  test("probe --from-all: every node connects to every address; one that can't is told from the others, and nothing stays", async ({ world, ns }) => {
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.createService({ name: "web", ports: [{ port, targetPort: 8080 }] });
    await ns.waitForIngress("web", world.nodeIps);
    const probe = async (): Promise<{ readonly code: number; readonly answer: ProbeAnswer }> => {
      const { code, stdout, stderr } = await k3slb(world, "probe", `${ns.name}/web`, "--from-all", "-o", "json");
      ok(stdout.startsWith("{"), stderr);
      return { code, answer: JSON.parse(stdout) };
    };
    const said = ({ results }: ProbeAnswer): readonly string[] =>
      results.map(({ from, address, state }) => `${from} ${address} ${state}`).sort();
    const wanted = ["node1", "node2"].flatMap((from) => world.nodeIps.map((ip) => `${from} ${ip} Connected`)).sort();
    const { code, answer } = await probe();
    deepEqual(said(answer), wanted);
    deepEqual([code, answer.silent], [0, []]);
    const node2 = world.node("node2");
    // Before kube-proxy, which would make it a connection to the pod.
    const { ip4 } = world.node("node1");
    const drop = ["OUTPUT", "-d", ip4, "-p", "tcp", "--dport", String(port), "-j", "DROP"];
    await node2.ns.run("iptables", ["-t", "raw", "-A", ...drop]);
    const shut = await probe();
    await node2.ns.run("iptables", ["-t", "raw", "-D", ...drop]);
    equal(shut.code, 1);
    deepEqual(
      said(shut.answer),
      wanted.map((row) => row === `node2 ${ip4} Connected` ? row.replace("Connected", "TimedOut") : row),
    );
    await waitUntil("request and answers to be gone", async () => {
      const facts = await world.admin.get(CONFIG_MAPS, { namespace: "kube-system", name: FACTS_CONFIG_MAP });
      const nodes = await world.admin.list(NODES);
      return [facts, ...nodes.items].every(({ metadata }) =>
        !/"k3slb\.io\/probed?"/.test(JSON.stringify(metadata?.annotations))
      );
    });
  });

  test("probe: a Service that nobody serves is refused, and says what to ask next", async ({ world, ns }) => {
    const port = world.port();
    await ns.createService({ name: "web", app: "nobody", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    const { code, stdout } = await waitUntil("the probe to fail", async () => {
      const result = await k3slb(world, "probe", "svc/web", "-n", ns.name);
      return result.code === 1 && result;
    });
    equal(code, 1);
    match(stdout, new RegExp(`${port}/TCP\\s+Refused`));
    match(stdout.replaceAll(/\s+/g, " "), new RegExp(`k3slb explain ${ns.name}/web`));
  });

  test("probe: no address, no route and no answer are told apart", async ({ world, ns }) => {
    await ns.createService({ name: "far", ports: [world.port()], annotations: { "k3slb.io/enabled": "false" } });
    const none = await k3slb(world, "probe", `${ns.name}/far`);
    equal(none.code, 1);
    match(none.stderr, /has no published address[\s\S]*hint: Its reason: k3slb explain/);
    await world.admin.patch(SERVICES, { namespace: ns.name, name: "far" }, {
      type: "merge",
      body: { status: { loadBalancer: { ingress: [{ ip: "198.51.100.9" }] } } },
    }, { subresource: "status" });
    const node = world.node("node1").ns;
    for (const route of [[], ["unreachable"]]) {
      if (route.length > 0) await node.run("ip", ["route", "add", ...route, "198.51.100.9/32"]);
      const { code, stdout } = await k3slb(world, "probe", `${ns.name}/far`, "-o", "json");
      if (route.length > 0) await node.run("ip", ["route", "del", ...route, "198.51.100.9/32"]);
      equal(code, 1);
      const { results }: ProbeAnswer = JSON.parse(stdout);
      deepEqual(results.map((row) => row.state), ["NoRoute"], stdout);
    }
    const drop = ["OUTPUT", "-d", "198.51.100.9", "-j", "DROP"];
    await node.run("sh", ["-c", "ip route add 198.51.100.9/32 via $0", world.node("node2").ip4]);
    await node.run("iptables", ["-A", ...drop]);
    const late = await k3slb(world, "probe", `${ns.name}/far`, "-o", "json");
    await node.run("iptables", ["-D", ...drop]);
    await node.run("ip", ["route", "del", "198.51.100.9/32"]);
    equal(late.code, 1);
    const { results }: ProbeAnswer = JSON.parse(late.stdout);
    deepEqual(results.map((row) => row.state), ["TimedOut"]);
  });

  test("check: a healthy node has no failure; each broken fact is the only one", async ({ world }) => {
    const node = world.node("node1");
    const kubeconfig = await node.kubeconfig();
    const check = async (...words: readonly string[]): Promise<{ code: number; rows: readonly CheckRow[] }> => {
      const command = [...programCommand(), "check", "-o", "json", "--kubeconfig", kubeconfig, ...words];
      const { code, stdout, stderr } = await runProgram(node.ns.command(command), { env: plainEnvironment() });
      ok(stdout.startsWith("["), stderr);
      return { code, rows: JSON.parse(stdout) };
    };
    const crossed = async (...words: readonly string[]): Promise<readonly string[]> => {
      const { code, rows } = await check(...words);
      const failed = rows.filter(({ result }) => result === "failed");
      equal(code, failed.length);
      return failed.map((row) => row.check);
    };
    deepEqual(await crossed(), []);
    const { rows } = await check();
    deepEqual(rows.filter(({ result }) => result === "ok").map((row) => row.check).slice(0, 3), [
      "iptables",
      "iptables-backends",
      "ipv4-forwarding",
    ]);
    match(rows.find((row) => row.check === "versions")?.message ?? "", /\(this program, the server, node1\)$/);
    // The agent puts it right within seconds.
    await node.stopAgent();
    try {
      await node.ns.run("sh", ["-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"]);
      deepEqual(await crossed(), ["ipv4-forwarding"]);
      await node.ns.run("sh", ["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
      deepEqual(await crossed("--node-name", "nobody"), ["node-name"]);
      await node.ns.run("nft", [
        "add table inet fw; add chain inet fw f { type filter hook forward priority 5; policy drop; }",
      ]);
      deepEqual(await crossed(), ["foreign-firewall"]);
      await node.ns.run("nft", ["delete table inet fw"]);
      await node.ns.run("iptables-legacy", ["-A", "INPUT", "-j", "ACCEPT"]);
      deepEqual(await crossed(), ["iptables-backends"]);
      await node.ns.run("iptables-legacy", ["-F", "INPUT"]);
      deepEqual(await crossed(), []);
    } finally {
      await node.startAgent();
    }
  });

  test("check: a full table of connections, no iptables, a port that a process has: each is crossed, and nothing else", async ({ world, ns }) => {
    const node = world.node("node1");
    const kubeconfig = await node.kubeconfig();
    const words = [...programCommand(), "check", "-o", "json", "--kubeconfig", kubeconfig];
    const crossedOn = async (before: readonly string[]): Promise<readonly string[]> => {
      const command = node.ns.command([...before, ...words]);
      const { code, stdout, stderr } = await runProgram(command, { env: plainEnvironment() });
      const failed = (JSON.parse(stdout) as CheckRow[]).filter(({ result }) => result === "failed");
      equal(code, failed.length, stderr);
      return failed.map(({ check, message }) => check === "taken-ports" ? message : check);
    };
    deepEqual(await crossedOn([]), []);
    // A value that a namespace can't set is one that is mounted over.
    const script = 'printf 1 > "$0/max" && printf 1 > "$0/count" && P=/proc/sys/net/netfilter/nf_conntrack &&' +
      ' mount --bind "$0/max" ${P}_max && mount --bind "$0/count" ${P}_count && exec "$@"';
    const dir = mkdtempSync(join(tmpdir(), "k3slb-check-"));
    try {
      deepEqual(await crossedOn(["unshare", "--mount", "sh", "-c", script, dir]), ["conntrack-table"]);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
    const hide = 'for dir in /usr/sbin /sbin; do mount -t tmpfs none "$dir"; done; exec "$@"';
    deepEqual(await crossedOn(["unshare", "--mount", "sh", "-c", hide, "sh"]), ["iptables"]);
    const port = world.port();
    await node.ns.listen({ protocol: "tcp", port, name: "squatter" });
    await ns.createService({ name: "web", ports: [port] });
    const [said = "", ...others] = await waitUntil("the port to be named", async () => {
      const found = await crossedOn([]);
      return found.length > 0 && found;
    });
    deepEqual(others, []);
    match(
      said,
      new RegExp(`^process ".+" \\(pid \\d+\\) on this node has ${port}/TCP of ${ns.name}/web: not served here$`),
    );
    await ns.deleteService("web");
    await node.ns.unlisten({ protocol: "tcp", port, name: "squatter" });
  });

  test("check: what credentials may not do is named, for both programs, and nothing else is crossed", async ({ world }) => {
    const missing = async (user: string, groups: readonly string[], program: string): Promise<readonly string[]> => {
      const kubeconfig = await world.api.kubeconfig(user, groups);
      const args = [
        ...["check", "-o", "json", "--program", program, "--node-name", "node1"],
        "--kubeconfig",
        kubeconfig,
      ];
      const command = world.node("node1").ns.command([...programCommand(), ...args]);
      const { code, stdout, stderr } = await runProgram(command, { env: plainEnvironment() });
      const failed = (JSON.parse(stdout) as CheckRow[]).filter(({ result }) => result === "failed");
      equal(code, failed.length, stderr);
      return failed.map(({ check, message }) => `${check}: ${message}`);
    };
    deepEqual(await missing(SERVER_USER, ["system:masters"], "server"), []);
    deepEqual(await missing("system:node:node1", ["system:nodes"], "agent"), []);
    const rules = [
      { apiGroups: [""], resources: ["services", "pods", "nodes"], verbs: ["get", "list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
      { apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] },
      { apiGroups: [""], resources: ["pods/status"], verbs: ["patch"] },
    ];
    const metadata = { name: "almost-an-agent" };
    const subjects = [{ kind: "User", name: "almost", apiGroup: "rbac.authorization.k8s.io" }];
    const roleRef = { kind: "ClusterRole", name: metadata.name, apiGroup: "rbac.authorization.k8s.io" };
    await world.admin.apply(CLUSTER_ROLES, { metadata, rules } as KubeObject);
    await world.admin.apply(CLUSTER_ROLE_BINDINGS, { metadata, subjects, roleRef } as KubeObject);
    const said = await waitUntil("one right to be missing", async () => {
      const found = await missing("almost", ["somebody"], "agent");
      return found.length === 1 && found;
    });
    deepEqual(said, ["rights: these credentials may not: patch nodes --subresource=status"]);
  });
}
