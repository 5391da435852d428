// How commands are told which Service is meant.
import { K3slbError } from "../../core/shared/errors.ts";
import { textFlag } from "../settings/flag.ts";

/** Where a Service is whose name is written without its namespace. */
export const NAMESPACE_FLAG = textFlag("namespace", "Namespace of the Service, unless it is named as NAMESPACE/NAME", {
  short: "n",
  default: "default",
  commandLineOnly: true,
  placeholder: "NAME",
});

/**
 * `NAME`, `NAMESPACE/NAME`, and kubectl's `svc/NAME`, `service/NAME`, `services/NAME`.
 * @throws {K3slbError} code "usage" for anything else
 */
export function parseServiceName(
  word: string,
  namespace: string,
): { readonly namespace: string; readonly name: string } {
  const parts = word.split("/");
  const [first = "", second = ""] = parts;
  if (parts.length === 1 && first !== "") return { namespace, name: first };
  if (parts.length === 2 && first !== "" && second !== "") {
    return { namespace: KIND_WORDS.includes(first) ? namespace : first, name: second };
  }
  throw new K3slbError(`"${word}" names no Service`, {
    code: "usage",
    hint: "Write NAMESPACE/NAME, or svc/NAME with -n NAMESPACE",
  });
}

const KIND_WORDS: readonly string[] = ["svc", "service", "services"];
