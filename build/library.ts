// `deno task library`: mod.ts to one ES module that Deno, Bun and Node import, with the declarations of its types and a package.json.
// The models of Kubernetes' objects are the types of a library that is not inside: whoever wants them checked installs it.
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { K3slbError } from "../core/shared/errors.ts";
import denoJson from "../deno.json" with { type: "json" };
import { bundleLibrary } from "./bundle.ts";

/** Where the sources are and where the library goes. */
export interface LibraryOptions {
  /** Folder of the sources. */
  readonly root: string;
  /** Folder that is written to. */
  readonly out: string;
}

/**
 * Writes `k3slb.mjs`, `types/` and `package.json`.
 * @throws {K3slbError} code "bundle" if the sources can't be bundled or declared
 */
export async function buildLibrary({ root, out }: LibraryOptions): Promise<void> {
  const { files } = await bundleLibrary(root);
  await Deno.mkdir(out, { recursive: true });
  for (const { name, code } of files) await Deno.writeFile(`${out}/${name}`, code);
  for (const [path, text] of declarations(root)) {
    const file = `${out}/types/${path}`;
    await Deno.mkdir(file.slice(0, file.lastIndexOf("/")), { recursive: true });
    await Deno.writeTextFile(file, text);
  }
  await Deno.writeTextFile(`${out}/package.json`, `${JSON.stringify(packageJson(), null, 2)}\n`);
}

/** Declarations of mod.ts and of all it exports, by path. Types are not checked: `deno check` does that. */
function declarations(root: string): ReadonlyMap<string, string> {
  const folder = root.replace(/\/$/, "");
  const files = new Map<string, string>();
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    allowImportingTsExtensions: true,
    declaration: true,
    emitDeclarationOnly: true,
    noCheck: true,
    skipLibCheck: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    rootDir: folder,
    outDir: folder,
    types: [],
  };
  const program = ts.createProgram([`${folder}/mod.ts`], options);
  program.emit(undefined, (path, text) => {
    files.set(path.slice(folder.length + 1), text.replaceAll(TS_SPECIFIER_REGEXP, "$1.js$2"));
  });
  if (!files.has("mod.d.ts")) throw new K3slbError("The compiler wrote no declarations of mod.ts", { code: "bundle" });
  return files;
}

/** Declarations name each other as a reader of JavaScript finds them. */
const TS_SPECIFIER_REGEXP = /((?:from |import\()"\.[^"]+)\.ts(")/g;

function packageJson(): object {
  const models = "kubernetes-fluent-client";
  return {
    name: "k3slb",
    version: denoJson.version,
    type: "module",
    license: "Apache-2.0",
    engines: { node: ">=20" },
    exports: { ".": { types: "./types/mod.d.ts", default: "./k3slb.mjs" } },
    peerDependencies: { [models]: denoJson.imports[models].split("@").at(-1) },
    peerDependenciesMeta: { [models]: { optional: true } },
  };
}

if (import.meta.main) {
  const root = fileURLToPath(new URL("..", import.meta.url));
  await buildLibrary({ root, out: Deno.args[0] ?? `${root}dist/lib` });
}
