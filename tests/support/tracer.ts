// Where a packet would go, read from restore text alone: walks the rules as the kernel does for the first packet of a connection.
// A rule that it does not know makes it throw, so no rule is overlooked. Chance and affinity have more than one outcome: all are returned.
import type { IpFamily, Protocol } from "../../core/shared/ip.ts";
import { ipRangeContains, parseIpRange } from "../../core/shared/ip_ranges.ts";
import { parseSave } from "./parse_save.ts";
import { CHANCE_UNITS } from "../../node_agent/rules/render_rule.ts";
import type { MarkBits, Match, Rule } from "../../node_agent/rules/ruleset.ts";

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

/** What happens to it, with its chance. `dest` is PASS if none of our rules takes it. */
export interface Outcome {
  readonly dest: string;
  readonly masquerade: boolean;
  readonly chance: number;
}

interface State {
  readonly mark: number;
  readonly chance: number;
}

type Verdict = { readonly state: State; readonly end: string | undefined };

/** Every outcome of `packet` under the rules of `text`, likeliest first. */
export function tracePacket(
  text: string,
  packet: Packet,
  options: { marks: MarkBits; family: IpFamily },
): readonly Outcome[] {
  const { nat, filter } = parseSave(text, "K3SLB-");
  const chains = new Map([...nat, ...filter].map((chain) => [chain.name, chain.rules]));
  const walk = (name: string, state: State, packet: Packet): readonly Verdict[] => {
    const rules = chains.get(name);
    if (!rules) throw new Error(`Chain "${name}" is not there`);
    let open: State[] = [state];
    const ended: Verdict[] = [];
    for (const rule of rules) {
      const next: State[] = [];
      for (const current of open) {
        const hit = matches(rule.match, packet, current, options);
        if (hit < 1) next.push({ ...current, chance: current.chance * (1 - hit) });
        if (hit === 0) continue;
        for (const verdict of follow(rule, { ...current, chance: current.chance * hit }, packet)) {
          if (verdict.end === undefined) next.push(verdict.state);
          else ended.push(verdict);
        }
      }
      open = next;
    }
    return [...ended, ...open.map((left) => ({ state: left, end: undefined }))];
  };
  const follow = (rule: Rule, state: State, packet: Packet): readonly Verdict[] => {
    const { target } = rule;
    switch (target.kind) {
      case "jump":
        return walk(target.chain, state, packet).map((verdict) =>
          verdict.end === "RETURN" ? { ...verdict, end: undefined } : verdict
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
  };
  const outcomes = new Map<string, Outcome>();
  for (const { state, end } of walk("K3SLB-SERVICES", { mark: 0, chance: 1 }, packet)) {
    const isForwarded = end !== undefined && end !== "ACCEPT";
    const input = isForwarded ? [] : walk("K3SLB-INPUT", state, packet);
    const dest = isForwarded ? end : input[0]?.end ?? "PASS";
    const translated = { ...packet, to: dest.split(" ")[0] ?? "" };
    if (isForwarded && walk("K3SLB-FORWARD", state, translated)[0]?.end !== "ACCEPT") {
      throw new Error(`Packet to ${end} is not accepted in FORWARD`);
    }
    const masquerade = isForwarded &&
      walk("K3SLB-POSTROUTING", state, translated).some(({ end }) => end === "MASQUERADE");
    const key = `${dest} ${masquerade}`;
    outcomes.set(key, { dest, masquerade, chance: (outcomes.get(key)?.chance ?? 0) + state.chance });
  }
  return [...outcomes.values()].filter((outcome) => outcome.chance > 0).sort((a, b) =>
    b.chance - a.chance || (a.dest < b.dest ? -1 : 1)
  );
}

/** Chance that a rule's match holds. */
function matches(match: Match, packet: Packet, state: State, options: { marks: MarkBits }): number {
  const { source, destination, protocol, destinationPorts, localSource, localDestination, mark, recent } = match;
  if (match.established || match.admitted) return 0;
  if (localDestination) throw new Error("Our own chains see only packets to local addresses");
  if (source && isIn(packet.from, source.cidr) === (source.negated ?? false)) return 0;
  if (destination && isIn(packet.to, destination.cidr) === (destination.negated ?? false)) return 0;
  if (protocol && protocol !== packet.protocol) return 0;
  if (destinationPorts && (packet.port < destinationPorts.from || packet.port > destinationPorts.to)) return 0;
  if (localSource && !packet.fromNode) return 0;
  if (mark) {
    if (!Object.values(options.marks).includes(mark.bit)) throw new Error(`Mark ${mark.bit} is not ours`);
    if (((state.mark & mark.bit) !== 0) === (mark.negated ?? false)) return 0;
  }
  if (recent && recent.action !== "set" && !(packet.remembered ?? []).includes(recent.list)) return 0;
  return match.chance === undefined ? 1 : match.chance / CHANCE_UNITS;
}

function isIn(ip: string, cidr: string): boolean {
  const [outer, inner] = [parseIpRange(cidr), parseIpRange(ip)];
  if (!outer || !inner) throw new Error(`"${cidr}" or "${ip}" is no range`);
  return ipRangeContains(outer, inner);
}
