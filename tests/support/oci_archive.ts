// Container images as files, made on the spot without a registry: one layer, in the OCI image layout, packed as `ctr images import`
// takes it. Facts: OCI image spec 1.1 (image-layout, manifest, config); containerd reads names from `io.containerd.image.name`.
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { copyFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { runToEnd } from "./programs.ts";

/** What one image has. */
export interface ImageContent {
  /** Full names with a tag, such as `docker.io/library/web:1`; all name the same image. */
  readonly names: readonly string[];
  readonly entrypoint: readonly string[];
  /** What the entrypoint is given unless the container says otherwise. */
  readonly args?: readonly string[];
  /** Path in the image → file of this machine. */
  readonly files: Readonly<Record<string, string>>;
  /** Path in the image → what it points to. */
  readonly links?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Number of the user that it runs as; absent: root. */
  readonly user?: string;
}

const FOLDERS = ["tmp", "etc", "proc", "sys", "dev", "run", "var", "bin"];
const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64" };

/** Makes the archive below `cacheDir`, unless it is there; returns its path. */
export async function ensureImageArchive(content: ImageContent, cacheDir: string): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify({ ...content, files: Object.keys(content.files) }));
  for (const source of Object.values(content.files)) hash.update(readFileSync(source));
  const archive = join(cacheDir, `image-${hash.digest("hex").slice(0, 16)}.tar`);
  if (existsSync(archive)) return archive;
  const work = mkdtempSync(join(tmpdir(), "k3slb-image-"));
  try {
    const layer = join(work, "layer.tar");
    await packTree(unpackedRoot(content, join(work, "root")), layer);
    const layout = join(work, "layout");
    writeLayout(content, readFileSync(layer), layout);
    mkdirSync(cacheDir, { recursive: true });
    const unfinished = `${archive}.${process.pid}`;
    await packTree(layout, unfinished);
    renameSync(unfinished, archive);
  } finally {
    rmSync(work, { recursive: true });
  }
  return archive;
}

function unpackedRoot(content: ImageContent, root: string): string {
  for (const folder of FOLDERS) mkdirSync(join(root, folder), { recursive: true });
  const place = (path: string): string => {
    const target = join(root, path);
    mkdirSync(dirname(target), { recursive: true });
    return target;
  };
  // Copies keep the mode; a source that is a link is followed.
  for (const [path, source] of Object.entries(content.files)) copyFileSync(source, place(path));
  for (const [path, target] of Object.entries(content.links ?? {})) symlinkSync(target, place(path));
  return root;
}

/** The same tree always gives the same bytes. */
async function packTree(root: string, archive: string): Promise<void> {
  const reproducible = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
  await runToEnd(["tar", "-C", root, ...reproducible, "-cf", archive, "."]);
}

function writeLayout(content: ImageContent, layer: Uint8Array, folder: string): void {
  const blobs = join(folder, "blobs", "sha256");
  mkdirSync(blobs, { recursive: true });
  const blob = (mediaType: string, bytes: Uint8Array | string): { mediaType: string; digest: string; size: number } => {
    const digest = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(join(blobs, digest), bytes);
    return { mediaType, digest: `sha256:${digest}`, size: typeof bytes === "string" ? bytes.length : bytes.byteLength };
  };
  const packed = blob("application/vnd.oci.image.layer.v1.tar", layer);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...content.env };
  const config = blob(
    "application/vnd.oci.image.config.v1+json",
    JSON.stringify({
      architecture: GO_ARCHITECTURES[process.arch] ?? process.arch,
      os: "linux",
      config: {
        Entrypoint: content.entrypoint,
        ...(content.args === undefined ? {} : { Cmd: content.args }),
        Env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
        ...(content.user === undefined ? {} : { User: content.user }),
      },
      rootfs: { type: "layers", diff_ids: [packed.digest] },
    }),
  );
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = blob(mediaType, JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [packed] }));
  const manifests = content.names.map((name) => ({ ...manifest, annotations: { "io.containerd.image.name": name } }));
  writeFileSync(join(folder, "index.json"), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}
