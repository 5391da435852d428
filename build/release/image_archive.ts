// `deno task image-archive`: the images that an installation pulls, as one file for each processor, to be carried to hosts without a way to the net.
import { parseArgs } from "node:util";
import { artifactsOf } from "../../core/packaged/images.ts";
import { KLIPPER_HELM_IMAGE, KLIPPER_LB_IMAGE, PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { runMain } from "../run_main.ts";
import { errorMessage, K3slbError } from "../../core/shared/errors.ts";
import { VERSION } from "../build_target.ts";
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
  const version = { major: 1, minor: 99, text: "newest", isK3s: false };
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
      found.set(name, await pullImage(name, { layout, architecture, ...(registry === undefined ? {} : { registry }) }));
    }
    const archive = `${out}/k3slb-${VERSION}-images-${architecture}.tar`;
    await packLayout(layout, found, { archive, epochSeconds: 0 });
    return archive;
  } finally {
    await Deno.remove(layout, { recursive: true });
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseWords();
  const out = values.out.startsWith("/") ? values.out : `${Deno.cwd()}/${values.out}`;
  await Deno.mkdir(out, { recursive: true });
  const images = positionals.length > 0 ? positionals : foreignImages();
  const registry = values.registry === undefined ? {} : { registry: values.registry };
  for (const architecture of ARCHITECTURES.filter((one) => values.architecture.includes(one))) {
    const file = await writeImageArchive({ images, architecture, out, ...registry });
    const megabytes = ((await Deno.stat(file)).size / 1_000_000).toFixed(1);
    Deno.stdout.writeSync(new TextEncoder().encode(`${file}: ${images.length} images, ${megabytes} MB\n`));
  }
}

function parseWords(): {
  readonly values: { readonly registry?: string; readonly architecture: readonly string[]; readonly out: string };
  readonly positionals: readonly string[];
} {
  try {
    const { values, positionals } = parseArgs({
      args: [...Deno.args],
      allowPositionals: true,
      options: {
        registry: { type: "string" },
        architecture: { type: "string", multiple: true, default: [...ARCHITECTURES] },
        out: { type: "string", default: "dist/release" },
      },
    });
    const unknown = values.architecture.find((word) => !ARCHITECTURES.some((one) => one === word));
    if (unknown !== undefined) throw new Error(`Architecture "${unknown}" is not known`);
    const { registry, ...others } = values;
    return { values: { ...others, ...(registry === undefined ? {} : { registry }) }, positionals };
  } catch (error) {
    throw new K3slbError(errorMessage(error), { code: "usage", hint: USAGE });
  }
}

if (import.meta.main) await runMain(main);
