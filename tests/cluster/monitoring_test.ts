// docs/monitoring against the running programs and a real Prometheus: what the page lists is what is offered, the rules and the dashboard ask
// for what there is, each alert fires when it should, and a Prometheus that scrapes server and agents reads it all.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseYaml } from "../../core/shared/yaml.ts";
import { enterWorld } from "../support/netns.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { runProgram, startProgram } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";

const DOCS = fileURLToPath(new URL("../../docs/monitoring/", import.meta.url));
const SERVER = "127.0.0.1:10260";
const PROMETHEUS = "127.0.0.1:9090";

interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
}

interface AlertRule {
  readonly alert: string;
  readonly expr: string;
}

interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

async function scrape(address: string): Promise<string> {
  const answer = await fetch(`http://${address}/metrics`);
  equal(answer.status, 200);
  return await answer.text();
}

/** The metrics of an exposition, with the labels that their series have now. */
function metricsOf(text: string): readonly Metric[] {
  return [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => {
    const series = [...text.matchAll(new RegExp(`^${name}(?:_sum)?\\{(.*)\\} `, "gm"))].map((found) => found[1] ?? "");
    const labels = series.flatMap((list) => [...list.matchAll(/(\w+)="/g)].map((found) => found[1] ?? ""));
    return { name, type, labels: [...new Set(labels)].sort() };
  });
}

/** The rows of the page's table. */
function documented(program: string): readonly Metric[] {
  const page = readFileSync(`${DOCS}README.md`, "utf8");
  return [...page.matchAll(/^\| `(\w+)(?:\{(.+)\})?` \| (\w+) \| (\w+) \| [^|]+ \|$/gm)]
    .filter(([, , , , of]) => of === program || of === "both")
    .map(([, name = "", labels, type = ""]) => ({ name, type, labels: labels?.split(", ").sort() ?? [] }));
}

function alertRules(): readonly AlertRule[] {
  const { groups } = parseYaml(readFileSync(`${DOCS}alerts.yaml`, "utf8")) as {
    readonly groups: readonly { readonly rules: readonly AlertRule[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

/** Series, one value a minute, and what is to be firing at the end; each shows that it is silent without the trouble too. */
const ALERT_CASES: readonly {
  readonly alert: string;
  readonly series: Readonly<Record<string, string>>;
  readonly quiet: Readonly<Record<string, string>>;
}[] = [
  {
    alert: "K3slbNoActiveServer",
    series: { 'k3slb_server_leading{instance="a"}': "0x90" },
    quiet: { 'k3slb_server_leading{instance="a"}': "1x90" },
  },
  {
    alert: "K3slbSeveralActiveServers",
    series: { 'k3slb_server_leading{instance="a"}': "1x90", 'k3slb_server_leading{instance="b"}': "1x90" },
    quiet: { 'k3slb_server_leading{instance="a"}': "1x90", 'k3slb_server_leading{instance="b"}': "0x90" },
  },
  {
    alert: "K3slbServiceNotServed",
    series: { 'k3slb_services{served="false",reason="PortTaken"}': "2x90" },
    quiet: { 'k3slb_services{served="true",reason="Served"}': "2x90" },
  },
  {
    alert: "K3slbServicePartlyServed",
    series: { 'k3slb_services{served="true",reason="PartlyServed"}': "1x90" },
    quiet: { 'k3slb_services{served="true",reason="Served"}': "1x90" },
  },
  {
    alert: "K3slbAgentDown",
    series: { 'up{job="k3slb-agent",instance="n"}': "0x90" },
    quiet: { 'up{job="k3slb-agent",instance="n"}': "1x90" },
  },
  {
    alert: "K3slbRulesRefused",
    series: { 'k3slb_agent_reconcile_errors_total{instance="n",code="iptables-failed"}': "0+1x90" },
    quiet: { 'k3slb_agent_reconcile_errors_total{instance="n",code="iptables-failed"}': "3x90" },
  },
  {
    alert: "K3slbRulesContested",
    series: { 'k3slb_agent_repairs_total{instance="n"}': "0+1x90" },
    quiet: { 'k3slb_agent_repairs_total{instance="n"}': "9x90" },
  },
  {
    alert: "K3slbProgrammingSlow",
    series: {
      'k3slb_agent_programming_latency_seconds_bucket{instance="n",le="5"}': "0x90",
      'k3slb_agent_programming_latency_seconds_bucket{instance="n",le="10"}': "0+1x90",
      'k3slb_agent_programming_latency_seconds_bucket{instance="n",le="+Inf"}': "0+1x90",
    },
    quiet: {
      'k3slb_agent_programming_latency_seconds_bucket{instance="n",le="5"}': "0+1x90",
      'k3slb_agent_programming_latency_seconds_bucket{instance="n",le="+Inf"}': "0+1x90",
    },
  },
  {
    alert: "K3slbReconcileFailing",
    series: { 'k3slb_reconcile_errors_total{instance="s",queue="services"}': "0+1x90" },
    quiet: { 'k3slb_reconcile_errors_total{instance="s",queue="services"}': "1x90" },
  },
  {
    alert: "K3slbApiErrors",
    series: {
      'k3slb_api_requests_total{instance="s",verb="get",code="200"}': "0+8x90",
      'k3slb_api_requests_total{instance="s",verb="get",code="kube-unreachable"}': "0+2x90",
    },
    quiet: {
      'k3slb_api_requests_total{instance="s",verb="get",code="200"}': "0+8x90",
      'k3slb_api_requests_total{instance="s",verb="get",code="409"}': "0+2x90",
    },
  },
  {
    alert: "K3slbVersionsDiffer",
    series: { 'k3slb_build_info{version="1"}': "1x90", 'k3slb_build_info{version="2"}': "1x90" },
    quiet: { 'k3slb_build_info{version="1",instance="a"}': "1x90", 'k3slb_build_info{version="1"}': "1x90" },
  },
];

/** Asks the running Prometheus. */
async function query(expression: string): Promise<readonly Sample[]> {
  const answer = await fetch(`http://${PROMETHEUS}/api/v1/query?query=${encodeURIComponent(expression)}`);
  const { status, error, data } = await answer.json() as {
    readonly status: string;
    readonly error?: string;
    readonly data?: { readonly result: readonly Sample[] };
  };
  equal(status, "success", `${expression}: ${error}`);
  return data?.result ?? [];
}

/** Runs `body` while a Prometheus scrapes server and agents, with the rules of docs/monitoring. */
async function withPrometheus(agents: readonly string[], body: () => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "k3slb-prometheus-"));
  const config = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: ["${DOCS}alerts.yaml"]
scrape_configs:
  - job_name: k3slb-server
    static_configs: [{targets: ["${SERVER}"]}]
  - job_name: k3slb-agent
    static_configs: [{targets: ${JSON.stringify(agents)}}]
`;
  writeFileSync(join(dir, "prometheus.yml"), config);
  const program = startProgram({
    name: "prometheus",
    command: [
      "prometheus",
      `--config.file=${dir}/prometheus.yml`,
      `--storage.tsdb.path=${dir}/data`,
      `--web.listen-address=${PROMETHEUS}`,
    ],
    logFile: join(dir, "log"),
  });
  try {
    await waitUntil("Prometheus to see all", async () => (await query("up == 1")).length === agents.length + 1, {
      explain: () => program.logTail(),
    });
    await body();
  } finally {
    await program.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Has the agents answer on their nodes' own addresses. */
async function openAgents(world: World): Promise<readonly string[]> {
  const addresses = world.nodes.map(({ ip4 }) => `${ip4}:10261`);
  for (const [index, node] of world.nodes.entries()) {
    await node.stopAgent();
    await node.startAgent({ args: ["--metrics-address", addresses[index] ?? ""] });
  }
  for (const address of addresses) {
    await waitUntil(`${address} to be ready`, async () => (await fetch(`http://${address}/readyz`)).ok, {
      explain: () => world.logs(),
    });
  }
  return addresses;
}

if (await enterWorld(import.meta.url)) {
  ensureTools(["monitoring"], (line) => void process.stdout.write(`${line}\n`));
  const test = worldSuite({ nodes: 2 });

  Deno.test("docs/monitoring/alerts.yaml: each alert fires on its trouble and is silent without it", async () => {
    const checked = await runProgram(["promtool", "check", "rules", `${DOCS}alerts.yaml`]);
    equal(checked.code, 0, checked.stderr);
    deepEqual(alertRules().map(({ alert }) => alert), ALERT_CASES.map(({ alert }) => alert), "each alert has a case");
    const dir = mkdtempSync(join(tmpdir(), "k3slb-alerts-"));
    try {
      const file = join(dir, "cases.json");
      const test = (alert: string, series: Readonly<Record<string, string>>, fires: boolean): object => ({
        interval: "1m",
        input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
        promql_expr_test: [{
          expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`,
          eval_time: "90m",
          exp_samples: fires ? [{ labels: "{}", value: 1 }] : [],
        }],
      });
      const tests = ALERT_CASES.flatMap(({ alert, series, quiet }) => [
        test(alert, series, true),
        test(alert, quiet, false),
      ]);
      writeFileSync(file, JSON.stringify({ rule_files: [`${DOCS}alerts.yaml`], evaluation_interval: "1m", tests }));
      const { code, stdout, stderr } = await runProgram(["promtool", "test", "rules", file]);
      equal(code, 0, stdout + stderr);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  test("metrics: the page lists what is offered; Prometheus reads it, and rules and dashboard ask for what there is", async ({ world, ns }) => {
    const agents = await openAgents(world);
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
    await ns.createService({ name: "web", ports: [{ port, targetPort: 8080 }] });
    await ns.waitForIngress("web", world.nodeIps);
    await ns.createService({ name: "late", app: "web", ports: [port] });
    await ns.waitForCondition("late", ({ reason }) => reason === "PortTaken");
    for (let i = 0; i < 3; i++) {
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: agents[0]?.split(":")[0] ?? "", port });
    }
    for (const [program, address] of [["server", SERVER], ["agent", agents[0] ?? ""]] as const) {
      const text = await scrape(address);
      const checked = await runProgram(["promtool", "check", "metrics"], { input: text });
      equal(checked.stdout + checked.stderr, "", program);
      equal(checked.code, 0, program);
      const offered = [...metricsOf(text)].sort((a, b) => a.name < b.name ? -1 : 1);
      const listed = documented(program);
      deepEqual(offered.map(({ name, type }) => `${name} ${type}`), listed.map(({ name, type }) => `${name} ${type}`));
      for (const { name, labels } of offered) {
        const known = listed.find((one) => one.name === name)?.labels ?? [];
        deepEqual(labels.filter((label) => !known.includes(label) && label !== "le"), [], name);
      }
    }
    await withPrometheus(agents, async () => {
      const value = async (expression: string): Promise<number> => Number((await query(expression))[0]?.value[1]);
      equal(await value("sum(k3slb_server_leading)"), 1);
      equal(await value('k3slb_services{served="false",reason="PortTaken"}'), 1);
      equal(await value('k3slb_services{served="true",reason="Served"}'), 1);
      const node1 = `{instance="${agents[0]}",service="web",namespace="${ns.name}"}`;
      ok(await value(`sum(k3slb_agent_service_connections_total${node1})`) >= 3);
      equal(await value(`sum(k3slb_agent_ports)`), 2);
      const names = new Set(
        [...documented("server"), ...documented("agent")].flatMap(({ name, type }) =>
          type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]
        ),
      );
      const { panels } = JSON.parse(readFileSync(`${DOCS}dashboard.json`, "utf8")) as {
        readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
      };
      // Two scrapes give a rate.
      await waitUntil("rates", async () => (await query("rate(process_cpu_seconds_total[1m])")).length === 3);
      for (const { title, targets } of panels) {
        for (const { expr } of targets) {
          for (const [name] of expr.matchAll(/\bk3slb_\w+/g)) ok(names.has(name), `${title}: ${name}`);
          const now = await query(expr.replaceAll("$__rate_interval", "1m"));
          if (!MAYBE_EMPTY.test(expr)) ok(now.length > 0, `${title} shows nothing: ${expr}`);
        }
      }
      for (const { alert, expr } of alertRules()) {
        for (const [name] of expr.matchAll(/\bk3slb_\w+/g)) ok(names.has(name), `${alert}: ${name}`);
      }
      const pending = await waitUntil("the alert to wait for its time", async () => {
        const found = await query("ALERTS");
        return found.length > 0 && found;
      });
      deepEqual([...new Set(pending.map(({ metric }) => metric["alertname"]))], ["K3slbServiceNotServed"]);
      await world.servers[0]?.kill();
      await waitUntil("nobody to be active", async () => (await query('up{job="k3slb-server"} == 0')).length === 1);
      match(JSON.stringify(await query("absent(k3slb_server_leading == 1)")), /"1"/);
    });
  });
}

/** What has no series in a cluster that is well: failures by code, and watches that have not ended yet. */
const MAYBE_EMPTY = /k3slb_agent_reconcile_errors_total|k3slb_watch_restarts_total/;
