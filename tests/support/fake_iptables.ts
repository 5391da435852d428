// iptables kept in memory: tables with chains of rule texts, `iptables-restore --noflush` and `-S` with the rules that matter here. A
// restore is all or nothing per table, a jump to a missing chain and the deletion of a used one fail, as the kernel has it.
import { K3slbError } from "../../core/shared/errors.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import type { Iptables, IptablesProgram } from "../../node_agent/host/iptables.ts";

const BUILTIN: Readonly<Record<string, readonly string[]>> = {
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};

type Table = Map<string, string[]>;

/** One family's tables. */
export class FakeIptables implements Iptables {
  readonly program: IptablesProgram;
  /** Restores that were run. */
  restores = 0;
  /** Fails the next restores with this error. */
  failure: K3slbError | undefined;
  /** Longest table that is not refused, in characters, as in a user namespace. */
  maxLength = Infinity;
  #tables: Map<string, Table>;

  constructor(family: IpFamily) {
    this.program = { family, backend: "nft", name: family === "IPv4" ? "iptables" : "ip6tables" };
    this.#tables = new Map(
      Object.entries(BUILTIN).map(([table, chains]) => [table, new Map(chains.map((chain) => [chain, []]))]),
    );
  }

  restore(text: string): Promise<void> {
    if (text === "") return Promise.resolve();
    this.restores++;
    if (this.failure) return Promise.reject(this.failure);
    try {
      for (const part of text.split("COMMIT\n").slice(0, -1)) this.#restoreTable(part.trim().split("\n"));
      return Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  listChain(table: string, chain: string): Promise<readonly string[] | undefined> {
    const rules = this.#tables.get(table)?.get(chain);
    return Promise.resolve(rules && [this.#head(chain), ...rules.map((spec) => `-A ${chain} ${spec}`)]);
  }

  /** Every rule counts nothing. */
  async listCounters(table: string, chain: string): Promise<readonly string[] | undefined> {
    return (await this.listChain(table, chain))?.map((line) => line.replace(/ -j /, " -c 0 0 -j "));
  }

  listTable(table: string): Promise<readonly string[]> {
    const chains = [...this.#tables.get(table) ?? []];
    return Promise.resolve([
      ...chains.map(([name]) => this.#head(name)),
      ...chains.flatMap(([name, rules]) => rules.map((spec) => `-A ${name} ${spec}`)),
    ]);
  }

  /** Everything, as `iptables-save` would print it, with chains by name. */
  save(): string {
    return [...this.#tables].map(([table, chains]) => {
      const sorted = [...chains].sort(([a], [b]) => (a < b ? -1 : 1));
      const rules = sorted.flatMap(([name, specs]) => specs.map((spec) => `-A ${name} ${spec}`));
      return [`*${table}`, ...sorted.map(([name]) => `:${name} - [0:0]`), ...rules, "COMMIT", ""].join("\n");
    }).join("");
  }

  #head(chain: string): string {
    return Object.values(BUILTIN).some((chains) => chains.includes(chain)) ? `-P ${chain} ACCEPT` : `-N ${chain}`;
  }

  #restoreTable(lines: readonly string[]): void {
    if (lines.join().length > this.maxLength) throw refusal("message too long");
    const name = lines[0]?.slice(1) ?? "";
    const before = this.#tables.get(name);
    if (!before) throw refusal(lines[0] ?? "");
    const table: Table = new Map([...before].map(([chain, rules]) => [chain, [...rules]]));
    // Known as long as only chains are deleted, which have no rules.
    let targets: ReadonlySet<string> | undefined;
    for (const line of lines.slice(1)) {
      if (line.startsWith("-X ")) deleteChain(table, line, targets ??= targetsOf(table));
      else {
        targets = undefined;
        restoreLine(table, line);
      }
    }
    for (const target of targetsOf(table)) {
      if (target.includes("-") && !table.has(target)) throw refusal(`jump to missing chain ${target}`);
    }
    this.#tables = new Map([...this.#tables, [name, table]]);
  }
}

/** Where rules jump to. */
function targetsOf(table: Table): ReadonlySet<string> {
  return new Set([...table.values()].flatMap((rules) => rules.map((spec) => /(?:^| )-j (\S+)/.exec(spec)?.[1] ?? "")));
}

function deleteChain(table: Table, line: string, targets: ReadonlySet<string>): void {
  const name = line.slice("-X ".length);
  if (table.get(name)?.length !== 0 || targets.has(name)) throw refusal(line);
  table.delete(name);
}

function restoreLine(table: Table, line: string): void {
  const [, chain] = /^:(\S+) /.exec(line) ?? [];
  if (chain !== undefined) {
    if (chain.length > 28) throw refusal(line);
    table.set(chain, []);
    return;
  }
  const [, action, name = "", rest = ""] = /^-([AID]) (\S+) ?(.*)$/.exec(line) ?? [];
  const rules = table.get(name);
  if (!rules) throw refusal(line);
  if (action === "A") rules.push(rest);
  else if (action === "I") {
    const [, position = "1", spec = ""] = /^(\d+) (.*)$/.exec(rest) ?? [];
    if (Number(position) > rules.length + 1) throw refusal(line);
    rules.splice(Number(position) - 1, 0, spec);
  } else {
    const index = rules.indexOf(rest);
    if (index < 0) throw refusal(line);
    rules.splice(index, 1);
  }
}

function refusal(line: string): K3slbError {
  return new K3slbError(`Cannot program forwarding rules: refused "${line}"`, { code: "iptables-failed" });
}
