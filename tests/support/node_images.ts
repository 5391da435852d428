// The images that the world of real nodes knows. Its nodes reach no registry: what is not here can't be pulled.
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { fullImageName } from "../../build/release/oci_layout.ts";
import { KLIPPER_LB_IMAGE, PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { SANDBOX_IMAGE } from "./node_machine_config.ts";
import { cacheDir, ensureGoProgram } from "./go_program.ts";
import { ensureImageArchive, type ImageContent } from "./oci_archive.ts";
import { runToEnd } from "./programs.ts";
import { APP_IMAGE } from "./world_app.ts";

/** The pause by another name, to change to. */
export const OTHER_PAUSE_IMAGE = "registry.k8s.io/pause:k3slb-test-2";

const APPLETS = "sh cat date echo grep hostname ip kill ls nc nslookup ps seq sleep test timeout true wget".split(" ");

/** A shell and what scripts call in it. */
export const SHELL = {
  files: { "/bin/busybox": "/bin/busybox" },
  links: Object.fromEntries(APPLETS.map((name) => [`/bin/${name}`, "busybox"])),
} as const;

const IPTABLES = "/usr/sbin/xtables-nft-multi";

/** Makes the archives of all images, or finds them in the cache; returns their paths. */
export async function ensureNodeImages(report?: (line: string) => void): Promise<readonly string[]> {
  const program = await ensureGoProgram({
    name: "node_images",
    title: "the programs in test images",
    flags: ["-trimpath", "-ldflags=-s -w"],
  }, report);
  const images: readonly ImageContent[] = [
    {
      names: [SANDBOX_IMAGE, OTHER_PAUSE_IMAGE, fullImageName(PAUSE_IMAGE)],
      entrypoint: ["/bin/program", "pause"],
      files: { "/bin/program": program },
    },
    {
      names: [APP_IMAGE],
      entrypoint: ["/bin/program", "serve"],
      files: { "/bin/program": program, ...SHELL.files },
      links: SHELL.links,
    },
    {
      names: [fullImageName(KLIPPER_LB_IMAGE)],
      entrypoint: ["/bin/program", "klipper-lb"],
      files: { "/bin/program": program, ...await iptablesFiles() },
      links: Object.fromEntries(["iptables", "ip6tables"].map((name) => [`/sbin/${name}`, IPTABLES])),
    },
  ];
  return await Promise.all(images.map((image) => ensureImageArchive(image, cacheDir())));
}

/** A program of this machine and the libraries that it loads, each at its own place. */
export async function programFiles(program: string): Promise<Record<string, string>> {
  const found = (await runToEnd(["ldd", program])).matchAll(/(\/\S+) \(0x/g);
  return Object.fromEntries([program, ...[...found].map(([, path = ""]) => path)].map((path) => [path, path]));
}

/** iptables with its extensions. */
async function iptablesFiles(): Promise<Record<string, string>> {
  const files = await programFiles(IPTABLES);
  const folder = Object.keys(files).map((path) => join(realpathSync(path), "..", "xtables")).find(existsSync);
  if (folder === undefined) throw new Error(`There are no extensions of ${basename(IPTABLES)} beside its libraries`);
  const extensions = readdirSync(folder).map((name) => join(folder, name));
  return { ...files, ...Object.fromEntries(extensions.map((path) => [path, path])) };
}
