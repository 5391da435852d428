// Brings Bun's base runtimes from the npm registry by `npm pack`, so that the user's npm configuration (mirror, proxy, certificates)
// counts. Each packed file is checked against the checksum in runtimes.json before anything of it is run; the result is cached.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { K3slbError } from "../core/shared/errors.ts";
import { runTool } from "./run_tool.ts";
import type { RuntimePackage } from "./targets.ts";

/** Folder of things that builds may reuse. */
function cacheFolder(): string {
  const root = Deno.env.get("XDG_CACHE_HOME") || `${Deno.env.get("HOME") ?? "."}/.cache`;
  return `${root}/k3slb/runtimes`;
}

/**
 * Path of the `bun` program inside `runtime`, brought and checked if it is not cached.
 * @throws {K3slbError} code "runtime-integrity" if the checksum differs, "build-tool" if npm or tar fail
 */
export async function fetchBun(runtime: RuntimePackage): Promise<string> {
  const folder = `${cacheFolder()}/${runtime.name.replaceAll("/", "+").replace("@", "")}-${runtime.version}`;
  const program = `${folder}/package/bin/bun`;
  if (existsSync(`${folder}/checked`)) return program;
  const work = await Deno.makeTempDir({ prefix: "k3slb-runtime-" });
  try {
    const hint = "Check that npm is installed and reaches its registry; its own configuration is used";
    const spec = `${runtime.name}@${runtime.version}`;
    const packed = JSON.parse(await runTool(["npm", "pack", "--json", "--silent", spec], { cwd: work, hint }));
    const file = `${work}/${packedFileName(packed, spec)}`;
    await checkIntegrity(file, runtime);
    // Put in place as a whole, so that a second build at the same time finds all of it or nothing.
    const fresh = `${folder}.${Deno.pid}`;
    await Deno.mkdir(fresh, { recursive: true });
    await runTool(["tar", "-xzf", file, "-C", fresh], { hint: "Check that tar and gzip are installed" });
    await Deno.writeTextFile(`${fresh}/checked`, `${runtime.integrity}\n`);
    await rm(folder, { recursive: true, force: true });
    await Deno.rename(fresh, folder);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
  return program;
}

async function checkIntegrity(file: string, runtime: RuntimePackage): Promise<void> {
  const digest = createHash("sha512").update(await Deno.readFile(file)).digest("base64");
  if (`sha512-${digest}` === runtime.integrity) return;
  throw new K3slbError(`Package "${runtime.name}" ${runtime.version} is not the one that this build was made for`, {
    code: "runtime-integrity",
    hint: "Its checksum differs from build/runtimes.json; find out who changed it before you build",
    details: { want: runtime.integrity, got: `sha512-${digest}` },
  });
}

function packedFileName(packed: unknown, spec: string): string {
  const first: unknown = Array.isArray(packed) ? packed[0] : undefined;
  if (typeof first === "object" && first !== null && "filename" in first && typeof first.filename === "string") {
    // npm before version 9 prints the scoped name with its slash, while the file has a dash.
    return first.filename.replace("@", "").replaceAll("/", "-");
  }
  throw new K3slbError(`npm did not say which file it packed for "${spec}"`, { code: "build-tool" });
}
