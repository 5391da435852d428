// Container images as files, made on the spot without a registry: one layer each.
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { type Descriptor, jsonBytes, MANIFEST_TYPE, packLayout, writeBlob } from "../../build/release/oci_layout.ts";
import { packFolder } from "../../build/release/stage.ts";

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
    const reproducible = { name: ".", epochSeconds: 0 };
    await packFolder({ folder: unpackedRoot(content, join(work, "root")), archive: layer, ...reproducible });
    const layout = join(work, "layout");
    const manifest = await writeImage(content, readFileSync(layer), layout);
    mkdirSync(cacheDir, { recursive: true });
    const unfinished = `${archive}.${process.pid}`;
    await packLayout(layout, new Map(content.names.map((name) => [name, manifest])), {
      archive: unfinished,
      epochSeconds: 0,
    });
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

async function writeImage(content: ImageContent, layer: Uint8Array, layout: string): Promise<Descriptor> {
  const packed = await writeBlob(layout, "application/vnd.oci.image.layer.v1.tar", layer);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...content.env };
  const config = await writeBlob(
    layout,
    "application/vnd.oci.image.config.v1+json",
    jsonBytes({
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
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: [packed] };
  return await writeBlob(layout, MANIFEST_TYPE, jsonBytes(manifest));
}
