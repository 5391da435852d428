// The container image of the program under test, made as a release makes it, and that of the version before; both beside the binary, made anew
// when it is. Packages come from the Debian archive, so it is made before a private world is entered.
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { writeImageArchive } from "../../build/release/image_archive.ts";
import { writeOciImage } from "../../build/release/oci_image.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { ensureProgramBefore, programBefore } from "./program_before.ts";
import { runToEnd } from "./programs.ts";
import { startRegistry } from "./registry.ts";

/** Repository of the images; the tags are `before` and `now`. */
export const PROGRAM_IMAGE = "k3slb.test/k3slb";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DIST = join(ROOT, "dist");
const EPOCH_SECONDS = 1_700_000_000;

/** Archive of the image; `undefined` if it was not made. */
export function programImage(tag: "before" | "now"): string | undefined {
  const binary = tag === "now" ? join(DIST, "k3slb") : programBefore();
  if (binary === undefined || !existsSync(binary)) return undefined;
  const file = imageFile(tag, binary);
  return existsSync(file) ? file : undefined;
}

/** The same image once more, as a host without internet access gets it: brought from a registry into an archive of images. */
export async function pulledImage(tag: "before" | "now"): Promise<string | undefined> {
  const given = programImage(tag);
  if (given === undefined) return undefined;
  const layout = mkdtempSync(join(tmpdir(), "k3slb-layout-"));
  const out = join(DIST, "test-images");
  mkdirSync(out, { recursive: true });
  await runToEnd(["tar", "-xf", given, "-C", layout]);
  const registry = startRegistry(layout);
  try {
    const architecture = process.arch === "arm64" ? "arm64" : "amd64";
    return await writeImageArchive({ images: [`${PROGRAM_IMAGE}:${tag}`], architecture, out, registry: registry.url });
  } finally {
    await registry.stop();
    rmSync(layout, { recursive: true });
  }
}

/** Makes what is not there yet; says what can't be had, and why. */
export async function ensureProgramImages(report: (line: string) => void): Promise<void> {
  try {
    await ensureProgramBefore(report);
    for (const tag of ["before", "now"] as const) {
      const binary = tag === "now" ? join(DIST, "k3slb") : programBefore();
      if (binary !== undefined && !existsSync(imageFile(tag, binary))) await makeImage(tag, binary);
    }
  } catch (error) {
    report(`lacking: images of the program: ${errorMessage(error)}`);
  }
}

function imageFile(tag: string, binary: string): string {
  const hash = createHash("sha256").update(readFileSync(binary)).digest("hex").slice(0, 16);
  return join(DIST, `test-image-${tag}-${hash}.tar`);
}

async function makeImage(tag: string, binary: string): Promise<void> {
  for (const name of readdirSync(DIST)) if (name.startsWith(`test-image-${tag}-`)) rmSync(join(DIST, name));
  const work = mkdtempSync(join(tmpdir(), "k3slb-image-"));
  try {
    const { file } = await writeOciImage({
      repository: PROGRAM_IMAGE,
      version: tag,
      commit: "test",
      binaries: [{ arch: process.arch === "arm64" ? "arm64" : "x64", binary }],
      notices: join(DIST, "THIRD_PARTY_NOTICES.txt"),
      out: work,
      work,
      epochSeconds: EPOCH_SECONDS,
    });
    // Across file systems a rename is none.
    copyFileSync(file, imageFile(tag, binary));
  } finally {
    rmSync(work, { recursive: true });
  }
}
