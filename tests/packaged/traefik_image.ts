// Traefik as an image under its pinned name, with the real program in it, where that was built already: it takes minutes.
import { existsSync } from "node:fs";
import { fullImageName } from "../../build/release/oci_layout.ts";
import { TRAEFIK_V3 } from "../../core/packaged/versions.ts";
import { cacheDir } from "../support/go_program.ts";
import { SHELL } from "../support/node_images.ts";
import { ensureImageArchive } from "../support/oci_archive.ts";
import { goProgramFile, TRAEFIK } from "./go_programs.ts";

/** The image's name, as pods ask for it. */
export const TRAEFIK_IMAGE = `${TRAEFIK_V3.image.repository}:${TRAEFIK_V3.image.tag}`;

/** The image's archive; `undefined` if nobody has built Traefik on this machine. */
export async function findTraefikImage(): Promise<string | undefined> {
  const program = await goProgramFile(TRAEFIK);
  if (!existsSync(program)) return undefined;
  return await ensureImageArchive({
    names: [fullImageName(TRAEFIK_IMAGE)],
    entrypoint: ["/bin/traefik"],
    files: { "/bin/traefik": program, ...SHELL.files },
    links: SHELL.links,
  }, cacheDir());
}
