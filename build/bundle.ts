// Sources to JavaScript, by esbuild. Asserts what must not be inside.
import { basename } from "node:path";
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
  /** The entry first, then the parts that it imports when they are needed. */
  readonly files: readonly BundleFile[];
  /** Which sources went in, by esbuild; kept beside the binary. */
  readonly metafile: esbuild.Metafile;
}

/** One ES module of a bundle. */
export interface BundleFile {
  /** Name without folder; the others import it by that. */
  readonly name: string;
  readonly code: Uint8Array;
}

/** Name of the file that a bundle starts with. */
export const BUNDLE_ENTRY = "k3slb.mjs";

/**
 * The program as ES modules that import nothing but each other and `node:`. What is imported when it is needed is a file of its own, so that a
 * command reads, and a program that runs holds, its own part and not the whole.
 * @throws {K3slbError} code "bundle" if a file is inside that must not be
 */
export async function bundleProgram(options: BundleOptions): Promise<Bundle> {
  const { root, version, commit, target } = options;
  const define = { K3SLB_BUILD: JSON.stringify({ version, commit, target }) };
  return await bundleEntry({ root, entry: "cli/main.ts", define, inject: [], splitting: true });
}

/**
 * The library as one ES module without imports other than `node:`, for Node 20 as well.
 * @throws {K3slbError} code "bundle" if a file is inside that must not be
 */
export async function bundleLibrary(root: string): Promise<Bundle> {
  const define = {
    "Promise.withResolvers": "promiseWithResolvers",
    "Map.groupBy": "mapGroupBy",
    "Object.groupBy": "objectGroupBy",
  };
  return await bundleEntry({ root, entry: "mod.ts", define, inject: ["build/node_20.ts"], splitting: false });
}

interface EntryOptions {
  readonly root: string;
  readonly entry: string;
  readonly define: Record<string, string>;
  /** Sources of the names that `define` puts in. */
  readonly inject: string[];
  readonly splitting: boolean;
}

async function bundleEntry({ root, entry, define, inject, splitting }: EntryOptions): Promise<Bundle> {
  const result = await esbuildOrFail({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    format: "esm",
    platform: "node",
    target: "es2022",
    splitting,
    outdir: "bundle",
    entryNames: basename(BUNDLE_ENTRY, ".mjs"),
    outExtension: { ".js": ".mjs" },
    minifyWhitespace: true,
    minifySyntax: true,
    // Names stay: stack traces in bug reports must be readable.
    minifyIdentifiers: false,
    legalComments: "inline",
    logLevel: "silent",
    // CommonJS libraries ask for built-ins by `require`, which an ES module does not have.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    define,
    inject,
  });
  assertInputs(Object.keys(result.metafile.inputs));
  const files = result.outputFiles.map(({ path, contents }) => ({ name: basename(path), code: contents }));
  const isEntry = ({ name }: BundleFile): boolean => name === BUNDLE_ENTRY;
  if (!files.some(isEntry)) throw new TypeError("esbuild wrote nothing");
  return { files: files.toSorted((a, b) => Number(isEntry(b)) - Number(isEntry(a))), metafile: result.metafile };
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
