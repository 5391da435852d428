// After a failure: the logs leave the demo's temporary folder, and the message says where they are and how they end.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tail } from "../support/programs.ts";

const TAIL_LINES = 8;

/** Copies every log below `dir` to `to`, which holds nothing else afterwards; returns what to print. */
export function keepLogs(dir: string, to: string): string {
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { recursive: true });
  const names = readdirSync(dir, { recursive: true, encoding: "utf8" })
    // A node's own links to its pods' logs lead somewhere only on the node.
    .filter((name) => name.endsWith(".log") && existsSync(join(dir, name))).sort();
  const parts = names.map((name) => {
    const kept = join(to, name.replaceAll("/", "_"));
    copyFileSync(join(dir, name), kept);
    return `\n--- ${kept}\n${tail(kept, TAIL_LINES)}`;
  });
  return parts.length === 0 ? "There are no logs yet.\n" : `${parts.join("\n")}\n\nlogs: ${to}\n`;
}
