// What other programs' rules in FORWARD mean for the place of our jump. Pure: reads lines as `iptables -S CHAIN` prints them.
// Ours accepts what is forwarded for a Service, so what should be asked before it must stand before it: the bans of fail2ban, CrowdSec and
// administrators, Docker's chain for users, ufw's rules for routed packets. Only what drops everything must stand behind, as a node with
// such a rule would serve nothing.

/** Lines of the chains that FORWARD jumps to, by name; one that could not be read is absent. */
export type ForeignChains = ReadonlyMap<string, readonly string[]>;

/** Where our jump may stand, counted in rules of others that are before it. */
export interface ForwardPlaces {
  /** Behind all bans. */
  readonly first: number;
  /** Before the first rule that drops everything. */
  readonly last: number;
}

/** What a rule in FORWARD does to packets that our rules would accept. */
type Effect = "ban" | "drops-all" | "drops-others" | "drops-some" | "none";

/** The places that our jump may have among `rules` of others. */
export function forwardPlaces(rules: readonly string[], chains: ForeignChains): ForwardPlaces {
  const effects = rules.map((spec) => effectOf(spec, chains, 0));
  const isOpen = (effect: Effect): boolean => effect === "none" || effect === "ban";
  const end = effects.findIndex((effect) => !isOpen(effect));
  const open = end < 0 ? effects : effects.slice(0, end);
  const drop = effects.indexOf("drops-all");
  return { first: open.lastIndexOf("ban") + 1, last: drop < 0 ? rules.length : drop };
}

/** One sentence for each rule of FORWARD that an operator should know of, where `ahead` of `rules` stand before our jump. */
export function forwardRemarks(rules: readonly string[], chains: ForeignChains, ahead: number): readonly string[] {
  return rules.flatMap((spec, index) => {
    const effect = effectOf(spec, chains, 0);
    if (effect === "drops-all") {
      return [`"${spec}" in FORWARD drops all that is forwarded; Services are served on, by a rule before it`];
    }
    if (index >= ahead) return [];
    if (effect === "drops-some" && !/ --[ds]ports? |(^| )-[sd] /.test(spec)) {
      return [`"${spec}" in FORWARD stands before the Services' rules and may drop their packets`];
    }
    if (effect !== "drops-others") return [];
    return [`Chain ${targetOf(spec)} in FORWARD stands before the Services' rules and drops what it does not accept`];
  });
}

/** Names of the chains that `lines` jump to and whose rules decide where our jump may stand; those of Kubernetes' own programs don't. */
export function foreignTargets(lines: readonly string[]): readonly string[] {
  const targets = lines.flatMap((line) => line.startsWith("-A ") ? targetOf(line) ?? [] : []);
  return [...new Set(targets)].filter((name) => !VERDICTS.has(name) && !CLUSTER_CHAIN_REGEXP.test(name));
}

/** Target of a rule; a goto counts as a jump. */
export function targetOf(spec: string): string | undefined {
  return /(?:^| )-[jg] (\S+)/.exec(spec)?.[1];
}

const DROPS: ReadonlySet<string> = new Set(["DROP", "REJECT"]);
const VERDICTS: ReadonlySet<string> = new Set([
  ...DROPS,
  ...["ACCEPT", "RETURN", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "CT", "SET", "AUDIT", "NFQUEUE", "TRACE"],
]);
/** Programs of the cluster: their chains are no administrator's, and may be empty now and full later. */
const CLUSTER_CHAIN_REGEXP = /^(K3SLB|KUBE|CNI|FLANNEL|cali|CILIUM|WEAVE|ANTREA)[-_]/;
/** Chains for an administrator's own rules, whatever is in them at present. */
const USER_CHAINS: ReadonlySet<string> = new Set(["DOCKER-USER", "ufw-before-forward", "ufw6-before-forward"]);
const MAX_DEPTH = 4;

function effectOf(spec: string, chains: ForeignChains, depth: number): Effect {
  const target = targetOf(spec) ?? "";
  // Whoever looks at packets outside of the kernel may drop any of them.
  if (target === "NFQUEUE") return "ban";
  if (DROPS.has(target)) {
    return isForAll(spec) ? "drops-all" : isBan(spec) ? "ban" : meetsOurs(spec) ? "drops-some" : "none";
  }
  const lines = chains.get(target);
  if (lines === undefined || depth >= MAX_DEPTH) return "none";
  const effect = chainEffect(lines, chains, depth + 1);
  // Who is sent into a chain that drops, as chains that log before they drop are used, is banned.
  if (effect.startsWith("drops") && isBan(spec)) return "ban";
  if (effect === "drops-all" || effect === "drops-others") return isForAll(spec) ? effect : "drops-some";
  return USER_CHAINS.has(target) ? "ban" : effect;
}

/** The effect of a chain on a packet that has entered it. */
function chainEffect(lines: readonly string[], chains: ForeignChains, depth: number): Effect {
  const rules = lines.filter((line) => line.startsWith("-A ")).map((line) => line.replace(/^-A \S+ /, ""));
  let [letsPass, accepts, bans, dropsSome] = [false, false, false, false];
  for (const spec of rules) {
    const target = targetOf(spec) ?? "";
    const isEnd = isForAll(spec);
    if (target === "ACCEPT" || target === "RETURN") {
      accepts ||= target === "ACCEPT";
      if (isEnd) break;
      letsPass = true;
      continue;
    }
    const effect = effectOf(spec, chains, depth);
    if (effect === "drops-all") return letsPass ? "drops-others" : "drops-all";
    if (effect === "drops-others") return effect;
    dropsSome ||= effect === "drops-some";
    bans ||= effect === "ban";
    // What a chain of others accepts is not known to be dropped later.
    if (chains.has(target)) letsPass = true;
  }
  return dropsSome ? "drops-some" : accepts && !bans ? "none" : "ban";
}

/** Whether a rule is for every packet, or at least for every first one of a connection. */
function isForAll(spec: string): boolean {
  const rest = withoutComments(spec)
    .replace(/-m (conntrack --ct|state --)state \S*\bNEW\b\S*/g, "")
    .trim();
  return rest.startsWith("-j ") || rest.startsWith("-g ");
}

/** Whether a rule is for certain senders, as bans are. */
function isBan(spec: string): boolean {
  return BAN_REGEXP.test(withoutComments(spec));
}

function withoutComments(spec: string): string {
  return spec.replace(/-m comment --comment ("(?:[^"\\]|\\.)*"|\S+)/g, "");
}

/** What names senders, or counts each one's packets, unless it is negated: as `iptables -S` prints it. */
const SENDERS: readonly string[] = [
  "-s",
  "--match-set \\S+ src",
  "--(?:src-range|mac-source|src-cc|source-country|ctorigsrc|connlimit-above|hashlimit-above)",
  "--(?:rcheck|update)",
];
const BAN_REGEXP = new RegExp(`(?:^|[^!] )(?:${SENDERS.join("|")})\\b`);

/** Packets that belong to no connection are never ours. */
function meetsOurs(spec: string): boolean {
  return !/(^|[^!]) ?--(ct)?state INVALID( |$)/.test(spec);
}
