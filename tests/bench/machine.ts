// What the figures were measured on: processor, memory, kernel, tools.
import { cpus, loadavg, release, totalmem } from "node:os";
import { execHere } from "../support/netns.ts";

/** A few lines, one fact each. */
export async function describeMachine(program: string): Promise<string> {
  const first = async (command: string, ...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await execHere(command, args).catch(() => ({ code: 127, stdout: "", stderr: "" }));
    const text = (stdout.trim() || stderr.trim()).split("\n")[0] ?? "";
    return code === 127 ? `${command} is missing` : text;
  };
  const [load] = loadavg();
  return [
    `- date: ${new Date().toISOString().slice(0, 10)}`,
    `- machine: ${cpus().length} cores of ${cpus()[0]?.model ?? "?"}, ${
      (totalmem() / 2 ** 30).toFixed(0)
    } GiB, Linux ${release()}`,
    `- load before the run: ${load?.toFixed(1)} (above 0.5 figures are rough; trust ratios)`,
    `- tools: ${await first("iptables", "--version")}, ${await first("conntrack", "--version")}, wrk ${
      (await first("wrk", "--version")).split(" ")[1]
    }, Deno ${Deno.version.deno}`,
    `- program: k3slb ${await versionOf(program)}`,
  ].join("\n");
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await execHere(program, ["version", "-o", "json"]);
  const { version, commit, runtime } = JSON.parse(stdout) as Readonly<Record<string, string>>;
  return `${version}, commit ${commit}, ${runtime}`;
}
