// The program's container image for several processors (opencontainers/image-spec 1.1: index, manifest, config), without a container engine.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { runtimeEnvironment } from "../../core/shared/systemd_unit.ts";
import { copyDebianFiles, type DebianPackage } from "./debian_files.ts";
import {
  type Descriptor,
  digestOf,
  INDEX_TYPE,
  jsonBytes,
  MANIFEST_TYPE,
  packLayout,
  writeBlob,
} from "./oci_layout.ts";
import { packFolder } from "./stage.ts";

/** What {@linkcode writeOciImage} takes. */
export interface OciImageOptions {
  /** Repository without tag, such as `registry.example.com/k3slb`. */
  readonly repository: string;
  readonly version: string;
  readonly commit: string;
  readonly binaries: readonly { readonly arch: "x64" | "arm64"; readonly binary: string }[];
  /** Licence notices of the binary. */
  readonly notices: string;
  readonly out: string;
  readonly work: string;
  /** Time of the sources, seconds since 1970. */
  readonly epochSeconds: number;
}

/** Writes `k3slb-VERSION-oci.tar` into `out`. */
export async function writeOciImage(
  options: OciImageOptions,
): Promise<{ readonly file: string; readonly packages: readonly DebianPackage[] }> {
  const { repository, version, out, work, epochSeconds } = options;
  const layout = `${work}/oci`;
  const manifests: Descriptor[] = [];
  let packages: readonly DebianPackage[] = [];
  for (const { arch, binary } of options.binaries) {
    const root = `${work}/image-${arch}`;
    await Deno.mkdir(`${root}/usr/bin`, { recursive: true });
    packages = await copyDebianFiles({ arch, others: [binary], work, root });
    await Deno.copyFile(binary, `${root}/usr/bin/k3slb`);
    await Deno.chmod(`${root}/usr/bin/k3slb`, 0o755);
    await Deno.mkdir(`${root}/usr/share/doc/k3slb`, { recursive: true });
    await Deno.copyFile(options.notices, `${root}/usr/share/doc/k3slb/THIRD_PARTY_NOTICES.txt`);
    for (const folder of ["dev", "etc", "proc", "run", "sys", "tmp", "var/lib"]) {
      await Deno.mkdir(`${root}/${folder}`, { recursive: true });
    }
    manifests.push(await writeManifest(options, { arch, root, layout }));
  }
  const index = await writeBlob(layout, INDEX_TYPE, jsonBytes({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests }));
  const file = `${out}/k3slb-${version}-oci.tar`;
  await packLayout(layout, new Map([[`${repository}:${version}`, index]]), { archive: file, epochSeconds });
  return { file, packages };
}

async function writeManifest(
  { version, commit, work, epochSeconds }: OciImageOptions,
  { arch, root, layout }: { readonly arch: "x64" | "arm64"; readonly root: string; readonly layout: string },
): Promise<Descriptor> {
  const archive = `${work}/layer-${arch}.tar`;
  await packFolder({ folder: root, name: ".", archive, epochSeconds });
  const bytes = await Deno.readFile(archive);
  await Deno.remove(archive);
  const layer = await writeBlob(
    layout,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    await promisify(gzip)(bytes, { level: 6 }),
  );
  const architecture = arch === "x64" ? "amd64" : "arm64";
  const config = await writeBlob(
    layout,
    "application/vnd.oci.image.config.v1+json",
    jsonBytes({
      created: new Date(epochSeconds * 1000).toISOString(),
      architecture,
      os: "linux",
      config: {
        // Whoever needs root says so in the pod: the agent for its rules. The server needs nothing.
        User: "65532:65532",
        Entrypoint: ["/usr/bin/k3slb"],
        Env: [
          "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
          // An agent's. What a server has otherwise stands in the chart.
          ...Object.entries(runtimeEnvironment("agent")).map(([key, value]) => `${key}=${value}`),
        ],
        WorkingDir: "/",
        Labels: {
          "org.opencontainers.image.title": "k3slb",
          "org.opencontainers.image.version": version,
          "org.opencontainers.image.revision": commit,
          "org.opencontainers.image.licenses": "Apache-2.0",
        },
      },
      rootfs: { type: "layers", diff_ids: [digestOf(bytes)] },
      history: [{ created: new Date(epochSeconds * 1000).toISOString(), created_by: "k3slb build" }],
    }),
  );
  const manifest = { schemaVersion: 2, mediaType: MANIFEST_TYPE, config, layers: [layer] };
  const descriptor = await writeBlob(layout, MANIFEST_TYPE, jsonBytes(manifest));
  return { ...descriptor, platform: { architecture, os: "linux" } };
}
