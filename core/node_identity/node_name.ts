// Names of nodes as text: what is one (RFC 1123 subdomain, as the API server wants it), what can be made one, what is close to one. Pure.
import { compareText } from "../shared/compare_text.ts";
import { isDnsSubdomain } from "../shared/names.ts";
import { editDistance } from "../shared/nearest_name.ts";

/** A name, and the text that it was made from if that was not the same. */
export interface ParsedNodeName {
  readonly name: string;
  readonly correctedFrom?: string;
}

/** The node name that `text` means: blanks cut, lower-cased as K3s does it; `undefined` if it is none. */
export function parseNodeName(text: string): ParsedNodeName | undefined {
  const name = text.trim().toLowerCase();
  if (!isDnsSubdomain(name)) return undefined;
  return name === text ? { name } : { name, correctedFrom: text };
}

/** The node name that a host name means; `undefined` for names that many machines have. */
export function parseHostName(text: string): ParsedNodeName | undefined {
  const parsed = parseNodeName(text.replace(/\.$/, ""));
  return parsed && !/^localhost(\.|$)/.test(parsed.name) ? parsed : undefined;
}

/** A valid name close to `text`: underscores and other strangers become hyphens; `undefined` if nothing is left. */
export function suggestedNodeName(text: string): string | undefined {
  const name = text.trim().toLowerCase().replaceAll(/[^a-z0-9.-]+/g, "-").replaceAll(/[-.]*\.[-.]*/g, ".")
    .slice(0, MAX_NAME_LENGTH).replaceAll(/^[-.]+|[-.]+$/g, "");
  return parseNodeName(name)?.name;
}

/** Up to `limit` of `names`, the ones that fewest edits turn into `wanted` first; those that share little are left out. */
export function nearestNames(wanted: string, names: readonly string[], limit = 3): readonly string[] {
  return names
    .map((name) => ({ name, distance: nameDistance(wanted, name) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.ceil(Math.max(wanted.length, name.length) / 3)))
    .sort((a, b) => a.distance - b.distance || compareText(a.name, b.name))
    .slice(0, limit)
    .map((one) => one.name);
}

/** A short name and the same one with its domain are close, however long the domain is. */
function nameDistance(a: string, b: string): number {
  return a.split(".")[0] === b.split(".")[0] ? 0 : editDistance(a, b);
}

const MAX_NAME_LENGTH = 253;
