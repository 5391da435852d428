// What a dump takes of this host: rules, logs, metrics of the programs that run here. Asks only; what is not there is said in its place. Adapter.
import { get } from "node:http";
import { errorMessage } from "../../core/shared/errors.ts";
import type { Exec } from "../../node_agent/host/exec.ts";
import type { TarFile } from "./tar.ts";

/** Files about this host, not yet redacted. */
export async function readLocal(exec: Exec, signal: AbortSignal): Promise<readonly TarFile[]> {
  const commands = await Promise.all(COMMANDS.map(async ([path, command, keep]): Promise<TarFile> => {
    const [program = "", ...args] = command;
    try {
      const { code, stdout, stderr } = await exec.run(program, args, { timeoutMs: COMMAND_TIMEOUT_MS, signal });
      const lines = stdout.split("\n").filter((line) => keep?.test(line) ?? true).slice(-MAX_LINES);
      return { path, text: code === 0 ? lines.join("\n") : `${command.join(" ")}: exit code ${code}\n${stderr}` };
    } catch (error) {
      signal.throwIfAborted();
      return { path, text: `${command.join(" ")}: ${errorMessage(error)}\n` };
    }
  }));
  const metrics = await Promise.all(
    METRICS.map(async ([path, url]): Promise<TarFile> => ({ path, text: await readUrl(url, signal) })),
  );
  return [...commands, ...metrics];
}

/** Not by `fetch`, which would ask the proxy that the environment names. */
function readUrl(url: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const asked = get(url, { signal, timeout: COMMAND_TIMEOUT_MS }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => text += part);
      answer.on("end", () => resolve(text));
      answer.on("error", (error) => resolve(`${url}: ${errorMessage(error)}\n`));
    });
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", (error) => resolve(`${url}: ${errorMessage(error)}\n`));
  });
}

/** Our own chains, and the jumps that lead to them. */
const OURS = /^\*|K3SLB-|^COMMIT/;
const COMMANDS: readonly (readonly [string, readonly string[], RegExp?])[] = [
  ...["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"].map((name) =>
    [`host/${name}.txt`, [`${name}-save`, "-c"], OURS] as const
  ),
  ["host/chains.txt", ["nft", "list", "chains"]],
  ["host/addresses.txt", ["ip", "-brief", "address"]],
  ["host/kernel.txt", ["uname", "-a"]],
  ...["k3slb-server", "k3slb-agent"].map((unit) =>
    [`logs/${unit}.txt`, ["journalctl", "--no-pager", "-o", "short-iso-precise", "-n", "5000", "-u", unit]] as const
  ),
];
const METRICS: readonly (readonly [string, string])[] = [
  ["metrics/server.txt", "http://127.0.0.1:10260/metrics"],
  ["metrics/server-ready.txt", "http://127.0.0.1:10260/readyz?verbose"],
  ["metrics/agent.txt", "http://127.0.0.1:10261/metrics"],
  ["metrics/agent-ready.txt", "http://127.0.0.1:10261/readyz?verbose"],
];
const COMMAND_TIMEOUT_MS = 10_000;
const MAX_LINES = 50_000;
