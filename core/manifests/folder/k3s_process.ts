// Is a K3s server alive on the same folder? Two deployers would fight for the same objects and AddOns.
// K3s takes no lock there, so its process is looked for (Linux `/proc`): a program named k3s that runs `server`, with this
// data folder by flag, by environment or by default. Any user of the host may start something of that name: only processes of root, and of
// whoever owns the folder, count.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { K3slbError } from "../../shared/errors.ts";

const K3S_DEFAULT_DATA_DIR = "/var/lib/rancher/k3s";

/** @throws {K3slbError} code "manifests-k3s-running" if a K3s server deploys from below `dataDir` */
export async function refuseBesideK3s(
  options: { readonly dataDir: string; readonly processRoot: string },
): Promise<void> {
  const trusted = new Set(["0", await ownerOf(options.dataDir)]);
  for (const pid of await readProcessIds(options.processRoot)) {
    const words = await readWords(join(options.processRoot, pid, "cmdline"));
    if (!isK3sServer(words)) continue;
    const environment = await readWords(join(options.processRoot, pid, "environ"));
    const dataDir = k3sDataDir(words, environment);
    if (withoutSlash(dataDir) !== withoutSlash(options.dataDir)) continue;
    if (!trusted.has(await readUser(join(options.processRoot, pid, "status")))) continue;
    throw new K3slbError(`A K3s server (process ${pid}) deploys the manifests of "${options.dataDir}" already`, {
      code: "manifests-k3s-running",
      hint: "Stop K3s, or give k3slb another folder with --data-dir",
    });
  }
}

/** Whether a command line is that of `k3s server`; K3s puts both words into one after its start. */
export function isK3sServer(words: readonly string[]): boolean {
  const [program = "", ...rest] = words.flatMap((word, index) => index === 0 ? word.split(" ") : [word]);
  const name = program.slice(program.lastIndexOf("/") + 1);
  return name === "k3s-server" || (name === "k3s" && rest[0] === "server");
}

/** The data folder of a K3s server. */
export function k3sDataDir(words: readonly string[], environment: readonly string[]): string {
  for (const [index, word] of words.entries()) {
    const match = /^(?:--?data-dir|-d)(?:=(.*))?$/.exec(word);
    const value = match === null ? undefined : match[1] ?? words[index + 1];
    if (value !== undefined) return value;
  }
  const variable = environment.find((line) => line.startsWith("K3S_DATA_DIR="));
  return variable?.slice("K3S_DATA_DIR=".length) || K3S_DEFAULT_DATA_DIR;
}

async function readProcessIds(processRoot: string): Promise<readonly string[]> {
  try {
    return (await readdir(processRoot)).filter((name) => /^\d+$/.test(name));
  } catch {
    // Not Linux, or hidden from this user: nothing can be said.
    return [];
  }
}

/** NUL-separated words; none for a process that has ended or belongs to someone else. */
async function readWords(path: string): Promise<readonly string[]> {
  try {
    return (await readFile(path, "utf8")).split("\0").filter((word) => word !== "");
  } catch {
    return [];
  }
}

/** Number of the user who started the process: the effective user is root even where somebody else starts a setuid program under such a name. */
async function readUser(path: string): Promise<string | undefined> {
  try {
    return /^Uid:\s+(\d+)/m.exec(await readFile(path, "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

async function ownerOf(folder: string): Promise<string | undefined> {
  try {
    return String((await stat(folder)).uid);
  } catch {
    return undefined;
  }
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, "");
}
