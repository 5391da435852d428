// Output that pages show is the program's own: each block between `<!-- output: NAME -->` and `<!-- /output -->` is made here by the code
// that prints it, from a cluster or a host as the page describes it. K3SLB_UPDATE_GOLDENS=1 writes it into the page.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { describeStep } from "../../../cli/install/install_host.ts";
import { type HostState, installPlan, type Step, uninstallPlan } from "../../../cli/install/install_plan.ts";
import { packetPaths } from "../../../cli/explain/packet_paths.ts";
import { renderPaths } from "../../../cli/explain/render_paths.ts";
import { renderAnswer } from "../../../cli/output/render_answer.ts";
import { runProgram } from "../../../cli/root_command.ts";
import { readService } from "../../../core/service/reading.ts";
import { Answers } from "../../../core/service_lb/answers/explain_service.ts";
import { daemonSetName } from "../../../core/service_lb/daemonset/names.ts";
import { desiredRuleSet } from "../../../node_agent/rules/desired_ruleset.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../node_agent/rules/parse_mark_bits.ts";
import { renderRuleSet } from "../../../node_agent/rules/render_restore.ts";
import { tracedRules } from "../../../node_agent/rules/trace_packet.ts";
import { portWith } from "../../support/plans.ts";
import { node, pod, service, SERVICE_OPTIONS, slice } from "../core/service_lb/fixtures.ts";

const DOCS = fileURLToPath(new URL("../../../docs/", import.meta.url));
const WIDTH = 100;
const DATA_DIR = "/var/lib/rancher/k3s";
const TEXTS = { config: "config", completion: "completion" };
const HOST: HostState = {
  init: "systemd",
  program: "/root/k3slb",
  isSameProgram: false,
  files: new Map(),
  isRunning: false,
  hasOtherRole: false,
};

/** Two nodes are labelled, and on one of them a web server listens. */
function explain(): string {
  const web = service({ name: "web", spec: { loadBalancerClass: "k3slb.io/node-addresses" } });
  const served = { ...web, status: { loadBalancer: { ingress: [{ ip: "192.0.2.11" }] } } };
  const enabled = { labels: { "svccontroller.k3s.cattle.io/enablelb": "true" } };
  const taken = "TCP port 80 is in use by nginx.service on this node; stop it, or allow it with --allow-port-override";
  const answers = new Answers({
    services: [served],
    nodes: [
      node("edge1", { ...enabled, internal: ["192.0.2.11"] }),
      node("edge2", { ...enabled, internal: ["192.0.2.12"] }),
      node("store1", { internal: ["192.0.2.13"] }),
    ],
    pods: [pod(web, "edge1"), pod(web, "edge2", { gate: { reason: "PortInUse", message: taken } })],
    daemonSets: [{ metadata: { ...pod(web, "edge1").metadata, name: daemonSetName(web) } }],
    slices: [slice(web, [{ addresses: ["10.42.0.9"], conditions: { ready: true } }])],
    nowMs: Date.parse("2026-01-01T00:00:00Z"),
  }, {
    ...SERVICE_OPTIONS,
    lbClass: "k3slb.io/node-addresses",
    lbDefault: true,
    nodePortRange: { from: 30000, to: 32767 },
  });
  return renderAnswer(answers.about(served), { width: WIDTH, wide: false });
}

/** A node with one of two pods, asked as root. */
function packets(): string {
  const endpoints = [{ ip: "10.42.1.9", port: 8080, local: true }, { ip: "10.42.2.7", port: 8080, local: false }];
  const plan = { podCidrs: ["10.42.1.0/24"], ports: [portWith({ endpoints })] };
  const features = { randomFully: true, sctp: true, recent: true, bridgeFilter: true };
  const { ruleSet } = desiredRuleSet(plan, "IPv4", { marks: parseMarkBits(DEFAULT_MARK_BITS), features });
  const found = packetPaths({
    reading: readService(service({ name: "web" })),
    ...{ published: ["192.0.2.11"], localIps: ["192.0.2.11"] },
    node: node("edge1", { internal: ["192.0.2.11"], podCidrs: plan.podCidrs }),
    rules: { IPv4: tracedRules(renderRuleSet(ruleSet)) },
  });
  return renderPaths({ node: "edge1", backend: "nft", ...found }, { width: WIDTH, wide: false });
}

/** The host after `steps`. */
function after(steps: readonly Step[]): HostState {
  const files = steps.flatMap((step): [string, string][] =>
    step.do === "write" ? [[step.path, step.text]] : step.do === "link" ? [[step.path, step.target]] : []
  );
  return { ...HOST, files: new Map(files), isSameProgram: true, isRunning: true };
}

function words(steps: readonly Step[]): string {
  return steps.map((step) => `${describeStep(step)}\n`).join("");
}

async function images(): Promise<string> {
  let said = "";
  const code = await runProgram(["images"], {
    env: {},
    stdout: (text) => said += text,
    stderr: (text) => assert.fail(text),
    terminal: () => undefined,
    redraw: (text) => assert.fail(text),
    now: () => 0,
    readTextFile: () => Promise.resolve(undefined),
    listFolder: () => Promise.resolve([]),
    onTermination: () => () => {},
    exit: () => assert.fail("it ended"),
    endSoon: () => assert.fail("it ended"),
  });
  assert.equal(code, 0);
  return said;
}

const AGENT = installPlan({ role: "agent", dataDir: DATA_DIR, start: true }, TEXTS, HOST);
const SERVER = installPlan({ role: "server", dataDir: DATA_DIR, start: true }, TEXTS, HOST);
const OUTPUTS: readonly {
  readonly page: string;
  readonly name: string;
  readonly print: () => string | Promise<string>;
}[] = [
  { page: "troubleshooting.md", name: "explain", print: explain },
  { page: "troubleshooting.md", name: "explain on a node", print: packets },
  { page: "install.md", name: "install agent --dry-run", print: () => words(AGENT) },
  {
    page: "removing.md",
    name: "uninstall server --cluster --dry-run",
    print: () => words(uninstallPlan({ role: "server", cluster: true, dataDir: DATA_DIR }, TEXTS, after(SERVER))),
  },
  { page: "air-gap.md", name: "images", print: images },
];

for (const { page, name, print } of OUTPUTS) {
  Deno.test(`docs/${page}: shows what k3slb ${name} prints`, async () => {
    const path = `${DOCS}${page}`;
    const text = await Deno.readTextFile(path);
    const start = `<!-- output: ${name} -->\n`;
    const from = text.indexOf(start);
    const to = text.indexOf("<!-- /output -->", from);
    assert.ok(from >= 0 && to > from, `no place for it in docs/${page}`);
    const block = `\`\`\`\n${await print()}\`\`\`\n`;
    const wanted = `${text.slice(0, from)}${start}${block}${text.slice(to)}`;
    if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, wanted);
    else assert.equal(text, wanted, "run `deno task docs`");
  });
}
