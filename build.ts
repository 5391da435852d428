// `deno task build`: sources to bundle to one binary with its checksum and unit files. Bun is inside by default, Deno on request.
// Asserts that the binary fits its budgets. See build/ for the steps.
import { parseArgs } from "node:util";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { compileWithBun, compileWithDeno } from "./build/compile.ts";
import { bundleProgram } from "./build/bundle.ts";
import { runTool } from "./build/run_tool.ts";
import { compressedSize } from "./build/compressed_size.ts";
import { hostTarget, type Target, TARGETS } from "./build/targets.ts";
import { renderError } from "./cli/print_error.ts";
import { K3slbError } from "./core/shared/errors.ts";
import denoJson from "./deno.json" with { type: "json" };

const MAX_BINARY_BYTES = 115_000_000;
const MAX_COMPRESSED_BYTES = 45_000_000;
const USAGE = `deno task build [--runtime bun|deno] [--target ${TARGETS.join("|")}|all] [--out dist]`;

/** What the build was asked for. */
interface BuildRequest {
  readonly runtime: "bun" | "deno";
  readonly targets: readonly Target[];
  readonly out: string;
}

async function main(): Promise<void> {
  const request = parseRequest(Deno.args);
  const root = fileURLToPath(new URL(".", import.meta.url));
  const out = request.out.startsWith("/") ? request.out : `${root}${request.out}`;
  await Deno.mkdir(out, { recursive: true });
  for (const target of request.targets) await buildTarget(target, { ...request, root, out });
}

async function buildTarget(target: Target, options: BuildRequest & { readonly root: string }): Promise<void> {
  const { root, out, runtime } = options;
  const startMs = performance.now();
  const bundle = await bundleProgram({ root, version: denoJson.version, commit: await commitOf(root), target });
  await Deno.writeFile(`${out}/k3slb.mjs`, bundle.code);
  await Deno.writeTextFile(`${out}/metafile.json`, JSON.stringify(bundle.metafile));
  const name = target === hostTarget() ? "k3slb" : `k3slb-${target}`;
  const compile = runtime === "bun" ? compileWithBun : compileWithDeno;
  await compile({ bundlePath: `${out}/k3slb.mjs`, binaryPath: `${out}/${name}`, target });
  const binary = await Deno.readFile(`${out}/${name}`);
  const checksum = createHash("sha256").update(binary).digest("hex");
  await Deno.writeTextFile(`${out}/${name}.sha256`, `${checksum}  ${name}\n`);
  const compressedBytes = await compressedSize(`${out}/${name}`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const sizes = `${megabytes(binary.length)}, compressed ${megabytes(compressedBytes)}`;
  print(
    `${out}/${name}: ${runtime}, ${target}, bundle ${Math.round(bundle.code.length / 1000)} kB, ${sizes}, ${seconds} s`,
  );
  assertBudget(name, { bytes: binary.length, compressedBytes });
}

function assertBudget(name: string, size: { readonly bytes: number; readonly compressedBytes: number }): void {
  if (size.bytes <= MAX_BINARY_BYTES && size.compressedBytes <= MAX_COMPRESSED_BYTES) return;
  throw new K3slbError(
    `"${name}" is larger than ${megabytes(MAX_BINARY_BYTES)}, compressed ${megabytes(MAX_COMPRESSED_BYTES)}`,
    {
      code: "size-budget",
      hint: "See dist/metafile.json for what went into the bundle",
    },
  );
}

function parseRequest(words: readonly string[]): BuildRequest {
  const { values } = parseArgs({
    args: [...words],
    options: {
      runtime: { type: "string", default: "bun" },
      target: { type: "string", default: hostTarget() },
      out: { type: "string", default: "dist" },
    },
  });
  const { runtime, target, out } = values;
  if (runtime !== "bun" && runtime !== "deno") throw usage(`Runtime "${runtime}" is not known`);
  if (target === "all") return { runtime, out, targets: TARGETS };
  const known = TARGETS.find((candidate) => candidate === target);
  if (known === undefined) throw usage(`Target "${target}" is not known`);
  return { runtime, out, targets: [known] };
}

function usage(message: string): K3slbError {
  return new K3slbError(message, { code: "usage", hint: USAGE });
}

async function commitOf(root: string): Promise<string> {
  try {
    return (await runTool(["git", "-C", root, "rev-parse", "--short=12", "HEAD"], { hint: "" })).trim();
  } catch {
    // An unpacked archive has no history; the version still says what it is.
    return "unknown";
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    Deno.stderr.writeSync(new TextEncoder().encode(renderError(error, true)));
    Deno.exit(1);
  }
}
