// The program on real nodes, installed as people install it. As pods, from the image that a release ships: the chart with every value set, an upgrade
// from the version before under traffic, the way out; and the plain manifest. Agents work on the host's iptables with two capabilities, and write
// about their own node only. As services of the hosts: host_upgrade.ts.
// Alone: `K3SLB_WORLD=nodes deno test -A tests/nodes/in_cluster_test.ts`, as root.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { valueNames } from "../support/chart_values.ts";
import { NODES } from "../../core/kube/resources.ts";
import type { Node } from "../../core/kube/types.ts";
import { NODE_REPORT_ANNOTATION } from "../../core/service/labels.ts";
import { heartbeatOf } from "../../core/service/node_report.ts";
import { ensureHelmProgram } from "../support/helm_program.ts";
import { enterWorld } from "../support/netns.ts";
import { PROGRAM_IMAGE, programImage, pulledImage } from "../support/program_image.ts";
import { runProgram } from "../support/programs.ts";
import { openTestClient } from "../support/test_client.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";
import { chains, hostUpgradeTests } from "./host_upgrade.ts";

const DEPLOY = fileURLToPath(new URL("../../deploy", import.meta.url));
const CHART = join(DEPLOY, "chart");
/** NET_ADMIN and NET_RAW (linux/capability.h: 12 and 13). */
const AGENT_CAPABILITIES = "0000000000003000";
const NO_CAPABILITIES = "0000000000000000";
const INTERVAL_MS = 25;

/** Every value of the schema, as somebody may set it. */
const SETTINGS: readonly string[] = [
  `image.repository=${PROGRAM_IMAGE}`,
  "image.pullPolicy=Never",
  "image.pullSecrets={of-a-registry}",
  "server.enabled=true",
  "server.replicas=1",
  "server.disable={coredns,traefik,helm}",
  "server.clusterAdmin=false",
  "server.args={--log-level=debug}",
  "server.resources.limits.memory=300Mi",
  "server.nodeSelector.kubernetes\\.io/os=linux",
  "server.tolerations[0].operator=Exists",
  "agent.enabled=true",
  "agent.args={--log-level=debug}",
  "agent.resources.limits.memory=300Mi",
  "agent.nodeSelector.kubernetes\\.io/os=linux",
  "agent.tolerations[0].operator=Exists",
  "agent.nodePolicy=true",
  "servicelbNamespace=lb",
];

/** Kinds of which nothing may be left. */
const KINDS = "serviceaccounts,deployments,daemonsets,replicasets,roles,rolebindings,leases,secrets,configmaps," +
  "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,crds";

/** What Kubernetes makes in every namespace, and what is left on purpose: docs/removing.md. */
const STAYS =
  /^serviceaccount\/default$|^configmap\/kube-root-ca\.crt$|^customresourcedefinition.*\/addons\.k3s\.cattle\.io$/;

async function kubectl(world: World, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram([...world.api.kubectl, ...words]);
  equal(code, 0, `kubectl ${words.join(" ")}: ${stderr}\n${code === 0 ? "" : await pods(world)}`);
  return stdout.trim();
}

async function pods(world: World): Promise<string> {
  const shown = await runProgram([
    ...world.api.kubectl,
    "describe",
    "pods",
    "-A",
    "-l",
    "app.kubernetes.io/name=k3slb",
  ]);
  const logs: string[] = [];
  for (const namespace of ["k3slb", "kube-system"]) {
    const words = ["logs", "-n", namespace, "-l", "app.kubernetes.io/name=k3slb", "--tail=20", "--prefix"];
    logs.push((await runProgram([...world.api.kubectl, ...words])).stdout);
  }
  return `${shown.stdout.slice(-4000)}\n${logs.join("\n")}`;
}

/** Nodes of a test world have no default route, which those of a cluster do; kube-proxy swaps the API server's cluster address on its way out. */
async function addServiceRoute(world: World): Promise<void> {
  for (const { ns } of world.nodes) {
    const { code, stderr } = await ns.exec("ip", ["route", "replace", "10.43.0.0/16", "dev", "eth0"]);
    equal(code, 0, stderr);
  }
}

/** Names of all objects of {@linkcode KINDS}. */
async function objects(world: World): Promise<readonly string[]> {
  const names = (await kubectl(world, "get", KINDS, "-A", "-o", "name")).split("\n");
  return names.filter((name) => !STAYS.test(name)).sort();
}

/** Nodes that still say something of an agent. */
async function marks(world: World): Promise<readonly string[]> {
  const { items } = await world.admin.list(NODES, {});
  const isMarked = (node: Node): boolean =>
    heartbeatOf(node) !== undefined || NODE_REPORT_ANNOTATION in (node.metadata?.annotations ?? {});
  return items.filter(isMarked).map(({ metadata }) => metadata?.name ?? "");
}

/** Effective capabilities and user of the processes `k3slb NAME` in pods. */
function rightsOf(name: string): readonly { readonly capabilities: string; readonly uid: string }[] {
  return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid)).flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith(`/usr/bin/k3slb\0${name}\0`)) return [];
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      return [{
        capabilities: /^CapEff:\t(\w+)$/m.exec(status)?.[1] ?? "",
        uid: /^Uid:\t(\d+)/m.exec(status)?.[1] ?? "",
      }];
    } catch {
      return []; // It has ended meanwhile.
    }
  });
}

/** What the API server says to the token of the agent on node1 that writes about `node`. */
async function writeAs(world: World, namespace: string, node: string): Promise<string> {
  const onNode1 = ["-l", "app.kubernetes.io/component=agent", "--field-selector", "spec.nodeName=node1"];
  const pod = await kubectl(
    world,
    "get",
    "pods",
    "-n",
    namespace,
    ...onNode1,
    "-o",
    "jsonpath={.items[0].metadata.name}",
  );
  const bound = ["--bound-object-kind", "Pod", "--bound-object-name", pod];
  const token = await kubectl(world, "create", "token", "k3slb-agent", "-n", namespace, ...bound);
  const file = join(mkdtempSync(join(tmpdir(), "k3slb-token-")), "kubeconfig");
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster: { server: world.api.url, "certificate-authority": world.api.caFile } }],
      users: [{ name: "agent", user: { token } }],
      contexts: [{ name: "test", context: { cluster: "test", user: "agent" } }],
      "current-context": "test",
    }),
  );
  const client = await openTestClient(file, "agent's token");
  try {
    const body = { status: { conditions: [{ type: "k3slb.io/Test", status: "True", reason: "Test", message: "" }] } };
    await client.patch(NODES, { name: node }, { type: "strategic", body }, { subresource: "status" });
    return "taken";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    client.close();
    rmSync(join(file, ".."), { recursive: true });
  }
}

if (await enterWorld(import.meta.url)) {
  // The one of now by way of a registry and the archive for hosts without internet access.
  const images = [programImage("before"), await pulledImage("now")];
  const skip = images[1] === undefined
    ? { skip: "the image was not made: tests/run.ts with the suite nodes makes it" }
    : {};
  const test = worldSuite({
    nodes: 2,
    servers: 0,
    agents: false,
    images: images.filter((archive) => archive !== undefined),
  });
  const before = images[0] === undefined ? "now" : "before";

  test(
    "chart: every value set, a Service served, upgraded without a failed connection, and gone",
    async ({ world, ns }) => {
      const schema = JSON.parse(readFileSync(join(CHART, "values.schema.json"), "utf8"));
      deepEqual(
        valueNames(schema).filter((name) => name !== "image.tag" && !SETTINGS.some((one) => one.startsWith(name))),
        [],
      );
      const program = await ensureHelmProgram();
      const home = mkdtempSync(join(tmpdir(), "k3slb-helm-"));
      const kubeconfig = await world.api.kubeconfig("admin", ["system:masters"]);
      const helm = async (...words: readonly string[]): Promise<void> => {
        const command = [program, ...words, "--namespace", "k3slb", "--kubeconfig", kubeconfig];
        const { code, stdout, stderr } = await runProgram(command, { env: { HOME: home } });
        equal(code, 0, `helm ${words.join(" ")}: ${stderr}${stdout}\n${code === 0 ? "" : await pods(world)}`);
      };
      await addServiceRoute(world);
      const waits = ["--wait", "--timeout", "90s"];
      await kubectl(world, "create", "namespace", "k3slb");
      await kubectl(world, "create", "namespace", "lb");
      const atFirst = await objects(world);
      deepEqual(await chains(world), []);

      const set = [...SETTINGS, `image.tag=${before}`].flatMap((setting) => ["--set", setting]);
      await helm("install", "k3slb", CHART, ...set, ...waits);
      const port = world.port();
      await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
      await ns.createService({ name: "web", ports: [port] });
      await ns.waitForIngress("web", world.nodeIps, 60_000);
      const requests = world.nodeIps.map((ip) => ({ protocol: "tcp", ip, port, timeoutMs: 5_000 }) as const);
      for (const request of requests) await world.waitForAnswer(world.client, request);
      ok((await chains(world)).length > 0);
      const [agents, servers] = [rightsOf("agent"), rightsOf("server")];
      deepEqual(agents, world.nodes.map(() => ({ capabilities: AGENT_CAPABILITIES, uid: "0" })));
      deepEqual(servers, [{ capabilities: NO_CAPABILITIES, uid: "65532" }]);
      equal(await writeAs(world, "k3slb", "node1"), "taken");
      match(
        await writeAs(world, "k3slb", "node2"),
        /writes about its own node only: this one is on "node1", not on "node2"/,
      );

      const flow = await world.client.ns.startFlow(requests, INTERVAL_MS);
      await helm(
        "upgrade",
        "k3slb",
        CHART,
        "--reuse-values",
        "--set",
        "image.tag=now",
        "--set",
        "server.replicas=2",
        ...waits,
      );
      await kubectl(world, "rollout", "status", "-n", "k3slb", "daemonset/k3slb-agent", "--timeout=60s");
      const counts = await flow.stop();
      ok(counts.every((count) => (count["answer"] ?? 0) > 100), JSON.stringify(counts));
      deepEqual(counts.map((count) => Object.keys(count)), counts.map(() => ["answer"]), JSON.stringify(counts));
      await waitUntil("two servers", () => rightsOf("server").length === 2, { explain: () => pods(world) });
      deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());

      // As docs/removing.md says.
      const leave = ["server.disable={servicelb,coredns,traefik,helm}", "agent.args={--remove-rules}"];
      await helm(
        "upgrade",
        "k3slb",
        CHART,
        "--reuse-values",
        ...leave.flatMap((setting) => ["--set", setting]),
        ...waits,
      );
      await kubectl(world, "wait", "--for=delete", "role/k3slb-agent-facts", "-n", "lb", "--timeout=60s");
      await waitUntil("the load balancer to have left", async () => {
        return await kubectl(world, "get", "daemonsets", "-A", "-l", "k3slb.io/dataplane", "-o", "name") === "";
      }, { deadlineMs: 60_000, explain: () => pods(world) });
      await kubectl(world, "rollout", "status", "-n", "k3slb", "daemonset/k3slb-agent", "--timeout=60s");
      deepEqual(await ns.ingress("web"), []);
      await helm("uninstall", "k3slb", ...waits);
      const service = await ns.service("web");
      deepEqual(service.metadata?.finalizers ?? [], []);
      deepEqual([await chains(world), await marks(world)], [[], []]);
      deepEqual((await objects(world)).filter((name) => !atFirst.includes(name)), []);
      rmSync(home, { recursive: true });
      await ns.deleteService("web");
    },
    skip,
  );

  test(
    "deploy/k3slb.yaml: applied as it is but for the image's name, a Service is served, and deleted again",
    async ({ world, ns }) => {
      const text = readFileSync(join(DEPLOY, "k3slb.yaml"), "utf8").replaceAll(
        /image: .*$/gm,
        `image: ${PROGRAM_IMAGE}:now`,
      );
      const file = join(mkdtempSync(join(tmpdir(), "k3slb-manifest-")), "k3slb.yaml");
      writeFileSync(file, text);
      await addServiceRoute(world);
      await kubectl(world, "apply", "--server-side", "-f", file);
      const port = world.port();
      await ns.createApp({ name: "web", nodes: ["node1"] });
      await ns.createService({ name: "web", ports: [port] });
      await ns.waitForIngress("web", world.nodeIps, 90_000);
      for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
      await ns.deleteService("web");
      // As docs/removing.md says.
      const disable = { op: "add", path: "/spec/template/spec/containers/0/args/-", value: "--disable=servicelb" };
      const inSystem = ["-n", "kube-system"];
      await kubectl(
        world,
        "patch",
        "deployment/k3slb-server",
        ...inSystem,
        "--type=json",
        "-p",
        JSON.stringify([disable]),
      );
      await kubectl(world, "set", "env", ...inSystem, "daemonset/k3slb-agent", "K3SLB_REMOVE_RULES=true");
      await kubectl(world, "wait", ...inSystem, "--for=delete", "role/k3slb-agent-facts", "--timeout=60s");
      await kubectl(world, "rollout", "status", ...inSystem, "daemonset/k3slb-agent", "--timeout=60s");
      await kubectl(world, "delete", "-f", file, "--timeout=60s");
      await waitUntil("the programs to have ended", () => rightsOf("agent").length + rightsOf("server").length === 0, {
        deadlineMs: 60_000,
        explain: () => pods(world),
      });
      rmSync(join(file, ".."), { recursive: true });
      deepEqual([await chains(world), await marks(world)], [[], []]);
      deepEqual((await objects(world)).filter((name) => name.includes("k3slb")), []);
    },
    skip,
  );

  hostUpgradeTests(test);
}
