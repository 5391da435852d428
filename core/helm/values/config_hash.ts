// The hash that tells whether a release was made from the present configuration. Pure.
// Facts: helm-controller v0.17.9 `pkg/controllers/chart` and `encoding/json`; the bytes were compared with the original's Jobs.
// Different on purpose: of Secrets only the keys that are mounted count.
import { createHash } from "node:crypto";
import type { Job } from "../../kube/types.ts";
import { compareBytes } from "./set_values.ts";

/** What the hash is made of, in its order. */
export interface HashedConfig {
  readonly backoffLimit: number;
  /** Before the hash itself and the release's state are added. */
  readonly template: NonNullable<Job["spec"]>["template"];
  /** Contents of ConfigMaps and Secrets; Secrets in base64. */
  readonly data: readonly Readonly<Record<string, string>>[];
}

/** Digits that fit a label. */
const LABEL_DIGITS = 63;

/** 64 hexadecimal digits in upper case. */
export function configHash({ backoffLimit, template, data }: HashedConfig): string {
  const hash = createHash("sha256");
  hash.update(String(backoffLimit));
  hash.update(`${goJson(template)}\n`);
  for (const one of data) {
    for (const key of Object.keys(one).toSorted(compareBytes)) hash.update(key).update(one[key] ?? "");
  }
  return hash.digest("hex").toUpperCase();
}

/** The hash as the release's label has it. */
export function releaseHash(hash: string): string {
  return hash.slice(0, LABEL_DIGITS);
}

/** JSON as Go writes it from structures: keys sorted, empty environment values left out. */
function goJson({ metadata, spec }: HashedConfig["template"]): string {
  const containers = spec?.containers.map(({ env = [], ...container }) => ({
    ...container,
    env: env.map(({ value, ...entry }) => value === "" ? entry : { ...entry, value }),
  }));
  const text = JSON.stringify(sorted({ metadata: { labels: metadata?.labels ?? {} }, spec: { ...spec, containers } }));
  return text.replaceAll(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(
    entries.toSorted(([a], [b]) => compareBytes(a, b)).map(([key, field]) => [key, sorted(field)]),
  );
}
