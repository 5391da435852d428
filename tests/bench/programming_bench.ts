// What it takes to bring rules into the kernel, as the agent does it: a plan goes into `Dataplane.apply`, and it is in the kernel when that
// resolves. Every Service has 10 endpoints, half of them on the node.
import { readFileSync, rmSync } from "node:fs";
import { createDataplane } from "../../node_agent/rules/dataplane.ts";
import type { Dataplane, ForwardedPort, ForwardingPlan } from "../../node_agent/dataplane_contract.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import { DEFAULT_MARK_BITS } from "../../node_agent/rules/parse_mark_bits.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { Netns } from "../support/netns.ts";
import { portOf } from "../support/netns_dataplane.ts";
import type { BenchContext } from "./bench_context.ts";
import { restore } from "./forwarding_paths.ts";
import { renderKubeProxyRules } from "./kube_proxy_rules.ts";
import { duration, type Figure, judged } from "./report.ts";
import { median, percentile } from "./stats.ts";

const ENDPOINTS = 10;
const NODE_IP = "172.30.0.11";

/** One size. */
interface Size {
  readonly services: number;
  /** kube-proxy's rules for the same Services and endpoints are in the kernel too. */
  readonly besideKubeProxy: boolean;
}

/** Full restore, one changed endpoint, and the tool's memory, for growing counts of Services. */
export async function benchProgramming(context: BenchContext): Promise<void> {
  const sizes: readonly Size[] = context.quick
    ? [{ services: 10, besideKubeProxy: false }, { services: 500, besideKubeProxy: false }]
    : [
      ...[10, 100, 500, 2000].map((services) => ({ services, besideKubeProxy: false })),
      { services: 500, besideKubeProxy: true },
    ];
  const rows: (readonly string[])[] = [];
  const figures: Figure[] = [];
  for (const size of sizes) {
    const result = await measureSize(size, context.quick);
    const name = `${size.services}${size.besideKubeProxy ? " beside kube-proxy's" : ""}`;
    const p99 = percentile(result.changeMs, 0.99);
    rows.push([
      name,
      duration(median(result.fullMs)),
      duration(median(result.changeMs)),
      duration(p99),
      duration(Math.max(...result.changeMs)),
      `${(result.fullKb / 1024).toFixed(0)} / ${(result.changeKb / 1024).toFixed(0)} MiB`,
      `${result.fullMs.length} / ${result.changeMs.length}`,
    ]);
    if (size.services !== 500) continue;
    figures.push(judged(
      {
        what: `one endpoint changed, ${name} Services x ${ENDPOINTS}: p99`,
        value: duration(p99),
        count: result.changeMs.length,
      },
      p99,
      { value: 100, direction: "at most", unit: "ms" },
    ));
  }
  context.print(`\nServices x ${ENDPOINTS} endpoints; memory is iptables-restore's peak`);
  context.table(
    ["Services", "all rules", "one endpoint p50", "p99", "max", "memory all / one", "n all / one"],
    rows,
  );
  context.figures(figures);
}

interface SizeResult {
  readonly fullMs: readonly number[];
  readonly changeMs: readonly number[];
  readonly fullKb: number;
  readonly changeKb: number;
}

async function measureSize(size: Size, quick: boolean): Promise<SizeResult> {
  await using ns = await Netns.create("node");
  if (size.besideKubeProxy) await restore(ns, renderKubeProxyRules(proxied(size.services)));
  const fullMs: number[] = [];
  const repetitions = quick || size.services > 1000 ? 3 : 7;
  let dataplane = await dataplaneIn(ns);
  for (let i = 0; i < repetitions; i++) {
    await dataplane.remove();
    dataplane = await dataplaneIn(ns);
    fullMs.push(await timeApply(dataplane, planOf(size.services, new Map())));
  }
  const changeMs: number[] = [];
  const changes = quick ? 30 : size.services > 1000 ? 60 : 200;
  const moved = new Map<number, number>();
  for (let i = 0; i < changes; i++) {
    // Another Service each time, spread over all of them.
    const service = (i * 7919) % size.services;
    moved.set(service, (moved.get(service) ?? 0) + 1);
    changeMs.push(await timeApply(dataplane, planOf(size.services, moved)));
  }
  await dataplane.remove();
  return { fullMs, changeMs, ...await measureMemory(ns, size.services) };
}

async function timeApply(dataplane: Dataplane, plan: ForwardingPlan): Promise<number> {
  const startMs = performance.now();
  const { failures } = await dataplane.apply(plan);
  const ms = performance.now() - startMs;
  if (failures.length > 0) throw new Error(`Rules failed: ${failures[0]?.reason}`);
  return ms;
}

/** Once more with every tool under `time`: that costs a process, so it is not what is timed. */
async function measureMemory(ns: Netns, services: number): Promise<Pick<SizeResult, "fullKb" | "changeKb">> {
  const file = `/tmp/k3slb-bench-${ns.name}.txt`;
  const dataplane = await dataplaneIn(ns, ["time", "-q", "-a", "-o", file, "-f", "%M"]);
  const peakKb = async (plan: ForwardingPlan): Promise<number> => {
    rmSync(file, { force: true });
    await dataplane.apply(plan);
    return Math.max(...readFileSync(file, "utf8").trim().split("\n").map(Number));
  };
  const fullKb = await peakKb(planOf(services, new Map()));
  const changeKb = await peakKb(planOf(services, new Map([[0, 1]])));
  rmSync(file, { force: true });
  return { fullKb, changeKb };
}

function dataplaneIn(ns: Netns, around: readonly string[] = []): Promise<Dataplane> {
  return createDataplane({
    iptablesMode: "auto",
    markBits: DEFAULT_MARK_BITS,
    log: SILENT_LOGGER,
    host: {
      exec: createExec({ prefix: ns.command(around) }),
      // An agent reads these from its own namespace, without a process.
      readSysctl: () => Promise.resolve("0"),
      localIps: () => Promise.resolve([NODE_IP]),
    },
  });
}

/** `moved`: how often one endpoint of a Service has moved. */
function planOf(services: number, moved: ReadonlyMap<number, number>): ForwardingPlan {
  return {
    podCidrs: ["10.42.1.0/24"],
    ports: Array.from({ length: services }, (_, i): ForwardedPort =>
      portOf({
        service: `s${i}`,
        port: 10_001 + i,
        families: ["IPv4"],
        endpoints: endpointIps(i, moved.get(i) ?? 0).map((ip, k) => ({ ip, port: 8080, local: k % 2 === 0 })),
      })),
  };
}

function endpointIps(service: number, moves: number): readonly string[] {
  const ips = Array.from({ length: ENDPOINTS }, (_, k) => `10.${60 + k}.${service >> 8}.${service & 255}`);
  return moves === 0 ? ips : [`10.${100 + moves % 100}.${service >> 8}.${service & 255}`, ...ips.slice(1)];
}

function proxied(services: number): Parameters<typeof renderKubeProxyRules>[0] {
  return Array.from({ length: services }, (_, i) => ({
    name: `s${i}`,
    clusterIp: `10.43.${i >> 8}.${i & 255}`,
    port: 10_001 + i,
    protocols: ["tcp"] as const,
    endpoints: endpointIps(i, 0).map((ip) => `${ip}:8080`),
    ingressIp: NODE_IP,
  }));
}
