// What the program is built for, and which base runtime goes inside. Versions and checksums are in runtimes.json.
import runtimes from "./runtimes.json" with { type: "json" };

/** Operating system, processor and C library of a build. */
export type Target = keyof typeof runtimes.targets;

/** Every target. */
export const TARGETS: readonly Target[] = ["linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl"];

/** A package of the npm registry that holds a base runtime. */
export interface RuntimePackage {
  readonly name: string;
  readonly version: string;
  /** `sha512-` and the base64 checksum of the packed file, as npm writes it. */
  readonly integrity: string;
  /** Size of the program inside after `xz -6`, measured when the version was pinned. */
  readonly xzBytes: number;
}

/** The package with Bun for `target`. The x64 ones run on processors without AVX2, as small virtual machines often are. */
export function bunPackage(target: Target): RuntimePackage {
  const { package: name, integrity, xzBytes } = runtimes.targets[target];
  return { name, version: runtimes.version, integrity, xzBytes };
}

/** What the build runs on. */
export function hostTarget(): Target {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  return `linux-${arch}`;
}

/** The triple by which `deno compile` knows a target; it has none for musl. */
export function denoTriple(target: Target): string | undefined {
  if (target === "linux-x64") return "x86_64-unknown-linux-gnu";
  return target === "linux-arm64" ? "aarch64-unknown-linux-gnu" : undefined;
}
