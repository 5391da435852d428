// What goes wrong with a test world's network: cables that are pulled, ways that are cut, packets that are lost. Each fault is undone by what it returns.
import type { Host } from "./net_topology.ts";
import type { Netns } from "./netns.ts";

/** Ends a fault. */
export type EndFault = () => Promise<void>;

/** A machine on the LAN, with its pods' ranges if it is a node. */
type Machine = Pick<Host, "ns" | "ip4" | "ip6"> & { readonly podCidrs?: readonly string[] };

/** Takes a machine off the LAN at the switch: its own link stays up, and nothing comes through. */
export async function pullCable(lan: Netns, { ns }: Pick<Host, "ns">): Promise<EndFault> {
  const index = (await ns.run("cat", ["/sys/class/net/eth0/iflink"])).trim();
  const links = await lan.run("ip", ["-o", "link"]);
  const port = links.split("\n").map((line) => /^(\d+): ([^@:]+)/.exec(line)).find((match) => match?.[1] === index)
    ?.[2];
  if (port === undefined) throw new Error(`No port of the LAN has the index ${index}`);
  await lan.ip(`link set ${port} nomaster`);
  return () => lan.ip(`link set ${port} master lan`);
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
