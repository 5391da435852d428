// A fresh Debian below a folder, made once by mmdebstrap into the cache: what a package meets on a new machine.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { errorMessage } from "../../core/shared/errors.ts";
import { cacheDir } from "./go_program.ts";
import { ensureTools } from "./prerequisites.ts";
import { runToEnd } from "./programs.ts";

/** Two service managers, what the program's packages recommend, and rpm. */
const PACKAGES = ["systemd", "openrc", "iptables", "conntrack", "iproute2", "rpm"];

/** The folder; `undefined` if it was not made. */
export function debianRoot(): string | undefined {
  const folder = rootFolder();
  return existsSync(folder) ? folder : undefined;
}

/** Makes it, as root; says why it can't be had. */
export async function ensureDebianRoot(report: (line: string) => void): Promise<void> {
  if (debianRoot() !== undefined) return;
  const folder = rootFolder();
  const unfinished = `${folder}.${process.pid}`;
  try {
    if (process.getuid?.() !== 0) throw new Error("only root can make one");
    ensureTools(["freshRoot"], report);
    report(`making a fresh Debian into ${folder}, once`);
    mkdirSync(unfinished, { recursive: true });
    const archive = `${unfinished}.tar`;
    await runToEnd(["mmdebstrap", "--variant=minbase", `--include=${PACKAGES.join(",")}`, codename(), archive]);
    // No devices: the machine's own are laid over them.
    await runToEnd(["tar", "-xf", archive, "-C", unfinished, "--exclude=./dev/*"]);
    rmSync(archive);
    renameSync(unfinished, folder);
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true });
    report(`lacking: a fresh Debian: ${errorMessage(error)}`);
  }
}

function rootFolder(): string {
  return join(cacheDir(), `debian-${codename()}-inits`);
}

function codename(): string {
  const file = "/etc/os-release";
  return (existsSync(file) ? /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync(file, "utf8"))?.[1] : undefined) ?? "stable";
}
