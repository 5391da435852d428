// Licence notices of what is inside the binary and not this project's own: libraries in the bundle, and the base runtime. MIT and ISC
// want theirs in every copy, so they lie beside the binary.
import { K3slbError } from "../core/shared/errors.ts";

/** A library in the bundle. */
export interface BundledPackage {
  readonly name: string;
  readonly version: string;
  /** Its folder, relative to the root. */
  readonly folder: string;
}

/** The libraries that `inputs`, the sources of a bundle, come from, by name. Pure. */
export function bundledPackages(inputs: readonly string[]): readonly BundledPackage[] {
  const found = new Map<string, BundledPackage>();
  for (const input of inputs) {
    const match = PACKAGE_REGEXP.exec(input)?.groups;
    if (match?.name === undefined) continue;
    found.set(match.name, { name: match.name, version: match.version ?? "", folder: match.folder ?? "" });
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * The notices for a bundle that is made of `inputs`.
 * @throws {K3slbError} code "licence-missing" if a library comes without its licence
 */
export async function renderNotices(
  inputs: readonly string[],
  { root, runtime }: { readonly root: string; readonly runtime: "bun" | "deno" },
): Promise<string> {
  const parts = [HEAD, RUNTIMES[runtime]];
  for (const { name, version, folder } of bundledPackages(inputs)) {
    parts.push(`${name} ${version}\n\n${(await licenceOf(name, `${root}/${folder}`)).trim()}`);
  }
  return `${parts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

async function licenceOf(name: string, folder: string): Promise<string> {
  for await (const { name: file } of Deno.readDir(folder)) {
    if (/^licen[cs]e(?:\.\w+)?$/i.test(file)) return await Deno.readTextFile(`${folder}/${file}`);
  }
  throw new K3slbError(`Package "${name}" has no licence file`, {
    code: "licence-missing",
    hint: `Look into "${folder}"; what is not licensed can't be shipped`,
  });
}

const PACKAGE_REGEXP =
  /^(?<folder>.*node_modules\/\.deno\/@?[^/@]+@(?<version>\d[^/_]*)[^/]*\/node_modules\/(?<name>(?:@[^/]+\/)?[^/]+))\//;

const HEAD = `k3slb is licensed under the Apache License 2.0. The binary also contains the following.`;

const RUNTIMES = {
  bun: `Bun, the runtime

MIT License. Copyright (c) Oven and contributors, https://github.com/oven-sh/bun
It links JavaScriptCore of WebKit (LGPL 2; the source that it was made from is at https://github.com/oven-sh/WebKit, and Bun's
repository says how to link it anew) and further libraries, all listed with their licences in
https://github.com/oven-sh/bun/blob/main/LICENSE.md. k3slb.mjs beside the binary is the program itself: \`bun build --compile\` puts it
into another build of the runtime.`,
  deno: `Deno, the runtime

MIT License. Copyright the Deno authors, https://github.com/denoland/deno
It links V8 (BSD 3-Clause) and further libraries, listed with their licences in that repository.`,
} as const;
