// How the demo looks: text, tables and listings as lines of a given width. Pure; what to say is decided by the scenes.
// Colour is a set of SGR codes (ECMA-48) that is left out as a whole where it isn't wanted; widths never count it.

/** What a piece of text means; each tone has one look. */
export type Tone = "plain" | "strong" | "faint" | "good" | "bad";

/** Text of one meaning. */
export interface Toned {
  readonly text: string;
  readonly tone: Tone;
}

/** What stands in a cell; text alone is plain. */
export type Cell = string | Toned;

/** A column; the one that `wraps` gives way when the table is too wide. */
export interface Column {
  readonly title: string;
  /** @default {"left"} */
  readonly align?: "left" | "right";
  /** @default {false} */
  readonly wraps?: boolean;
}

/** One part of a scene. */
export type Block =
  | { readonly kind: "text"; readonly text: string; readonly tone?: Tone }
  | { readonly kind: "table"; readonly columns: readonly Column[]; readonly rows: readonly (readonly Cell[])[] }
  | { readonly kind: "listing"; readonly lines: readonly Cell[] };

/** Where the lines go. */
export interface Page {
  /** Columns, at least 60. */
  readonly width: number;
  readonly colour: boolean;
}

const INDENT = "   ";
const GAP = "  ";
const HANGING = "    ";
const MIN_WRAPPED_WIDTH = 12;

const SGR: Readonly<Record<Tone, string>> = { plain: "", strong: "1", faint: "2", good: "32", bad: "33" };

/** `text` in its tone's look. */
export function renderToned(text: string, tone: Tone, page: Page): string {
  const code = SGR[tone];
  return page.colour && code !== "" && text !== "" ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/** The lines of blocks with an empty line between two of them. No line is wider than the page or ends in a space. */
export function renderBlocks(blocks: readonly Block[], page: Page): readonly string[] {
  return blocks.flatMap((block, index) => [...(index === 0 ? [] : [""]), ...renderBlock(block, page)]);
}

function renderBlock(block: Block, page: Page): readonly string[] {
  const width = page.width - INDENT.length;
  switch (block.kind) {
    case "text":
      return wrapWords(block.text, width).map((line) => INDENT + renderToned(line, block.tone ?? "plain", page));
    case "table":
      return renderTable(block.columns, block.rows, { ...page, width });
    case "listing":
      return block.lines.flatMap((line) => {
        const { text, tone } = toned(line);
        const [first = "", ...rest] = wrapWords(text, width - HANGING.length);
        return [first, ...rest.map((more) => HANGING + more)].map((each) => INDENT + renderToned(each, tone, page));
      });
  }
}

function renderTable(columns: readonly Column[], rows: readonly (readonly Cell[])[], page: Page): readonly string[] {
  const widths = columnWidths(columns, rows, page.width);
  const headings = columns.map(({ title }): Toned => ({ text: title.toUpperCase(), tone: "faint" }));
  return [headings, ...rows].flatMap((row) => {
    const cells = widths.map((width, index) => {
      const { text, tone } = toned(row[index] ?? "");
      return { tone, lines: columns[index]?.wraps ? wrapWords(text, width) : [text] };
    });
    const height = Math.max(...cells.map(({ lines }) => lines.length));
    return Array.from({ length: height }, (_, line) => {
      const texts = cells.map(({ tone, lines }, index) => {
        const text = lines[line] ?? "";
        const space = " ".repeat(Math.max(0, (widths[index] ?? 0) - text.length));
        const shown = renderToned(text, tone, page);
        return columns[index]?.align === "right" ? space + shown : shown + space;
      });
      return (INDENT + texts.join(GAP)).trimEnd();
    });
  });
}

/** Every column as wide as its widest cell; what is too much is taken from the columns that wrap. */
function columnWidths(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width: number,
): readonly number[] {
  const natural = columns.map(({ title }, index) =>
    Math.max(title.length, ...rows.map((row) => toned(row[index] ?? "").text.length))
  );
  let excess = natural.reduce((sum, each) => sum + each, 0) + GAP.length * (columns.length - 1) - width;
  return natural.map((each, index) => {
    if (excess <= 0 || !columns[index]?.wraps) return each;
    const taken = Math.max(0, Math.min(excess, each - MIN_WRAPPED_WIDTH));
    excess -= taken;
    return each - taken;
  });
}

function toned(cell: Cell): Toned {
  return typeof cell === "string" ? { text: cell, tone: "plain" } : cell;
}

/** Lines of at most `width` columns; a word that is longer is cut. */
export function wrapWords(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  const words = text.split(" ").flatMap((word) => cutWord(word, width));
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

function cutWord(word: string, width: number): readonly string[] {
  if (word.length <= width) return [word];
  return [word.slice(0, width), ...cutWord(word.slice(width), width)];
}
