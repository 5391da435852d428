// `deno task release`: everything that is published of one version: archives, packages, container image, list of what is inside, checksums.
// The same inputs give the same bytes, wherever they are built.
import { createHash } from "node:crypto";
import { basename, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { inParallel } from "../../core/runtime/in_parallel.ts";
import { present } from "../../core/shared/values.ts";
import { print, runMain } from "../run_main.ts";
import { binaryName, buildTarget, VERSION } from "../build_target.ts";
import { knownWord, readWords } from "../command_line.ts";
import { bundledPackages } from "../notices.ts";
import { runTool } from "../run_tool.ts";
import { bunPackage, type Target, TARGETS } from "../targets.ts";
import { writeDebianPackage } from "./debian_package.ts";
import { foreignImages, writeImageArchive } from "./image_archive.ts";
import { type OciImageOptions, writeOciImage } from "./oci_image.ts";
import { type ReleaseFile, releaseFiles } from "./release_files.ts";
import { writeRpmPackage } from "./rpm_package.ts";
import { renderSbom } from "./sbom.ts";
import { packFolder, stageFiles } from "./stage.ts";

const USAGE = `deno task release [--target ${TARGETS.join("|")}]... [--out dist/release] [--image NAME] [--no-image]
    [--archive-images [--registry URL]]`;
const DEFAULT_IMAGE = "k3slb/k3slb";

/** What is asked for. */
export interface ReleaseRequest {
  readonly targets: readonly Target[];
  readonly out: string;
  /** Repository of the container image; absent: no image. */
  readonly image?: string;
  /** Whether archives of the images that others made are written too, from `registry` or from their own ones. */
  readonly archiveImages: boolean;
  readonly registry?: string;
}

/** Writes all files of a release into `out`; `build` makes the binary of each target. */
export async function release(
  { targets, out, image, archiveImages, ...from }: ReleaseRequest,
  build: typeof buildTarget = buildTarget,
): Promise<void> {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  // Folders have the same rights in every archive, whoever makes it.
  const umask = Deno.umask(0o022);
  const work = await Deno.makeTempDir({ prefix: "k3slb-release-" });
  const source = await sourceOf(root);
  await Deno.mkdir(out, { recursive: true });
  const binaries: { readonly arch: "x64" | "arm64"; readonly binary: string }[] = [];
  const tasks: (() => Promise<string>)[] = [];
  const written: string[] = [];
  try {
    for (const target of targets) {
      const folder = `${work}/${target}`;
      await Deno.mkdir(folder);
      const built = await build(target, { root, out: folder, runtime: "bun", compress: false });
      print(built.summary);
      const binary = `${folder}/${binaryName(target)}`;
      const notices = `${folder}/THIRD_PARTY_NOTICES.txt`;
      const files = releaseFiles({ version: VERSION, epochSeconds: source.epochSeconds, root, binary, notices });
      const name = `k3slb-${VERSION}-${target}`;
      const sbom = `${out}/${name}.cdx.json`;
      const { name: runtimeName, version: runtimeVersion } = bunPackage(target);
      const runtime = { name: runtimeName, version: runtimeVersion };
      const packages = bundledPackages(built.inputs);
      await Deno.writeTextFile(sbom, renderSbom({ version: VERSION, ...source, runtime, packages }));
      written.push(sbom);
      tasks.push(() => writeArchive(files, { name, folder, out, epochSeconds: source.epochSeconds }));
      if (target.endsWith("musl")) continue;
      const arch = target === "linux-arm64" ? "arm64" : "x64";
      const options = { files, version: VERSION, arch, out, work: folder, epochSeconds: source.epochSeconds } as const;
      tasks.push(() => writeDebianPackage(options), () => writeRpmPackage(options));
      binaries.push({ arch, binary });
    }
    if (image !== undefined && binaries.length > 0) {
      const notices = `${work}/${targets[0]}/THIRD_PARTY_NOTICES.txt`;
      const parts = { ...source, repository: image, version: VERSION, binaries, notices, out, work };
      // First, as it waits for the Debian archive while others pack.
      tasks.unshift(() => writeImage(parts));
    }
    print("Packing: most of the time goes into xz");
    written.push(...await inParallel(tasks, navigator.hardwareConcurrency, (task) => task()));
    const list = `${out}/k3slb-${VERSION}-images.txt`;
    await Deno.writeTextFile(list, `${foreignImages().join("\n")}\n`);
    written.push(list);
    for (const { arch } of archiveImages ? binaries : []) {
      const architecture = arch === "x64" ? "amd64" : "arm64";
      written.push(await writeImageArchive({ images: foreignImages(), architecture, out, ...from }));
    }
    written.push(...await copyDeployments(root, { ...source, out, work }));
    await writeSums(out, written);
  } finally {
    Deno.umask(umask);
    await Deno.remove(work, { recursive: true });
  }
  for (const file of [...written, `${out}/SHA256SUMS`]) {
    print(`${file}  ${((await Deno.stat(file)).size / 1_000_000).toFixed(1)} MB`);
  }
}

async function writeArchive(
  files: readonly ReleaseFile[],
  { name, folder, out, epochSeconds }: ArchiveOptions,
): Promise<string> {
  const pathOf = ({ inArchive }: ReleaseFile) => (inArchive === undefined ? undefined : `${name}/${inArchive}`);
  await stageFiles(files, { folder, pathOf });
  const archive = `${out}/${name}.tar.xz`;
  await packFolder({ folder, name, archive, epochSeconds });
  return archive;
}

interface ArchiveOptions {
  readonly name: string;
  readonly folder: string;
  readonly out: string;
  readonly epochSeconds: number;
}

async function writeImage(options: OciImageOptions): Promise<string> {
  const { repository, version, binaries } = options;
  const { file, packages } = await writeOciImage(options);
  const inside = packages.map(({ name, version }) => `${name} ${version}`).join(", ");
  print(`${file}: ${repository}:${version} for ${binaries.map(({ arch }) => arch).join(", ")}, of Debian: ${inside}`);
  return file;
}

/** Which commit the sources are of, and its time, which every written file gets (https://reproducible-builds.org/specs/source-date-epoch/). */
async function sourceOf(root: string): Promise<{ readonly commit: string; readonly epochSeconds: number }> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  const hint = "Build from a checkout, or set SOURCE_DATE_EPOCH to the time of the sources in seconds since 1970";
  const git = ["git", "-C", root];
  if (given !== undefined && /^\d+$/.test(given)) return { commit: "unknown", epochSeconds: Number(given) };
  const text = await runTool([...git, "log", "-1", "--format=%h %ct", "--abbrev=12"], { hint });
  const [commit = "", seconds = ""] = text.trim().split(" ");
  return { commit, epochSeconds: Number(seconds) };
}

/** What an installation is made by: the script for hosts, the manifest and the chart for clusters. */
async function copyDeployments(
  root: string,
  { out, work, epochSeconds }: { readonly out: string; readonly work: string; readonly epochSeconds: number },
): Promise<readonly string[]> {
  for (const name of ["install.sh", "k3slb.yaml"]) await Deno.copyFile(`${root}deploy/${name}`, `${out}/${name}`);
  await runTool(["cp", "-r", "--no-preserve=mode", `${root}deploy/chart`, `${work}/k3slb`], {
    hint: "Check the checkout: deploy/chart is missing",
  });
  await packFolder({ folder: work, name: "k3slb", archive: `${work}/chart.tar`, epochSeconds });
  const chart = `${out}/k3slb-${VERSION}.tgz`;
  await Deno.writeFile(chart, gzipSync(await Deno.readFile(`${work}/chart.tar`)));
  return [`${out}/install.sh`, `${out}/k3slb.yaml`, chart];
}

async function writeSums(out: string, files: readonly string[]): Promise<void> {
  const lines: string[] = [];
  for (const file of [...files].sort()) {
    const hash = createHash("sha256").update(await Deno.readFile(file)).digest("hex");
    lines.push(`${hash}  ${basename(file)}`);
  }
  await Deno.writeTextFile(`${out}/SHA256SUMS`, `${lines.join("\n")}\n`);
}

function readRequest(): ReleaseRequest {
  const { values } = readWords({
    options: {
      target: { type: "string", multiple: true, default: [...TARGETS] },
      out: { type: "string", default: fileURLToPath(new URL("../../dist/release", import.meta.url)) },
      image: { type: "string", default: DEFAULT_IMAGE },
      "no-image": { type: "boolean", default: false },
      "archive-images": { type: "boolean", default: false },
      registry: { type: "string" },
    },
  }, USAGE);
  const { registry, "archive-images": archiveImages, "no-image": isWithout } = values;
  return present({
    targets: values.target.map((name) => knownWord(name, { what: "Target", known: TARGETS, usage: USAGE })),
    out: resolve(values.out),
    archiveImages,
    image: isWithout ? undefined : values.image,
    registry,
  });
}

if (import.meta.main) await runMain(() => release(readRequest()));
