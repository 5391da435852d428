// The images of the packaged parts with the real programs in them, under the names that are pinned: klipper-helm's script with helm,
// CoreDNS, Traefik. Made on the spot for nodes that reach no registry.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fullImageName } from "../../build/release/oci_layout.ts";
import { COREDNS_IMAGE, KLIPPER_HELM_IMAGE, TRAEFIK_V3 } from "../../core/packaged/versions.ts";
import { cacheDir } from "../support/go_program.ts";
import { programFiles } from "../support/node_images.ts";
import { ensureImageArchive, type ImageContent } from "../support/oci_archive.ts";
import type { Parts } from "./parts.ts";

const BUSYBOX = "/bin/busybox";
/** What the script calls beside helm, jq and bash's own words. */
const APPLETS = ["base64", "cat", "grep", "ls", "mkdir", "rm", "sed", "sh"];
/** Where klipper-helm's image has its user's home, on which the Job mounts folders. */
const HOME = "/home/klipper-helm";

/** Archives of those images whose parts are there. */
export async function ensureRealImages({ klipperHelm, helm4, coredns, traefik }: Parts): Promise<readonly string[]> {
  const work = mkdtempSync(join(tmpdir(), "k3slb-images-"));
  try {
    const keep = join(work, "keep");
    writeFileSync(keep, "");
    const folders = [".helm", ".cache", ".config", ".local"].map((name) => `${HOME}/${name}/keep`);
    const images: ImageContent[] = [];
    if (klipperHelm !== undefined && helm4 !== undefined) {
      images.push({
        names: [fullImageName(KLIPPER_HELM_IMAGE)],
        entrypoint: ["bash", "/bin/entry"],
        files: {
          ...await programFiles("/usr/bin/bash"),
          ...await programFiles("/usr/bin/jq"),
          "/bin/busybox": BUSYBOX,
          "/bin/entry": klipperHelm,
          "/bin/helm": helm4,
          ...Object.fromEntries([...folders, "/etc/ssl/certs/keep"].map((path) => [path, keep])),
        },
        links: Object.fromEntries(APPLETS.map((name) => [`/bin/${name}`, "busybox"])),
        env: { HOME, STABLE_REPO_URL: "https://charts.helm.sh/stable/", TIMEOUT: "" },
        user: "1000",
      });
    }
    if (coredns !== undefined) {
      images.push({
        names: [fullImageName(COREDNS_IMAGE)],
        entrypoint: ["/bin/coredns"],
        files: { "/bin/coredns": coredns },
      });
    }
    if (traefik !== undefined) {
      images.push({
        names: [fullImageName(`${TRAEFIK_V3.image.repository}:${TRAEFIK_V3.image.tag}`)],
        entrypoint: ["/bin/traefik"],
        files: { "/bin/traefik": traefik, "/etc/ssl/certs/keep": keep },
      });
    }
    return await Promise.all(images.map((image) => ensureImageArchive(image, cacheDir())));
  } finally {
    rmSync(work, { recursive: true });
  }
}
