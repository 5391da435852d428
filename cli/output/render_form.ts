// A result in the form that was asked for. Pure.
import { stringifyYaml } from "../../core/shared/yaml.ts";

/** How results are printed. */
export type OutputForm = "table" | "wide" | "json" | "yaml";

/** `value` in the wanted form, with a line end; `table` makes the one for people, `wide` or not. */
export function renderForm(value: object, form: OutputForm, table: (wide: boolean) => string): string {
  if (form === "json") return `${JSON.stringify(value, undefined, 2)}\n`;
  return form === "yaml" ? stringifyYaml(value) : table(form === "wide");
}
