// What goes wrong with a test world's network: cables that are pulled, ways that are cut, packets that are lost or late. Each fault is undone by what
// it returns.
import { accessSync, constants } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Host } from "./net_topology.ts";
import type { Netns } from "./netns.ts";

/** Ends a fault. */
export type EndFault = () => Promise<void>;

/** A machine on the LAN, with its pods' ranges if it is a node. */
type Machine = Pick<Host, "ns" | "ip4" | "ip6"> & { readonly podCidrs?: readonly string[] };

/** Takes a machine off the LAN at the switch: its own link stays up, and nothing comes through. */
export async function pullCable(lan: Netns, machine: Pick<Host, "ns">): Promise<EndFault> {
  const port = await portOf(lan, machine);
  await lan.ip(`link set ${port} nomaster`);
  return () => lan.ip(`link set ${port} master lan`);
}

/** All that a machine sends and gets is `delayMs` late each way, and a share `loss` of it is lost each way; needs {@linkcode slowLineObstacle} to be `undefined`. */
export async function slowLine(
  lan: Netns,
  machine: Pick<Host, "ns">,
  { delayMs, loss }: { readonly delayMs: number; readonly loss: number },
): Promise<EndFault> {
  const port = await portOf(lan, machine);
  const [bridge, near, far] = [`${port}-slow`, `${port}-near`, `${port}-far`];
  const program = fileURLToPath(new URL("./slow_line.ts", import.meta.url));
  const args = ["run", "--no-config", "--allow-ffi", program, near, far, String(delayMs), String(loss)];
  const line = lan.spawn(Deno.execPath(), args, { stdout: "piped", stderr: "inherit" });
  const said = await line.stdout.getReader().read();
  if (said.done) throw new Error("The slow line has ended");
  await lan.ip(
    `link add ${bridge} type bridge`,
    `link set ${bridge} up`,
    `link set ${far} master ${bridge} up`,
    `link set ${near} master lan up`,
    `link set ${port} master ${bridge}`,
  );
  return async () => {
    await lan.ip(`link set ${port} master lan`, `link del ${bridge}`);
    line.kill("SIGKILL");
    await line.status;
  };
}

/** Why this machine has no {@linkcode slowLine}. */
export function slowLineObstacle(): string | undefined {
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return "/dev/net/tun can't be used";
  }
}

/** Name of the bridge's port that a machine's cable is in. */
async function portOf(lan: Netns, { ns }: Pick<Host, "ns">): Promise<string> {
  const index = (await ns.run("cat", ["/sys/class/net/eth0/iflink"])).trim();
  const links = await lan.run("ip", ["-o", "link"]);
  const port = links.split("\n").map((line) => /^(\d+): ([^@:]+)/.exec(line)).find((match) => match?.[1] === index)
    ?.[2];
  if (port === undefined) throw new Error(`No port of the LAN has the index ${index}`);
  return port;
}

/** Two machines that hear nothing of each other, nor of each other's pods; everybody else hears both. */
export async function cutBetween(a: Machine, b: Machine): Promise<EndFault> {
  const ends = await Promise.all([
    dropPackets(a.ns, sourcesOf(b)),
    dropPackets(b.ns, sourcesOf(a)),
  ]);
  return async () => void await Promise.all(ends.map((end) => end()));
}

/** A share of all packets that come to a machine is lost. */
export function losePackets({ ns }: Pick<Host, "ns">, share: number): Promise<EndFault> {
  return dropPackets(ns, [["-i", "eth0", "-m", "statistic", "--mode", "random", "--probability", String(share)]]);
}

/** A firewall of a machine drops connects to TCP ports of its own. */
export function closePorts({ ns }: Pick<Host, "ns">, ...ports: readonly number[]): Promise<EndFault> {
  return dropPackets(ns, ports.map((port) => ["-i", "eth0", "-p", "tcp", "--dport", String(port)]));
}

function sourcesOf({ ip4, ip6, podCidrs = [] }: Machine): readonly (readonly string[])[] {
  return [ip4, ip6, ...podCidrs].filter((source) => source !== "").map((source) => ["-s", source]);
}

/** Before connection tracking and everybody's rules. */
async function dropPackets(ns: Netns, matches: readonly (readonly string[])[]): Promise<EndFault> {
  const run = async (action: "-I" | "-D"): Promise<void> => {
    for (const match of matches) {
      const isIpv6 = match[0] === "-s" && (match[1] ?? "").includes(":");
      const isIpv4 = match[0] === "-s" && !isIpv6;
      for (const tool of [...(isIpv6 ? [] : ["iptables"]), ...(isIpv4 ? [] : ["ip6tables"])]) {
        await ns.run(tool, ["-w", "-t", "raw", action, "PREROUTING", ...match, "-j", "DROP"]);
      }
    }
  };
  await run("-I");
  return () => run("-D");
}
