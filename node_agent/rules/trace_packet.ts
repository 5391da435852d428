// Where a packet goes, read from the text of the rules alone: walks our chains as the kernel does for the first packet of a connection. Pure.
// A rule that it does not know makes it throw, so no rule is overlooked. Chance and affinity have more than one outcome: all are returned.
// Rules of others are not looked at: ours stand before them (jump_plan.ts), and what is in the way is told by the agent (forward_chain.ts).
import { compareText } from "../../core/shared/compare_text.ts";
import type { Protocol } from "../../core/shared/ip.ts";
import { ipRangeContains, parseIpRange } from "../../core/shared/ip_ranges.ts";
import { present } from "../../core/shared/values.ts";
import { CHAIN_PREFIX, FORWARD_CHAIN, INPUT_CHAIN, POSTROUTING_CHAIN, SERVICES_CHAIN } from "./desired_chain_names.ts";
import { parseSave } from "./parse_save.ts";
import { CHANCE_UNITS } from "./render_rule.ts";
import type { Match, Rule } from "./ruleset.ts";

/** A first packet to an address of the node. */
export interface Packet {
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** The sender is a process of the node. */
  readonly fromNode?: boolean;
  /** Affinity lists that hold the client. */
  readonly remembered?: readonly string[];
}

/** What happens to it, with its chance. */
export interface Outcome {
  /** Address and port with a blank between; `DROP`, `RESET` or `REJECT`; `PASS` if none of our rules takes it. */
  readonly dest: string;
  /** Whether the endpoint sees an address of the node in place of the sender's. */
  readonly masquerade: boolean;
  /** From 0 to 1. */
  readonly chance: number;
  /** The chains on its way; the last one decides. */
  readonly chains: readonly string[];
}

/** Our chains of one address family. */
export interface TracedRules {
  /** The chain that packets enter by, from outside or from this node itself; absent: nothing leads there. */
  readonly entries: { readonly outside?: string; readonly node?: string };
  readonly chains: ReadonlyMap<string, readonly Rule[]>;
}

/**
 * The rules of `text`, which is `iptables-save`'s or what is written by `iptables-restore`; the latter has no built-in chains, and counts as led to.
 * @throws {SyntaxError} If one of our chains has a rule that this program never writes
 */
export function tracedRules(text: string): TracedRules {
  const { nat, filter } = parseSave(text, CHAIN_PREFIX);
  const isWhole = text.includes("\n:PREROUTING ");
  const entryOf = (hook: string): string | undefined =>
    isWhole ? new RegExp(`^-A ${hook} .*-j (${CHAIN_PREFIX}\\S+)$`, "m").exec(text)?.[1] : SERVICES_CHAIN;
  return {
    entries: present({ outside: entryOf("PREROUTING"), node: entryOf("OUTPUT") }),
    chains: new Map([...nat, ...filter].map((chain) => [chain.name, chain.rules])),
  };
}

interface State {
  readonly mark: number;
  readonly chance: number;
  readonly chains: readonly string[];
}

interface Verdict {
  readonly state: State;
  /** Absent: the chain came to its end. */
  readonly end: string | undefined;
}

/**
 * Every outcome of `packet` under `rules`, likeliest first.
 *
 * @param options.localIps Addresses of the node, as far as endpoints may have them: what goes there is not forwarded.
 */
export function tracePacket(
  rules: TracedRules,
  packet: Packet,
  { localIps = [] }: { readonly localIps?: readonly string[] } = {},
): readonly Outcome[] {
  const start: State = { mark: 0, chance: 1, chains: [] };
  const entry = packet.fromNode ? rules.entries.node : rules.entries.outside;
  if (entry === undefined) return [{ dest: "PASS", masquerade: false, chance: 1, chains: [] }];
  const outcomes = new Map<string, Outcome>();
  for (const verdict of walk(rules, entry, { state: start, packet })) {
    const { dest, masquerade } = outcomeOf(rules, verdict, { packet, localIps });
    const { chance, chains } = verdict.state;
    const key = `${dest} ${masquerade}`;
    const known = outcomes.get(key);
    const isTaken = dest !== "PASS";
    outcomes.set(key, {
      dest,
      masquerade,
      chance: (known?.chance ?? 0) + chance,
      chains: known?.chains ?? (isTaken ? chains : []),
    });
  }
  return [...outcomes.values()].filter((outcome) => outcome.chance > 0).sort((a, b) =>
    b.chance - a.chance || compareText(a.dest, b.dest)
  );
}

/** What comes after the nat table's verdict. */
function outcomeOf(
  rules: TracedRules,
  { state, end }: Verdict,
  { packet, localIps }: { readonly packet: Packet; readonly localIps: readonly string[] },
): Pick<Outcome, "dest" | "masquerade"> {
  const isTranslated = end !== undefined && end !== "ACCEPT";
  if (!isTranslated) {
    return { dest: walk(rules, INPUT_CHAIN, { state, packet })[0]?.end ?? "PASS", masquerade: false };
  }
  const translated = { ...packet, to: end.split(" ")[0] ?? "" };
  const staysHere = localIps.includes(translated.to);
  if (!staysHere && walk(rules, FORWARD_CHAIN, { state, packet: translated })[0]?.end !== "ACCEPT") {
    throw new Error(`Packet to ${end} is not accepted in FORWARD`);
  }
  // What stays here leaves by no interface; what a process sends to its own node leaves by the loopback one.
  const leaves = !staysHere || packet.fromNode === true;
  const masquerade = leaves &&
    walk(rules, POSTROUTING_CHAIN, { state, packet: translated }).some(({ end }) => end === "MASQUERADE");
  return { dest: end, masquerade };
}

function walk(
  rules: TracedRules,
  name: string,
  { state, packet }: { readonly state: State; readonly packet: Packet },
): readonly Verdict[] {
  const chain = rules.chains.get(name);
  if (!chain) throw new Error(`Chain "${name}" is not there`);
  let open: State[] = [{ ...state, chains: [...state.chains, name] }];
  const ended: Verdict[] = [];
  for (const rule of chain) {
    const next: State[] = [];
    for (const current of open) {
      const hit = chanceOf(rule.match, packet, current);
      if (hit < 1) next.push({ ...current, chance: current.chance * (1 - hit) });
      if (hit === 0) continue;
      const taken = { ...current, chance: current.chance * hit };
      for (const verdict of follow(rules, rule, { state: taken, packet })) {
        if (verdict.end === undefined) next.push(verdict.state);
        else ended.push(verdict);
      }
    }
    open = next;
  }
  return [...ended, ...open.map((left) => ({ state: left, end: undefined }))];
}

function follow(
  rules: TracedRules,
  { target }: Rule,
  { state, packet }: { readonly state: State; readonly packet: Packet },
): readonly Verdict[] {
  switch (target.kind) {
    case "jump":
      return walk(rules, target.chain, { state, packet }).map((verdict) =>
        verdict.end === undefined || verdict.end === "RETURN"
          ? { state: { ...verdict.state, chains: state.chains }, end: undefined }
          : verdict
      );
    case "set-mark":
      return [{ state: { ...state, mark: (state.mark | target.bits) >>> 0 }, end: undefined }];
    case "clear-mark":
      return [{ state: { ...state, mark: (state.mark & ~target.bits) >>> 0 }, end: undefined }];
    case "dnat":
      return [{ state, end: `${target.ip} ${target.port}` }];
    default:
      return [{ state, end: target.kind.toUpperCase() }];
  }
}

/** Chance that a rule's match holds. */
function chanceOf(match: Match, packet: Packet, state: State): number {
  const { source, destination, protocol, destinationPorts, localSource, localDestination, mark, recent } = match;
  if (match.established || match.admitted) return 0;
  if (localDestination) throw new Error("Our own chains see only packets to local addresses");
  if (source && isIn(packet.from, source.cidr) === (source.negated ?? false)) return 0;
  if (destination && isIn(packet.to, destination.cidr) === (destination.negated ?? false)) return 0;
  if (protocol && protocol !== packet.protocol) return 0;
  if (destinationPorts && (packet.port < destinationPorts.from || packet.port > destinationPorts.to)) return 0;
  if (localSource && !packet.fromNode) return 0;
  if (mark && ((state.mark & mark.bit) !== 0) === (mark.negated ?? false)) return 0;
  if (recent && recent.action !== "set" && !(packet.remembered ?? []).includes(recent.list)) return 0;
  return match.chance === undefined ? 1 : match.chance / CHANCE_UNITS;
}

function isIn(ip: string, cidr: string): boolean {
  const [outer, inner] = [parseIpRange(cidr), parseIpRange(ip)];
  if (!outer || !inner) throw new Error(`"${cidr}" or "${ip}" is no range`);
  return ipRangeContains(outer, inner);
}
