// Figures in docs/performance.md: one part for each benchmark, between two comments, replaced by `--write`. The words around them are
// written by people. Pure.

/** The page with the figures of benchmark `name` replaced. Throws if the page has no place for them. */
export function replaceFigures(page: string, name: string, figures: string): string {
  const [from, to] = [startMark(name), "<!-- end of figures -->"];
  const start = page.indexOf(from);
  const end = page.indexOf(to, start);
  if (start < 0 || end < 0) throw new Error(`The page has no figures of "${name}": "${from}" and "${to}" are missing`);
  return `${page.slice(0, start + from.length)}\n${figures.trim()}\n${page.slice(end)}`;
}

function startMark(name: string): string {
  return `<!-- figures of ${name}: deno task bench ${name} --write -->`;
}
