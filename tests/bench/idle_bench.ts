// What the programs cost while nothing happens: processor time of an agent and a server with one Service, the tools that they run included.
// Counted by the kernel, so other load on the machine does not show.
import { readFileSync } from "node:fs";
import { startWorld, type World } from "../support/world.ts";
import type { BenchContext } from "./bench_context.ts";
import { type Figure, judged } from "./report.ts";

/** Time in milliseconds in which what a start leaves behind comes to rest. */
const SETTLE_MS = 45_000;
const MEASURE_MS = 300_000;
const QUICK_MS = 40_000;

/** One node, one Service in both families, runtime settings as in the units. */
export async function benchIdle(context: BenchContext): Promise<void> {
  const world = await startWorld({ server: "memory", nodes: 1 });
  try {
    const ns = await world.namespace("idle");
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [world.port()] });
    await ns.waitForIngress("web", world.nodeIps);
    context.figures(await idleFigures(world, context.quick));
  } finally {
    await world.stop();
  }
}

/** What the first node's agent and the server take while nothing happens; they are given time to come to rest first. */
export async function idleFigures(world: World, quick: boolean): Promise<readonly Figure[]> {
  const agent = world.node("node1").agent;
  const [server] = world.servers;
  if (agent === undefined || server === undefined) throw new TypeError("The world has no agent or no server");
  await pause(quick ? SETTLE_MS / 3 : SETTLE_MS);
  const measureMs = quick ? QUICK_MS : MEASURE_MS;
  const before = [agent, server].map(({ pid }) => processorTime(pid));
  const startMs = performance.now();
  await pause(measureMs);
  const seconds = (performance.now() - startMs) / 1000;
  return [{ what: "agent", pid: agent.pid, limit: 3 }, { what: "server", pid: server.pid, limit: 1 }]
    .map(({ what, pid, limit }, i): Figure => {
      const [from, to] = [before[i], processorTime(pid)];
      const own = (to.ownMs - (from?.ownMs ?? 0)) / seconds;
      const tools = (to.toolsMs - (from?.toolsMs ?? 0)) / seconds;
      return judged(
        {
          what: `idle ${what} with one Service`,
          value: `${(own + tools).toFixed(2)} ms/s`,
          detail: `own ${own.toFixed(2)}, tools ${tools.toFixed(2)}; over ${seconds.toFixed(0)} s`,
          count: 1,
        },
        own + tools,
        { value: limit, direction: "at most", unit: "ms/s" },
      );
    });
}

/** Processor time of a process, and of the children that it has waited for (proc_pid_stat(5), in ticks of 10 ms). */
function processorTime(pid: number): { readonly ownMs: number; readonly toolsMs: number } {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in brackets, may contain anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ").map(Number);
  const [user = 0, system = 0, childUser = 0, childSystem = 0] = fields.slice(11, 15);
  return { ownMs: (user + system) * 10, toolsMs: (childUser + childSystem) * 10 };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
