// `deno task build`: sources to bundle to one binary with its checksum, licence notices and unit files. Bun is inside by default, Deno on request.
// Asserts that the binary fits its budgets. See build/ for the steps.
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { buildTarget } from "./build/build_target.ts";
import { hostTarget, type Target, TARGETS } from "./build/targets.ts";
import { print, runMain } from "./build/run_main.ts";
import { errorMessage, K3slbError } from "./core/shared/errors.ts";
import { renderSystemdUnit } from "./core/shared/systemd_unit.ts";

const USAGE = `deno task build [--runtime bun|deno] [--target ${TARGETS.join("|")}|all] [--out dist] [--compress]`;

/** What the build was asked for. */
interface BuildRequest {
  readonly runtime: "bun" | "deno";
  readonly targets: readonly Target[];
  readonly out: string;
  /** Whether NAME.xz is written too. */
  readonly compress: boolean;
}

async function main(): Promise<void> {
  const request = parseRequest(Deno.args);
  const root = fileURLToPath(new URL(".", import.meta.url));
  const out = request.out.startsWith("/") ? request.out : `${root}${request.out}`;
  await Deno.mkdir(out, { recursive: true });
  for (const target of request.targets) print((await buildTarget(target, { ...request, root, out })).summary);
  for (const name of ["k3slb-server", "k3slb-agent"] as const) {
    await Deno.writeTextFile(`${out}/${name}.service`, renderSystemdUnit(name));
  }
  await Deno.copyFile(`${root}deploy/rbac.yaml`, `${out}/k3slb-rbac.yaml`);
}

function parseRequest(words: readonly string[]): BuildRequest {
  const { runtime, target, out, compress } = parseWords(words);
  if (runtime !== "bun" && runtime !== "deno") throw usage(`Runtime "${runtime}" is not known`);
  if (target === "all") return { runtime, out, compress, targets: TARGETS };
  const known = TARGETS.find((candidate) => candidate === target);
  if (known === undefined) throw usage(`Target "${target}" is not known`);
  return { runtime, out, compress, targets: [known] };
}

interface BuildWords {
  readonly runtime: string;
  readonly target: string;
  readonly out: string;
  readonly compress: boolean;
}

function parseWords(words: readonly string[]): BuildWords {
  try {
    return parseArgs({
      args: [...words],
      options: {
        runtime: { type: "string", default: "bun" },
        target: { type: "string", default: hostTarget() },
        out: { type: "string", default: "dist" },
        compress: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw usage(errorMessage(error));
  }
}

function usage(message: string): K3slbError {
  return new K3slbError(message, { code: "usage", hint: USAGE });
}

if (import.meta.main) await runMain(main);
