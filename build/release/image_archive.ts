// `deno task image-archive`: the images that an installation pulls, as one file for each processor, to be carried to hosts without internet access.
import { resolve } from "node:path";
import { NEWEST_VERSION } from "../../core/packaged/cluster_version.ts";
import { artifactsOf } from "../../core/packaged/images.ts";
import { KLIPPER_HELM_IMAGE, KLIPPER_LB_IMAGE, PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { present } from "../../core/shared/values.ts";
import { VERSION } from "../build_target.ts";
import { knownWord, readWords } from "../command_line.ts";
import { print, runMain } from "../run_main.ts";
import { type Descriptor, packLayout } from "./oci_layout.ts";
import { pullImage } from "./pull_image.ts";

/** Processors by the names of containers. */
const ARCHITECTURES = ["amd64", "arm64"] as const;
type Architecture = typeof ARCHITECTURES[number];

const USAGE = `deno task image-archive [--registry URL] [--architecture ${
  ARCHITECTURES.join("|")
}]... [--out dist/release] [IMAGE]...`;

/** Names of all images that an installation with usual settings may pull, for either data plane. */
export function foreignImages(): readonly string[] {
  const settings = { disable: [], systemDefaultRegistry: "", lbImage: KLIPPER_LB_IMAGE, pauseImage: PAUSE_IMAGE };
  const version = NEWEST_VERSION;
  const names = (["agent", "pods"] as const).flatMap((dataplane) =>
    artifactsOf({ ...settings, version, dataplane, reservePorts: "daemonset", helmJobImage: KLIPPER_HELM_IMAGE })
      .flatMap(({ kind, name }) => (kind === "image" ? [name] : []))
  );
  return [...new Set(names)];
}

/** What {@linkcode writeImageArchive} takes. */
export interface ImageArchiveOptions {
  readonly images: readonly string[];
  readonly architecture: Architecture;
  readonly out: string;
  /** Address of a registry that has all of them; absent: each one's own. */
  readonly registry?: string;
}

/**
 * Writes `k3slb-VERSION-images-ARCHITECTURE.tar` into `out` and returns its path. The same images give the same bytes.
 * @throws {K3slbError} code "image-pull" with the first image that can't be had
 */
export async function writeImageArchive(options: ImageArchiveOptions): Promise<string> {
  const { images, architecture, out, registry } = options;
  // Beside the result: it may be larger than the folder for temporary files.
  const layout = await Deno.makeTempDir({ dir: out, prefix: ".images-" });
  try {
    const found = new Map<string, Descriptor>();
    for (const name of images) {
      found.set(name, await pullImage(name, present({ layout, architecture, registry })));
    }
    const archive = `${out}/k3slb-${VERSION}-images-${architecture}.tar`;
    await packLayout(layout, found, { archive, epochSeconds: 0 });
    return archive;
  } finally {
    await Deno.remove(layout, { recursive: true });
  }
}

async function main(): Promise<void> {
  const { values, positionals } = readWords({
    allowPositionals: true,
    options: {
      registry: { type: "string" },
      architecture: { type: "string", multiple: true, default: [...ARCHITECTURES] },
      out: { type: "string", default: "dist/release" },
    },
  }, USAGE);
  const { registry, architecture: wanted } = values;
  for (const word of wanted) knownWord(word, { what: "Architecture", known: ARCHITECTURES, usage: USAGE });
  const out = resolve(values.out);
  await Deno.mkdir(out, { recursive: true });
  const images = positionals.length > 0 ? positionals : foreignImages();
  for (const architecture of ARCHITECTURES.filter((one) => wanted.includes(one))) {
    const file = await writeImageArchive(present({ images, architecture, out, registry }));
    const megabytes = ((await Deno.stat(file)).size / 1_000_000).toFixed(1);
    print(`${file}: ${images.length} images, ${megabytes} MB`);
  }
}

if (import.meta.main) await runMain(main);
