// IP addresses and CIDR ranges as numbers: parsing, canonical text (RFC 4291, RFC 5952), containment. Pure.
// A bare address is a range of one; bits behind the prefix are cleared, as Go's `net.ParseCIDR` does.
import { isIPv4, isIPv6 } from "node:net";
import type { IpFamily } from "./ip.ts";

/** A range of addresses of one family. */
export interface IpRange {
  /** Address family. */
  readonly family: IpFamily;
  /** First address of the range. */
  readonly value: bigint;
  /** Number of leading bits that all addresses share. */
  readonly prefix: number;
}

/** The range of all addresses of a family. */
export const ALL_ADDRESSES: Readonly<Record<IpFamily, string>> = { IPv4: "0.0.0.0/0", IPv6: "::/0" };

/** Family of an address, `undefined` if `text` is no address. */
export function ipFamilyOf(text: string): IpFamily | undefined {
  if (isIPv4(text)) return "IPv4";
  return isIPv6(text) && !text.includes("%") ? "IPv6" : undefined;
}

/** The range that `ADDRESS/PREFIX` or a bare address means; `undefined` if it is neither. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address = "", prefixText, ...rest] = text.trim().split("/");
  const family = ipFamilyOf(address);
  if (!family || rest.length > 0) return undefined;
  const bits = addressBits(family);
  if (prefixText !== undefined && !/^(0|[1-9]\d{0,2})$/.test(prefixText)) return undefined;
  const prefix = prefixText === undefined ? bits : Number(prefixText);
  if (prefix > bits) return undefined;
  const value = family === "IPv4" ? ipv4Value(address) : ipv6Value(address);
  const hostBits = BigInt(bits - prefix);
  return { family, value: (value >> hostBits) << hostBits, prefix };
}

/** The ranges and addresses in `texts`, of `family` if one is given; what is neither is left out. */
export function parseIpRanges(texts: readonly string[], family?: IpFamily): readonly IpRange[] {
  const ranges = texts.flatMap((text) => parseIpRange(text) ?? []);
  return family === undefined ? ranges : ranges.filter((range) => range.family === family);
}

/** The canonical texts of `ranges`, each once and sorted. */
export function rangeTexts(ranges: readonly IpRange[]): readonly string[] {
  return [...new Set(ranges.map(renderIpRange))].sort();
}

/** `ADDRESS/PREFIX` in canonical form, so that equal ranges have equal texts. */
export function renderIpRange(range: IpRange): string {
  return `${renderAddress(range)}/${range.prefix}`;
}

/** Canonical form of an address, so that equal addresses have equal texts; `undefined` if `text` is no address. */
export function canonicalIp(text: string): string | undefined {
  const address = text.trim();
  // IPv4 has one form only, and is asked for by the thousand.
  if (isIPv4(address)) return address;
  const range = address.includes("/") ? undefined : parseIpRange(address);
  return range && renderAddress(range);
}

/** Whether every address of `inner` is in `outer`. */
export function ipRangeContains(outer: IpRange, inner: IpRange): boolean {
  if (outer.family !== inner.family || outer.prefix > inner.prefix) return false;
  const hostBits = BigInt(addressBits(outer.family) - outer.prefix);
  return outer.value >> hostBits === inner.value >> hostBits;
}

/**
 * Whether every address of `range` means the machine itself: loopback in any spelling (`127.0.0.53`, `::1`, `::ffff:127.0.0.1`), or an
 * unspecified address, which Linux takes for loopback.
 */
export function isLoopback(range: IpRange): boolean {
  return LOOPBACK_RANGES.some((one) => ipRangeContains(one, range));
}

const LOOPBACK_RANGES = parseIpRanges([
  "127.0.0.0/8",
  "0.0.0.0/8",
  "::/127",
  "::ffff:127.0.0.0/104",
  "::ffff:0.0.0.0/104",
  "::127.0.0.0/104",
]);

/** The fewest ranges with the same addresses as the ranges and addresses in `texts`, in canonical form; what is neither is left out. */
export function mergedRanges(texts: readonly string[]): readonly string[] {
  const ranges = new Map<string, IpRange>();
  const waiting = [...parseIpRanges(texts)];
  for (let range = waiting.pop(); range !== undefined; range = waiting.pop()) {
    const { family, value, prefix } = range;
    const bit = 1n << BigInt(addressBits(family) - prefix);
    const sibling = renderIpRange({ ...range, value: value ^ bit });
    if (prefix > 0 && ranges.delete(sibling)) waiting.push({ family, value: value & ~bit, prefix: prefix - 1 });
    else ranges.set(renderIpRange(range), range);
  }
  const all = [...ranges.values()];
  return all.filter((range) => !all.some((other) => other !== range && ipRangeContains(other, range)))
    .map(renderIpRange).sort();
}

function addressBits(family: IpFamily): number {
  return family === "IPv4" ? 32 : 128;
}

function ipv4Value(address: string): bigint {
  return address.split(".").reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function ipv6Value(address: string): bigint {
  const embedded = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (embedded) {
    const low = ipv4Value(embedded[2] ?? "0.0.0.0");
    return ipv6Value(`${embedded[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill("0"), ...right];
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function renderAddress(range: IpRange): string {
  if (range.family === "IPv4") {
    return [24n, 16n, 8n, 0n].map((shift) => ((range.value >> shift) & 0xffn).toString()).join(".");
  }
  const groups = [112n, 96n, 80n, 64n, 48n, 32n, 16n, 0n].map((shift) =>
    ((range.value >> shift) & 0xffffn).toString(16)
  );
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.join(":");
  return `${groups.slice(0, run.start).join(":")}::${groups.slice(run.start + run.length).join(":")}`;
}

function longestZeroRun(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === "0") length++;
    if (length > best.length) best = { start, length };
  }
  return best;
}
