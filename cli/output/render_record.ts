// One record of named texts as table, JSON or YAML. Pure.

/** How results are printed. */
export type OutputForm = "table" | "json" | "yaml";

/** `record` in the wanted form, with a line end. A table has one line per name. */
export function renderRecord(record: Readonly<Record<string, string>>, form: OutputForm): string {
  const entries = Object.entries(record);
  if (form === "json") return `${JSON.stringify(record, undefined, 2)}\n`;
  // A JSON string is a YAML string, so nothing in a value can break the line.
  if (form === "yaml") return entries.map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`).join("");
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}
