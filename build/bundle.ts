// Sources to one JavaScript file, by esbuild. Asserts what must not be inside.
import * as esbuild from "esbuild";
import { errorMessage, K3slbError } from "../core/shared/errors.ts";

/** What is bundled, and what the build writes into it. */
export interface BundleOptions {
  readonly root: string;
  readonly version: string;
  readonly commit: string;
  readonly target: string;
}

/** The finished bundle. */
export interface Bundle {
  readonly code: Uint8Array;
  /** Which sources went in, by esbuild; kept beside the binary. */
  readonly metafile: esbuild.Metafile;
}

/**
 * The program as one ES module without imports other than `node:`.
 * @throws {K3slbError} code "bundle" if a file is inside that must not be
 */
export async function bundleProgram(options: BundleOptions): Promise<Bundle> {
  const { root, version, commit, target } = options;
  const define = { K3SLB_BUILD: JSON.stringify({ version, commit, target }) };
  return await bundleEntry({ root, entry: "cli/main.ts", define });
}

/**
 * The library as one ES module, likewise.
 * @throws {K3slbError} code "bundle" if a file is inside that must not be
 */
export async function bundleLibrary(root: string): Promise<Bundle> {
  return await bundleEntry({ root, entry: "mod.ts", define: {} });
}

interface EntryOptions {
  readonly root: string;
  readonly entry: string;
  readonly define: Record<string, string>;
}

async function bundleEntry({ root, entry, define }: EntryOptions): Promise<Bundle> {
  const result = await esbuildOrFail({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "es2022",
    outfile: "k3slb.mjs",
    minifyWhitespace: true,
    minifySyntax: true,
    // Names stay: stack traces in bug reports must be readable.
    minifyIdentifiers: false,
    legalComments: "inline",
    logLevel: "silent",
    // CommonJS libraries ask for built-ins by `require`, which an ES module does not have.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    define,
  });
  const code = result.outputFiles[0]?.contents;
  if (code === undefined) throw new TypeError("esbuild wrote nothing");
  assertInputs(Object.keys(result.metafile.inputs));
  return { code, metafile: result.metafile };
}

type BundledFiles = esbuild.BuildResult<{ readonly write: false; readonly metafile: true }>;

async function esbuildOrFail(
  options: esbuild.BuildOptions & { readonly write: false; readonly metafile: true },
): Promise<BundledFiles> {
  try {
    return await esbuild.build(options);
  } catch (cause) {
    throw new K3slbError(`Cannot bundle the sources: ${errorMessage(cause)}`, {
      code: "bundle",
      hint: "Run `deno check` to see the same fault with more words",
      cause,
    });
  } finally {
    await esbuild.stop();
  }
}

/**
 * Refuses a bundle that has files which belong outside.
 * @throws {K3slbError} code "bundle"
 */
export function assertInputs(inputs: readonly string[]): void {
  for (const { pattern, why } of FORBIDDEN_INPUTS) {
    const input = inputs.find((path) => pattern.test(path));
    if (input === undefined) continue;
    throw new K3slbError(`Bundle holds "${input}": ${why}`, {
      code: "bundle",
      hint: "Find the import that brings it in, in dist/metafile.json",
    });
  }
}

const FORBIDDEN_INPUTS: readonly { readonly pattern: RegExp; readonly why: string }[] = [
  { pattern: /(?:^|\/)tests\/|_test\.ts$/, why: "tests are not part of the program" },
  { pattern: /kubernetes-fluent-client/, why: "only its types are used" },
  { pattern: /@kubernetes\/client-node/, why: "the program has its own client" },
  { pattern: /(?:^|\/)(?:esbuild|fast-check|typescript)\//, why: "build and test tools are not part of the program" },
];
