// The text of `spec.values`, written once for each object that comes: it is asked for several times in a pass, and in every pass. Pure.
import { isK3slbError, type K3slbError } from "../../shared/errors.ts";
import { renderValuesYaml } from "./values_yaml.ts";

type Values = Readonly<Record<string, unknown>>;

const known = new WeakMap<Values, string | K3slbError>();

/** The text. @throws {K3slbError} code "values-invalid" */
export function valuesText(values: Values): string {
  const text = known.get(values) ?? keepText(values, () => renderValuesYaml(values));
  if (typeof text === "string") return text;
  throw text;
}

/** Whether the text of these very values has been written. */
export function isTextKnown(values: Values): boolean {
  return known.has(values);
}

/** Keeps what `write` gives, or the "values-invalid" that it throws, as the text of `values`. */
export function keepText(values: Values, write: () => string): string | K3slbError {
  const text = orInvalid(write);
  known.set(values, text);
  return text;
}

function orInvalid(write: () => string): string | K3slbError {
  try {
    return write();
  } catch (error) {
    if (isK3slbError(error, "values-invalid")) return error;
    throw error;
  }
}
