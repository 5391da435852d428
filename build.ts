// `deno task build`: sources to bundle to one binary with its checksum, licence notices and unit files. Bun is inside by default, Deno on request.
// Asserts that the binary fits its budgets. See build/ for the steps.
import { parseArgs } from "node:util";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { compileWithBun, compileWithDeno } from "./build/compile.ts";
import { bundleProgram } from "./build/bundle.ts";
import { renderNotices } from "./build/notices.ts";
import { runTool } from "./build/run_tool.ts";
import { compressedSize, writeCompressed } from "./build/compressed_size.ts";
import { bunPackage, hostTarget, type Target, TARGETS } from "./build/targets.ts";
import { renderError } from "./cli/print_error.ts";
import { errorMessage, K3slbError } from "./core/shared/errors.ts";
import { renderSystemdUnit } from "./core/shared/systemd_unit.ts";
import denoJson from "./deno.json" with { type: "json" };

const MAX_BINARY_BYTES = 115_000_000;
const MAX_COMPRESSED_BYTES = 45_000_000;
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
  for (const target of request.targets) await buildTarget(target, { ...request, root, out });
  for (const name of ["k3slb-server", "k3slb-agent"] as const) {
    await Deno.writeTextFile(`${out}/${name}.service`, renderSystemdUnit(name));
  }
  await Deno.copyFile(`${root}deploy/rbac.yaml`, `${out}/k3slb-rbac.yaml`);
}

async function buildTarget(target: Target, options: BuildRequest & { readonly root: string }): Promise<void> {
  const { root, out, runtime, compress } = options;
  const startMs = performance.now();
  const bundle = await bundleProgram({ root, version: denoJson.version, commit: await commitOf(root), target });
  await Deno.writeFile(`${out}/k3slb.mjs`, bundle.code);
  await Deno.writeTextFile(`${out}/metafile.json`, JSON.stringify(bundle.metafile));
  const notices = await renderNotices(Object.keys(bundle.metafile.inputs), { root: root.replace(/\/$/, ""), runtime });
  await Deno.writeTextFile(`${out}/THIRD_PARTY_NOTICES.txt`, notices);
  const name = target === hostTarget() ? "k3slb" : `k3slb-${target}`;
  const compile = runtime === "bun" ? compileWithBun : compileWithDeno;
  // Under its own name only when it is whole: a binary that runs at this moment goes on running.
  const fresh = `${out}/${name}.new`;
  await compile({ bundlePath: `${out}/k3slb.mjs`, binaryPath: fresh, target });
  if (target === hostTarget()) await assertStarts(fresh, denoJson.version);
  await Deno.rename(fresh, `${out}/${name}`);
  const binary = await Deno.readFile(`${out}/${name}`);
  const checksum = createHash("sha256").update(binary).digest("hex");
  await Deno.writeTextFile(`${out}/${name}.sha256`, `${checksum}  ${name}\n`);
  const compressedBytes = runtime === "bun" && !compress
    // Packing the whole binary takes a minute; the base runtime is pinned, so its packed size is known.
    ? bunPackage(target).xzBytes + await compressedSize(`${out}/k3slb.mjs`)
    : await writeCompressed(`${out}/${name}`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const sizes = `${megabytes(binary.length)}, compressed ${megabytes(compressedBytes)}`;
  print(
    `${out}/${name}: ${runtime}, ${target}, bundle ${Math.round(bundle.code.length / 1000)} kB, ${sizes}, ${seconds} s`,
  );
  assertBudget(name, { bytes: binary.length, compressedBytes });
}

/** A base runtime that is not one for compiled programs makes a binary that is something else. */
async function assertStarts(binary: string, version: string): Promise<void> {
  const hint = "Check the base runtime; with --runtime deno it is the file that DENORT_BIN names";
  const text = await runTool([binary, "version", "-o", "json"], { hint });
  if (text.includes(`"version": "${version}"`)) return;
  throw new K3slbError(`"${binary}" starts, but is not k3slb ${version}`, { code: "binary-broken", hint });
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
