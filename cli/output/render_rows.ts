// Lines and tables for people, on a terminal of a given width or anywhere. Pure.
import { visibleLine } from "../../core/shared/visible_text.ts";

/** `text` in lines of at most `width` characters, broken at blanks; a longer word has a line of its own. */
export function wrapText(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of visibleLine(text).split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** `rows` under `headers`, columns two blanks apart, no blanks at line ends; the last column is broken to fit into `width`, if there is one. */
export function renderRows(headers: readonly string[], rows: readonly (readonly string[])[], width = Infinity): string {
  const lines = rows.map((cells) => cells.map(visibleLine));
  const last = headers.length - 1;
  const widths = headers.slice(0, last).map((header, column) =>
    Math.max(header.length, ...lines.map((line) => (line[column] ?? "").length))
  );
  const indent = widths.reduce((sum, each) => sum + each + 2, 0);
  const room = Math.max(MIN_ROOM, width - indent);
  return [headers, ...lines].map((cells) => {
    const left = widths.map((each, column) => `${(cells[column] ?? "").padEnd(each)}  `).join("");
    return wrapText(cells[last] ?? "", room)
      .map((part, index) => `${`${index === 0 ? left : " ".repeat(indent)}${part}`.trimEnd()}\n`).join("");
  }).join("");
}

/** A narrower terminal breaks the lines itself. */
const MIN_ROOM = 24;
