// Rules from the text that `iptables -S`, `iptables-save` and our own restore input have in common: the inverse of render_rule.ts.
// Reads only what this program writes; anything else is an error, so that neither a test nor an answer overlooks a rule. Pure.
import { type Protocol, PROTOCOLS } from "../../core/shared/ip.ts";
import { CHANCE_UNITS } from "./render_rule.ts";
import type { Chain, Match, Rule, TableName, Target } from "./ruleset.ts";

/** The chains of each table whose names begin with `prefix`, in the order of the text. */
export function parseSave(text: string, prefix: string): Readonly<Record<TableName, readonly Chain[]>> {
  const tables: Record<TableName, Map<string, Rule[]>> = { nat: new Map(), filter: new Map() };
  let chains: Map<string, Rule[]> | undefined;
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) chains = line === "*nat" ? tables.nat : line === "*filter" ? tables.filter : undefined;
    const declared = /^(?::|-N )(\S+)/.exec(line)?.[1];
    if (declared?.startsWith(prefix)) chains?.set(declared, []);
    const added = /^-A (\S+) (.*)$/.exec(line);
    const [, name = "", spec = ""] = added ?? [];
    if (added && name.startsWith(prefix)) chains?.get(name)?.push(parseRule(spec));
  }
  const list = (of: Map<string, Rule[]>): Chain[] => [...of].map(([name, rules]) => ({ name, rules }));
  return { nat: list(tables.nat), filter: list(tables.filter) };
}

/**
 * The rule that `spec` (without `-A CHAIN`) means.
 * @throws {SyntaxError} If it has anything that this program never writes
 */
export function parseRule(spec: string): Rule {
  const words = new Words(spec.match(/"[^"]*"|\S+/g) ?? []);
  const match: { -readonly [Key in keyof Match]: Match[Key] } = {};
  let comment: string | undefined;
  let target: Target | undefined;
  while (!words.isEmpty) {
    const negated = words.accept("!") ? { negated: true as const } : {};
    const word = words.next();
    if (word === "-s") match.source = { cidr: words.next(), ...negated };
    else if (word === "-d") match.destination = { cidr: words.next(), ...negated };
    else if (word === "-p") match.protocol = protocolOf(words.next());
    else if (word === "-j") target = parseTarget(words);
    else if (word === "-m") {
      const name = words.next();
      if (name === "comment") {
        words.expect("--comment");
        comment = words.next().replaceAll('"', "");
      } else parseMatch(name, words, match);
    } else throw new SyntaxError(`Unknown word "${word}" in rule "${spec}"`);
  }
  if (!target) throw new SyntaxError(`No target in rule "${spec}"`);
  return { match, ...(comment === undefined ? {} : { comment }), target };
}

function parseMatch(name: string, words: Words, match: { -readonly [Key in keyof Match]: Match[Key] }): void {
  switch (name) {
    case "tcp":
    case "udp":
    case "sctp": {
      words.expect("--dport");
      const [from = "", to = from] = words.next().split(":");
      match.destinationPorts = { from: Number(from), to: Number(to) };
      return;
    }
    case "addrtype": {
      const side = words.next();
      words.expect("LOCAL");
      if (side === "--src-type") match.localSource = true;
      else if (side === "--dst-type") match.localDestination = true;
      else throw new SyntaxError(`Unknown option "${side}" of addrtype`);
      return;
    }
    case "mark": {
      const negated = words.accept("!") ? { negated: true as const } : {};
      words.expect("--mark");
      match.mark = { bit: maskedBits(words.next()).bits, ...negated };
      return;
    }
    case "conntrack":
      words.expect("--ctstate");
      if (words.accept("DNAT")) {
        for (const word of ["--ctstatus", "CONFIRMED"]) words.expect(word);
        match.admitted = true;
        return;
      }
      words.expect("RELATED,ESTABLISHED");
      match.established = true;
      return;
    case "statistic":
      for (const word of ["--mode", "random", "--probability"]) words.expect(word);
      match.chance = Math.round(Number(words.next()) * CHANCE_UNITS);
      return;
    case "recent":
      match.recent = parseRecent(words);
      return;
    default:
      throw new SyntaxError(`Unknown match "${name}"`);
  }
}

function parseRecent(words: Words): NonNullable<Match["recent"]> {
  const actions = { "--set": "set", "--rcheck": "check", "--update": "update" } as const;
  const word = words.next();
  const action = actions[word as keyof typeof actions];
  if (!action) throw new SyntaxError(`Unknown option "${word}" of recent`);
  const seconds = words.accept("--seconds") ? { seconds: Number(words.next()) } : {};
  if (seconds.seconds !== undefined) words.expect("--reap");
  words.expect("--name");
  const list = words.next();
  words.expect("--mask");
  words.next();
  words.expect("--rsource");
  return { list, action, ...seconds };
}

function parseTarget(words: Words): Target {
  const name = words.next();
  switch (name) {
    case "ACCEPT":
      return { kind: "accept" };
    case "RETURN":
      return { kind: "return" };
    case "DROP":
      return { kind: "drop" };
    case "REJECT":
      words.expect("--reject-with");
      return { kind: words.next() === "tcp-reset" ? "reset" : "reject" };
    case "MARK": {
      words.expect("--set-xmark");
      const { bits, mask } = maskedBits(words.next());
      return bits === 0 ? { kind: "clear-mark", bits: mask } : { kind: "set-mark", bits };
    }
    case "DNAT": {
      words.expect("--to-destination");
      const [, bracketed, plain, port] = /^(?:\[(.*)\]|([\d.]+)):(\d+)$/.exec(words.next()) ?? [];
      const ip = bracketed ?? plain;
      if (ip === undefined) throw new SyntaxError("Unknown form of --to-destination");
      return { kind: "dnat", ip, port: Number(port) };
    }
    case "MASQUERADE":
      return { kind: "masquerade", randomFully: words.accept("--random-fully") };
    default:
      if (name === name.toUpperCase() && !name.includes("-")) throw new SyntaxError(`Unknown target "${name}"`);
      return { kind: "jump", chain: name };
  }
}

function maskedBits(text: string): { readonly bits: number; readonly mask: number } {
  const [bits = "", mask = ""] = text.split("/");
  return { bits: Number(bits), mask: Number(mask) };
}

function protocolOf(word: string): Protocol {
  const protocol = PROTOCOLS.find((one) => one.toLowerCase() === word);
  if (!protocol) throw new SyntaxError(`Unknown protocol "${word}"`);
  return protocol;
}

class Words {
  readonly #words: readonly string[];
  #position = 0;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  get isEmpty(): boolean {
    return this.#position >= this.#words.length;
  }

  next(): string {
    const word = this.#words[this.#position++];
    if (word === undefined) throw new SyntaxError(`Rule "${this.#words.join(" ")}" ends too early`);
    return word;
  }

  accept(word: string): boolean {
    const isNext = this.#words[this.#position] === word;
    if (isNext) this.#position++;
    return isNext;
  }

  expect(word: string): void {
    const next = this.next();
    if (next !== word) throw new SyntaxError(`"${next}" instead of "${word}" in rule "${this.#words.join(" ")}"`);
  }
}
