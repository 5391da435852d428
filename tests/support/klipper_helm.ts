// klipper-helm's own script, `entry`, run outside of its image: with the folders of one container in place of those at the root. The file
// is given by whoever has it, K3SLB_KLIPPER_HELM=FILE[:FILE]; nothing of it is in this repository.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { type HelmEntry, runInContainer } from "./helm_container.ts";
import { imitatedEntry, type KlipperHelm } from "./helm_entry.ts";

/** A folder of the image where the script names it by its full path. */
const FOLDER_REGEXP =
  /(?<![\w.}\/*])\/(config|ca-files|auth|chart|tmp|dev\/termination-log|var\/run\/secrets)(?=[\/\s"]|$)/gm;
/** Old scripts know no such variable. */
const NEW_REGEXP = /CONFIG_HASH/;

/** The scripts that were given, by what they do as. */
export function givenScripts(): Readonly<Partial<Record<KlipperHelm, string>>> {
  const files = (process.env["K3SLB_KLIPPER_HELM"] ?? "").split(":").filter((file) => file !== "");
  return Object.fromEntries(
    files.map((file) => readFileSync(file, "utf8")).map((text) => [NEW_REGEXP.test(text) ? "new" : "old", text]),
  );
}

/** What containers do: the given script, or the imitation of its version. */
export function entryOf(version: KlipperHelm): HelmEntry {
  const script = givenScripts()[version];
  return script === undefined ? imitatedEntry(version) : scriptEntry(script);
}

/** Runs `script` with bash; needs jq, as its image has it. */
export function scriptEntry(script: string): HelmEntry {
  return async (container) => {
    const { root, args } = container;
    mkdirSync(join(root, "dev"), { recursive: true });
    const file = join(root, "entry");
    writeFileSync(file, script.replaceAll(FOLDER_REGEXP, (_whole, folder: string) => join(root, folder)));
    const path = `${dirname(container.helm)}:${process.env["PATH"] ?? ""}`;
    const { code } = await runInContainer(container, ["bash", file, ...args], { env: { PATH: path } });
    return code;
  };
}
