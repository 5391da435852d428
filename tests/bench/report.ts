// How a benchmark speaks: plain tables (Markdown's form, so that they can go into a page as they are), each figure beside its budget. Pure.

/** A limit that was set before the measurement. */
export interface Budget {
  readonly value: number;
  readonly direction: "at most" | "at least";
  readonly unit: string;
}

/** One line of a table of figures. */
export interface Figure {
  readonly what: string;
  readonly value: string;
  /** Spread, parts, or what it was compared with. */
  readonly detail?: string;
  /** How often it was measured. */
  readonly count: number;
  readonly budget?: string;
  readonly verdict?: string;
}

/** A figure with its budget and the verdict. */
export function judged(figure: Figure, value: number, budget: Budget): Figure {
  const sign = budget.direction === "at most" ? "<=" : ">=";
  const met = budget.direction === "at most" ? value <= budget.value : value >= budget.value;
  return {
    ...figure,
    budget: `${sign} ${budget.value}${budget.unit === "" ? "" : ` ${budget.unit}`}`,
    verdict: met ? "met" : "MISSED",
  };
}

/** Figures as a table. */
export function renderFigures(figures: readonly Figure[]): string {
  const headers = ["what", "median", "detail", "n", "budget", ""];
  return renderTable(
    headers,
    figures.map(({ what, value, detail = "", count, budget = "", verdict = "" }) => [
      what,
      value,
      detail,
      String(count),
      budget,
      verdict,
    ]),
  );
}

/** Rows under headers, columns aligned. */
export function renderTable(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headers.map((header, i) => Math.max(header.length, 3, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, i) => (cells[i] ?? "").padEnd(width)).join(" | ")} |`;
  return [line(headers), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

/** Three significant digits, thousands as `k`. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Math.abs(value) >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** Milliseconds below one second, seconds above. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return "-";
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** Mebibytes. */
export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`;
}
