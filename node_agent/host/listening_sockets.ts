// Sockets that listen on this host, as the kernel lists them in /proc/net/{tcp,tcp6,udp,udp6} (proc_net_tcp.rst), and which of
// them a forwarded port would cut off. Pure; `host_ports.ts` reads the files.
import type { IpFamily, Protocol } from "../../core/shared/ip.ts";
import { canonicalIp, ipRangeContains, isLoopback, parseIpRange } from "../../core/shared/ip_ranges.ts";
import type { ForwardedPort } from "../dataplane_contract.ts";

/** One socket that takes connections or datagrams. */
export interface ListeningSocket {
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Address it is bound to; `0.0.0.0` and `::` stand for all. */
  readonly ip: string;
  /** Port that it listens at. */
  readonly port: number;
  /** Its process, if that could be found out. */
  readonly process?: { readonly name: string; readonly pid: number };
  /** Where its process can't be seen: what its control group is called, such as `nginx.service`. */
  readonly owner?: string;
}

/** A socket with the number by which its process can be found. */
export interface SocketEntry extends ListeningSocket {
  readonly inode: string;
}

/** One of the kernel's tables. */
export interface SocketTable {
  readonly family: IpFamily;
  readonly protocol: "TCP" | "UDP";
  /** The bytes of an address are printed as numbers in the machine's own order. */
  readonly littleEndian: boolean;
}

/** The sockets of a table that listen; lines that don't read as one are passed over. */
export function parseSocketTable(text: string, table: SocketTable): readonly SocketEntry[] {
  return text.split("\n").slice(1).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [address = "", portText = ""] = (fields[1] ?? "").split(":");
    const port = Number.parseInt(portText, 16);
    if (fields[3] !== LISTEN_STATES[table.protocol] || !/^([0-9A-F]{8}){1,4}$/i.test(address) || !(port > 0)) return [];
    return [{ protocol: table.protocol, ip: readAddress(address, table), port, inode: fields[9] ?? "0" }];
  });
}

/** Sockets that would lose connections if `port` was forwarded: bound to all addresses or to one that is matched. Loopback doesn't count. */
export function portListeners<T extends ListeningSocket>(listeners: readonly T[], port: ForwardedPort): readonly T[] {
  return listeners.filter((one) =>
    one.port === port.port && one.protocol === port.protocol && listenerMeets(one.ip, port)
  );
}

/** What a listener is called in messages. */
export function renderListener(listener: ListeningSocket): string {
  const { process, owner = "a process" } = listener;
  return `${process ? `process "${process.name}" (pid ${process.pid})` : owner} on this node`;
}

/** TCP_LISTEN, and TCP_CLOSE as unconnected UDP sockets have it. */
const LISTEN_STATES = { TCP: "0A", UDP: "07" } as const;

function listenerMeets(ip: string, port: ForwardedPort): boolean {
  // A socket on `::` takes IPv4 as well unless it has IPV6_V6ONLY, which the table doesn't show.
  if (ip === "::") return true;
  const address = parseIpRange(ip);
  if (!address || !port.families.includes(address.family)) return false;
  if (ip === "0.0.0.0") return true;
  // No packet of a loopback address is taken, so nothing that listens there loses any.
  if (isLoopback(address)) return false;
  if (!port.matchAddresses) return true;
  return port.matchAddresses.some((text) => {
    const range = parseIpRange(text);
    return range !== undefined && ipRangeContains(range, address);
  });
}

function readAddress(hex: string, table: SocketTable): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => {
    const pairs = (word.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16));
    return table.littleEndian ? pairs.reverse() : pairs;
  });
  if (table.family === "IPv4") return bytes.join(".");
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (mapped) return bytes.slice(12).join(".");
  return renderIpv6(bytes);
}

function renderIpv6(bytes: readonly number[]): string {
  const groups = Array.from(
    { length: 8 },
    (_, i) => (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return canonicalIp(groups.join(":")) ?? groups.join(":");
}
