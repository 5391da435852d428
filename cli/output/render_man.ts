// Manual pages in roff (man(7)), made from the commands and their flags like the help texts. Pure.
import type { Command } from "../command.ts";
import { envNames, type Flag } from "../settings/flag.ts";
import { defaultText, flagUsage } from "./render_help.ts";

/** One page: its file name in section 1, and its text. */
export interface ManPage {
  /** Such as `k3slb-agent-cleanup.1`. */
  readonly file: string;
  readonly text: string;
}

/** What stands at the foot of a page. */
export interface ManFooter {
  readonly version: string;
  /** `YYYY-MM-DD` */
  readonly date: string;
}

/** A page for the program and one for each command. */
export function manPages(commands: readonly Command[], footer: ManFooter): readonly ManPage[] {
  return [programPage(commands, footer), ...commands.map((command) => commandPage(command, commands, footer))];
}

function programPage(commands: readonly Command[], footer: ManFooter): ManPage {
  const rows = commands.flatMap((command) => [
    ".TP",
    `.BR ${escape(pageName(command))} (1)`,
    text(`${command.summary}.`),
  ]);
  return page("k3slb", footer, [
    ".SH NAME",
    text("k3slb - K3s's load balancer and manifests folder for any Kubernetes cluster"),
    ".SH SYNOPSIS",
    ".B k3slb",
    ".I COMMAND",
    text("[FLAGS]"),
    ".SH COMMANDS",
    ...rows,
    ...EXIT_STATUS,
  ]);
}

function commandPage(command: Command, commands: readonly Command[], footer: ManFooter): ManPage {
  const name = pageName(command);
  const operands = command.operands === undefined ? [] : [text(command.operands.usage)];
  const others = commands.filter((other) => other !== command).map((other) => `.BR ${escape(pageName(other))} (1)`);
  return page(name, footer, [
    ".SH NAME",
    text(`${name} - ${command.summary.charAt(0).toLowerCase()}${command.summary.slice(1)}`),
    ".SH SYNOPSIS",
    `.B ${escape(["k3slb", ...command.path].join(" "))}`,
    ...operands,
    ...(command.flags.length > 0 ? [text("[FLAGS]")] : []),
    ".SH DESCRIPTION",
    text(command.description),
    ...section("OPTIONS", command.flags.flatMap(flagLines)),
    ...section(
      "EXAMPLES",
      command.examples.flatMap((one) => [".TP", `.B ${escape(one.command)}`, text(`${one.note}.`)]),
    ),
    ...section("PITFALLS", (command.pitfalls ?? []).flatMap((one) => [".IP \\(bu 2", text(one)])),
    ...EXIT_STATUS,
    ".SH SEE ALSO",
    ".BR k3slb (1)",
    ...others,
  ]);
}

function flagLines(flag: Flag): readonly string[] {
  const preset = flag.type === "switch" || defaultText(flag) === "" ? "" : ` Default: ${defaultText(flag)}.`;
  const env = envNames(flag).length === 0 ? "" : ` Environment: ${envNames(flag).join(", ")}.`;
  return [".TP", `.B ${escape(flagUsage(flag))}`, text(`${flag.help}.${preset}${env}`)];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [`.SH ${title}`, ...lines];
}

function page(name: string, { version, date }: ManFooter, lines: readonly string[]): ManPage {
  const head = `.TH ${escape(name.toUpperCase())} 1 ${date} "k3slb ${escape(version)}" "k3slb"`;
  return { file: `${name}.1`, text: `${[head, ...lines].join("\n")}\n` };
}

function pageName(command: Command): string {
  return ["k3slb", ...command.path].join("-");
}

/** Running text: a line that starts with a dot or an apostrophe would be a request. */
function text(words: string): string {
  return escape(words).split("\n").map((line) => line.replace(/^[.']/, "\\&$&")).join("\n");
}

function escape(words: string): string {
  return words.replaceAll("\\", "\\e").replaceAll("-", "\\-");
}

const EXIT_STATUS: readonly string[] = [
  ".SH EXIT STATUS",
  text("0 all went well, 1 failed while running, 2 called wrongly."),
];
