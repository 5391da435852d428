// One target from sources to a binary with its checksum and licence notices, within its budgets.
import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { K3slbError } from "../core/shared/errors.ts";
import denoJson from "../deno.json" with { type: "json" };
import { type Bundle, BUNDLE_ENTRY, bundleProgram } from "./bundle.ts";
import { bunRuntimeBytes, compileWithBun, compileWithDeno } from "./compile.ts";
import { compressedSize, writeCompressed } from "./compressed_size.ts";
import { renderNotices } from "./notices.ts";
import { runTool } from "./run_tool.ts";
import { bunPackage, hostTarget, type Target } from "./targets.ts";

const MAX_BINARY_BYTES = 115_000_000;
const MAX_COMPRESSED_BYTES = 45_000_000;

/** Version of the program. */
export const VERSION: string = denoJson.version;

/** Where and how a target is built. */
export interface BuildTargetOptions {
  /** Folder of the sources, with a final slash. */
  readonly root: string;
  /** Folder that is written to; it exists. */
  readonly out: string;
  readonly runtime: "bun" | "deno";
  /** Whether NAME.xz is written too. */
  readonly compress: boolean;
}

/** What was built. */
export interface BuiltTarget {
  readonly binary: string;
  /** Sources that are inside, as esbuild names them. */
  readonly inputs: readonly string[];
  /** One line for people. */
  readonly summary: string;
}

/** File name of the binary for `target`: the host's own has the bare name. */
export function binaryName(target: Target): string {
  return target === hostTarget() ? "k3slb" : `k3slb-${target}`;
}

/**
 * Builds the binary, its checksum, the bundle and the notices.
 * @throws {K3slbError} code "size-budget" if it is too large, "binary-broken" if it does not start
 */
export async function buildTarget(target: Target, options: BuildTargetOptions): Promise<BuiltTarget> {
  const { root, out, runtime, compress } = options;
  const startMs = performance.now();
  const bundle = await bundleProgram({ root, version: VERSION, commit: await commitOf(root), target });
  await writeBundle(bundle, `${out}/bundle`);
  await Deno.writeTextFile(`${out}/metafile.json`, JSON.stringify(bundle.metafile));
  const inputs = Object.keys(bundle.metafile.inputs);
  const notices = await renderNotices(inputs, { root: root.replace(/\/$/, ""), runtime });
  await Deno.writeTextFile(`${out}/THIRD_PARTY_NOTICES.txt`, notices);
  const name = binaryName(target);
  const compile = runtime === "bun" ? compileWithBun : compileWithDeno;
  // Under its own name only when it is whole: a binary that runs at this moment goes on running.
  const fresh = `${out}/${name}.new`;
  await compile({ bundlePath: `${out}/bundle/${BUNDLE_ENTRY}`, binaryPath: fresh, target });
  if (target === hostTarget()) await assertStarts(fresh, VERSION);
  await Deno.rename(fresh, `${out}/${name}`);
  const binary = await Deno.readFile(`${out}/${name}`);
  const checksum = createHash("sha256").update(binary).digest("hex");
  await Deno.writeTextFile(`${out}/${name}.sha256`, `${checksum}  ${name}\n`);
  const compressedBytes = runtime === "bun" && !compress
    // Packing the whole binary takes a minute; the base runtime is pinned, so its packed size is known.
    ? bunPackage(target).xzBytes + await compressedSize(`${out}/${name}`, await bunRuntimeBytes(target))
    : await writeCompressed(`${out}/${name}`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const sizes = `${megabytes(binary.length)}, compressed ${megabytes(compressedBytes)}`;
  assertBudget(name, { bytes: binary.length, compressedBytes });
  const bundledBytes = bundle.files.reduce((sum, { code }) => sum + code.length, 0);
  const bundled = `bundle ${Math.round(bundledBytes / 1000)} kB`;
  const summary = `${out}/${name}: ${runtime}, ${target}, ${bundled}, ${sizes}, ${seconds} s`;
  return { binary: `${out}/${name}`, inputs, summary };
}

/** Parts carry what they hold in their names: those of another build go. */
async function writeBundle({ files }: Bundle, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await Deno.mkdir(folder);
  for (const { name, code } of files) await Deno.writeFile(`${folder}/${name}`, code);
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
