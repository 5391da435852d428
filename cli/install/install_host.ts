// Reads from this host what an installation depends on, and carries out its steps.
import { spawn } from "node:child_process";
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname } from "node:path";
import process from "node:process";
import { errorMessage, isNoSuchFile, K3slbError } from "../../core/shared/errors.ts";
import {
  CONFIG_PATH,
  type HostState,
  type InitSystem,
  installedFiles,
  PROGRAM_PATH,
  type Role,
  type Step,
  unitPath,
} from "./install_plan.ts";

/**
 * What is on this host.
 * @throws {K3slbError} code "not-root" without the rights, "no-init" without systemd or OpenRC, "not-built" when run from sources
 */
export async function readHostState(role: Role, isDryRun: boolean): Promise<HostState> {
  const program = process.execPath;
  if (/^(bun|deno|node)/.test(basename(program))) {
    throw new K3slbError("Cannot install from sources: there is no program to copy", {
      code: "not-built",
      hint: "Run `deno task build`, then `dist/k3slb install`",
    });
  }
  if (!isDryRun && process.getuid?.() !== 0) {
    throw new K3slbError("Cannot install without root's rights", {
      code: "not-root",
      hint: "Run it with sudo, or look at what it would do with --dry-run",
    });
  }
  const init = await initSystem();
  const files = new Map<string, string>();
  for (const path of installedFiles(role, init)) {
    const text = await readIfThere(path);
    if (text !== undefined) files.set(path, text);
  }
  const name = `k3slb-${role}`;
  const status = init === "systemd" ? ["systemctl", "is-active", "--quiet", name] : ["rc-service", name, "status"];
  return {
    init,
    program,
    isSameProgram: await isSameFile(program, PROGRAM_PATH),
    files,
    isRunning: await exitCodeOf(status, { quiet: true }) === 0,
    hasOtherRole: await isThere(unitPath(role === "agent" ? "server" : "agent", init)),
  };
}

/**
 * Carries out one step that touches files or runs a program.
 * @throws {K3slbError} code "install" with what failed
 */
export async function carryOut(step: Step): Promise<void> {
  try {
    await perform(step);
  } catch (cause) {
    throw new K3slbError(`Cannot ${describeStep(step)}: ${errorMessage(cause)}`, {
      code: "install",
      hint: "What was done so far stays; fix the cause and run it again, and it continues",
      cause,
    });
  }
}

/** A step in words, such as `write /etc/default/k3slb-agent`. Also what --dry-run prints. */
export function describeStep(step: Step): string {
  switch (step.do) {
    case "write":
      return `write ${step.path}`;
    case "copy":
      return `copy ${step.from} to ${step.to}`;
    case "link":
      return `link ${step.path} to ${step.target}`;
    case "remove":
      return `remove ${step.path}`;
    case "run":
      return `run ${step.command.join(" ")}`;
    case "clean up":
      return step.what === "rules"
        ? "remove all rules that the agent made on this node"
        : "remove the load balancer from the cluster";
    case "leave":
      return `leave ${step.path}: ${step.why}`;
  }
}

async function perform(step: Step): Promise<void> {
  switch (step.do) {
    case "write":
      return await replaceFile(step.path, async (fresh) => {
        await writeFile(fresh, step.text, { mode: step.mode });
        await chmod(fresh, step.mode);
      });
    case "copy":
      return await replaceFile(step.to, async (fresh) => {
        await copyFile(step.from, fresh);
        await chmod(fresh, 0o755);
      });
    case "link":
      return await replaceFile(step.path, (fresh) => symlink(step.target, fresh));
    case "remove":
      await rm(step.path, { force: true });
      // The folder that is the program's alone; what others have put into it stays, and the folder with it.
      if (step.path === CONFIG_PATH && (await readdir(dirname(CONFIG_PATH))).length === 0) {
        await rmdir(dirname(CONFIG_PATH));
      }
      return;
    case "run": {
      const code = await exitCodeOf(step.command);
      if (code !== 0) throw new Error(`it exits with ${code}`);
    }
  }
}

/** Writes under another name first: a program that runs goes on, and an interruption leaves the old file whole. */
async function replaceFile(path: string, write: (fresh: string) => Promise<void>): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const fresh = `${path}.k3slb-new`;
  await rm(fresh, { force: true });
  await write(fresh);
  await rename(fresh, path);
}

async function initSystem(): Promise<InitSystem> {
  if (await isThere("/run/systemd/system")) return "systemd";
  if (await isThere("/sbin/openrc-run")) return "openrc";
  throw new K3slbError("Cannot manage services: neither systemd nor OpenRC runs here", {
    code: "no-init",
    hint: 'Start "k3slb server" and "k3slb agent" by whatever starts programs on this host',
  });
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await readlink(path) : await readFile(path, "utf8");
  } catch (error) {
    if (isNoSuchFile(error)) return undefined;
    throw error;
  }
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  if (!await isThere(b)) return false;
  if ((await stat(a)).size !== (await stat(b)).size) return false;
  return (await readFile(a)).equals(await readFile(b));
}

/** `quiet` where the exit code is the answer: a service that is not there yet is no failure to tell of. */
function exitCodeOf(
  [program = "", ...args]: readonly string[],
  { quiet = false }: { readonly quiet?: boolean } = {},
): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ["ignore", "ignore", quiet ? "ignore" : "inherit"] });
    child.on("error", () => resolve(127));
    child.on("close", (code) => resolve(code ?? 1));
  });
}
