// Container images as one file: an archive in the OCI layout (opencontainers/image-spec 1.1: layout, index, descriptor), as
// `ctr images import`, `podman load` and `skopeo copy oci-archive:…` take it.
import { createHash } from "node:crypto";
import { packFolder } from "./stage.ts";

export const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
export const MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";

/** Names a blob. */
export interface Descriptor {
  readonly mediaType: string;
  /** `sha256:` and 64 digits. */
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
  readonly platform?: { readonly architecture: string; readonly os: string };
}

/** Where the blob stands in the layout. */
export function blobPath(layout: string, digest: string): string {
  return `${layout}/blobs/${digest.replace(":", "/")}`;
}

/** Writes `bytes` under their own digest. */
export async function writeBlob(layout: string, mediaType: string, bytes: Uint8Array): Promise<Descriptor> {
  const digest = digestOf(bytes);
  await Deno.mkdir(`${layout}/blobs/sha256`, { recursive: true });
  await Deno.writeFile(blobPath(layout, digest), bytes);
  return { mediaType, digest, size: bytes.length };
}

/** The digest by which `bytes` are named. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** A value as the bytes of a blob. */
export function jsonBytes(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Packs the layout with its images, by the names that container runtimes know them by. */
export async function packLayout(
  layout: string,
  images: ReadonlyMap<string, Descriptor>,
  { archive, epochSeconds }: { readonly archive: string; readonly epochSeconds: number },
): Promise<void> {
  const manifests = [...images].map(([name, descriptor]) => ({
    ...descriptor,
    annotations: {
      "io.containerd.image.name": fullImageName(name),
      "org.opencontainers.image.ref.name": name.slice(name.lastIndexOf(":") + 1),
    },
  }));
  const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests };
  await Deno.writeFile(`${layout}/index.json`, jsonBytes(index));
  await Deno.writeFile(`${layout}/oci-layout`, jsonBytes({ imageLayoutVersion: "1.0.0" }));
  await packFolder({ folder: layout, name: ".", archive, epochSeconds });
}

/** As container runtimes complete a name: `rancher/pause:1` is `docker.io/rancher/pause:1`. */
export function fullImageName(name: string): string {
  const [first = "", ...rest] = name.split("/");
  if (rest.length === 0) return `docker.io/library/${name}`;
  return /[.:]|^localhost$/.test(first) ? name : `docker.io/${name}`;
}
