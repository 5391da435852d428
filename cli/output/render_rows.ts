// Rows as a table of columns, for people. Pure.
import { visibleLine } from "../../core/shared/visible_text.ts";

/** `rows` under `headers`, columns two blanks apart, no blanks at line ends; one line per row. */
export function renderRows(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows].map((cells) => cells.map(visibleLine));
  const widths = headers.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  return lines.map((line) => `${line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()}\n`)
    .join("");
}
