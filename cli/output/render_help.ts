// Text of help, made from the commands and the flag table. Pure.
import type { Command } from "../command.ts";
import { envNames, type Flag } from "../settings/flag.ts";

/** Help of a word that only stands before commands, such as `manifests`. */
export function renderGroupHelp(path: readonly string[], commands: readonly Command[]): string {
  const name = ["k3slb", ...path].join(" ");
  return sections([
    ["Usage", [`${name} COMMAND [FLAGS]`]],
    [
      "Commands",
      alignRows(commands.map((command) => [["k3slb", ...command.path].join(" "), command.summary] as const)),
    ],
    ["", [`Run "${name} COMMAND --help" for flags, examples and pitfalls of a command.`]],
  ]);
}

/** Help of the program: its commands, first steps and exit codes. */
export function renderProgramHelp(commands: readonly Command[]): string {
  const rows = commands.map((command) => [command.path.join(" "), command.summary] as const);
  return sections([
    ["", [
      "k3slb brings the load balancer and the manifests folder of K3s to any Kubernetes cluster:",
      "Services of type LoadBalancer are served on the addresses of the cluster's own nodes.",
    ]],
    ["Usage", ["k3slb COMMAND [FLAGS]"]],
    ["Commands", alignRows(rows)],
    [
      "First steps",
      alignRows([
        ["k3slb server", "on one or more control plane nodes"],
        ["k3slb agent", "on every node that should take traffic"],
        ["k3slb server --agent", "both in one process, for a single node"],
      ]),
    ],
    ["Exit codes", ["0 all went well, 1 failed while running, 2 called wrongly"]],
    ["", ['Run "k3slb COMMAND --help" for flags, examples and pitfalls of a command.']],
  ]);
}

/** Help of one command. `children` are the commands whose words start with this one's. */
export function renderCommandHelp(command: Command, children: readonly Command[]): string {
  const name = ["k3slb", ...command.path].join(" ");
  const usage = [name, command.operands?.usage, command.flags.length > 0 ? "[FLAGS]" : undefined]
    .filter((word) => word !== undefined).join(" ");
  return sections([
    ["", command.description.split("\n")],
    ["Usage", [usage]],
    ["Commands", alignRows(children.map((child) => [["k3slb", ...child.path].join(" "), child.summary] as const))],
    ["Examples", alignRows(command.examples.map((example) => [example.command, example.note] as const))],
    ["Pitfalls", (command.pitfalls ?? []).map((pitfall) => `- ${pitfall}`)],
    ["Flags", flagLines(command.flags)],
    ["", precedenceLines(command.flags)],
  ]);
}

/** Default of a flag as people read it; empty if there is none. */
export function defaultText(flag: Flag): string {
  if (flag.type === "switch") return flag.default ? "on" : "off";
  if (flag.type === "list") return flag.default.join(",");
  return flag.default ?? "";
}

/** A flag as it is typed, such as `-c, --config PATH`. */
export function flagUsage(flag: Flag): string {
  const name = flag.type === "switch" && flag.default ? `--[no-]${flag.name}` : `--${flag.name}`;
  const names = flag.short === undefined ? name : `-${flag.short}, ${name}`;
  return flag.placeholder === undefined ? names : `${names} ${flag.placeholder}`;
}

function flagLines(flags: readonly Flag[]): readonly string[] {
  const long = (flag: Flag): string => (flag.short === undefined ? `    ${flagUsage(flag)}` : flagUsage(flag));
  const width = Math.max(0, ...flags.map((flag) => long(flag).length));
  const help = flags.flatMap((flag) => {
    const indent = " ".repeat(width + 2);
    const preset = flag.type !== "switch" && defaultText(flag) !== "" ? [`${indent}default ${defaultText(flag)}`] : [];
    const env = envNames(flag);
    const names = env.length === 0 ? [] : [`${indent}env ${env.join(", ")}`];
    return [`${long(flag).padEnd(width)}  ${flag.help}`, ...preset, ...names];
  });
  return [...help, `${"-h, --help".padEnd(width)}  This text`];
}

function precedenceLines(flags: readonly Flag[]): readonly string[] {
  if (!flags.some((flag) => flag.name === "config")) return [];
  return [
    "A flag wins over the environment, the environment over the config file, the config file over the default.",
    "Keys of the config file are the names of the flags; lists take commas and repetition.",
  ];
}

function alignRows(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `${left.padEnd(width)}  ${right}`);
}

function sections(parts: readonly (readonly [string, readonly string[]])[]): string {
  return parts
    .filter(([, lines]) => lines.length > 0)
    .map((
      [title, lines],
    ) => (title === "" ? lines.join("\n") : `${title}:\n${lines.map((line) => `  ${line}`).join("\n")}`))
    .join("\n\n") + "\n";
}
