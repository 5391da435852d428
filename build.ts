// `deno task build`: sources to bundle to one binary with its checksum, licence notices and unit files. Bun is inside by default, Deno on request.
// Asserts that the binary fits its budgets. See build/ for the steps.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildTarget } from "./build/build_target.ts";
import { knownWord, readWords } from "./build/command_line.ts";
import { hostTarget, TARGETS } from "./build/targets.ts";
import { print, runMain } from "./build/run_main.ts";
import { renderSystemdUnit } from "./core/shared/systemd_unit.ts";

const USAGE = `deno task build [--runtime bun|deno] [--target ${TARGETS.join("|")}|all] [--out dist] [--compress]`;

async function main(): Promise<void> {
  const { values: { target, compress, ...words } } = readWords({
    options: {
      runtime: { type: "string", default: "bun" },
      target: { type: "string", default: hostTarget() },
      out: { type: "string", default: "dist" },
      compress: { type: "boolean", default: false },
    },
  }, USAGE);
  const runtime = knownWord(words.runtime, { what: "Runtime", known: ["bun", "deno"], usage: USAGE });
  const targets = target === "all" ? TARGETS : [knownWord(target, { what: "Target", known: TARGETS, usage: USAGE })];
  const root = fileURLToPath(new URL(".", import.meta.url));
  const out = resolve(root, words.out);
  await Deno.mkdir(out, { recursive: true });
  for (const one of targets) print((await buildTarget(one, { runtime, compress, root, out })).summary);
  for (const name of ["k3slb-server", "k3slb-agent"] as const) {
    await Deno.writeTextFile(`${out}/${name}.service`, renderSystemdUnit(name));
  }
  await Deno.copyFile(`${root}deploy/rbac.yaml`, `${out}/k3slb-rbac.yaml`);
}

if (import.meta.main) await runMain(main);
