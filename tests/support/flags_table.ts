// The flag table as Markdown, for docs/flags.md. Pure.
import type { Command } from "../../cli/command.ts";
import { envNames, type Flag } from "../../cli/settings/flag.ts";
import { defaultText, flagUsage } from "../../cli/output/render_help.ts";

/** Stands before the table in a document. */
export const FLAGS_TABLE_START = "<!-- flags: made from cli/settings/flags.ts by `deno task docs` -->";
/** Stands after it. */
export const FLAGS_TABLE_END = "<!-- /flags -->";

/** One row per flag that has a config key; a flag whose default differs between commands has one row for each. */
export function renderFlagsTable(commands: readonly Command[]): string {
  const rows = new Map<string, { readonly flag: Flag; readonly names: string[] }>();
  for (const command of commands) {
    for (const flag of command.flags.filter((each) => !each.commandLineOnly)) {
      const key = `${flag.name} ${defaultText(flag)}`;
      const row = rows.get(key) ?? { flag, names: [] };
      row.names.push(command.path.join(" "));
      rows.set(key, row);
    }
  }
  return [
    "| Flag | Environment | Default | Commands | |",
    "| --- | --- | --- | --- | --- |",
    ...[...rows.values()].map(({ flag, names }) => renderRow(flag, names)),
    "",
  ].join("\n");
}

/**
 * `document` with the table between its two markers.
 * @throws {RangeError} if a marker is missing
 */
export function replaceFlagsTable(document: string, table: string): string {
  const start = document.indexOf(FLAGS_TABLE_START);
  const end = document.indexOf(FLAGS_TABLE_END);
  if (start < 0 || end < start) throw new RangeError("The document has no markers for the flags table");
  return `${document.slice(0, start)}${FLAGS_TABLE_START}\n${table}${document.slice(end)}`;
}

function renderRow(flag: Flag, commands: readonly string[]): string {
  const env = envNames(flag).map((name) => `\`${name}\``).join(", ");
  const preset = defaultText(flag);
  const cells = [`\`${flagUsage(flag)}\``, env, preset === "" ? "" : `\`${preset}\``, commands.join(", "), flag.help];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
