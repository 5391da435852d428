// Licence notices of what is inside the binary and not this project's own: libraries in the bundle, and the base runtime. MIT and ISC
// want theirs in every copy, so they lie beside the binary.
import { compareText } from "../core/shared/compare_text.ts";
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
  return [...found.values()].sort((a, b) => compareText(a.name, b.name));
}

/**
 * The notices for a bundle that is made of `inputs`.
 * @throws {K3slbError} code "licence-missing" if a library comes without its licence
 */
export async function renderNotices(
  inputs: readonly string[],
  { root, runtime }: { readonly root: string; readonly runtime: "bun" | "deno" },
): Promise<string> {
  const parts = [HEAD, RUNTIMES[runtime], TRAEFIK_DEFINITIONS];
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

const MIT =
  `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;

const TRAEFIK_DEFINITIONS =
  `The definitions of Traefik's kinds (CustomResourceDefinitions), from the chart in https://github.com/traefik/traefik-helm-chart

They are made from the sources of Traefik (https://github.com/traefik/traefik): The MIT License (MIT),
Copyright (c) 2016-2020 Containous SAS; 2020-2025 Traefik Labs.
The chart: Apache License 2.0, Copyright 2020 Containous, Copyright 2020 Traefik Labs.

${MIT}`;

const RUNTIMES = {
  bun: `Bun, the runtime

MIT License. Copyright (c) Oven and contributors, https://github.com/oven-sh/bun
It links JavaScriptCore of WebKit (LGPL 2; the source that it was made from is at https://github.com/oven-sh/WebKit, and Bun's
repository says how to link it anew) and further libraries, all listed with their licences in
https://github.com/oven-sh/bun/blob/main/LICENSE.md. The modules in bundle/ beside the binary are the program itself: \`bun build --compile\` puts them
into another build of the runtime.`,
  deno: `Deno, the runtime

MIT License. Copyright the Deno authors, https://github.com/denoland/deno
It links V8 (BSD 3-Clause) and further libraries, listed with their licences in that repository.`,
} as const;
