// One container of a Helm Job as it is run here: folders that stand for those of the image, and programs started in it.
import { spawn } from "node:child_process";
import { Buffer } from "node:buffer";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const SET_STATUS = fileURLToPath(new URL("./helm_set_status.ts", import.meta.url));

/** Where one container runs. */
export interface HelmContainer {
  /** The program that is run, named `helm`, with the plugins that the image has; see {@linkcode helmWithPlugins}. */
  readonly helm: string;
  /** Folder that stands for the container's root: `config`, `chart`, `auth`, `ca-files` and `tmp` are below it. */
  readonly root: string;
  readonly kubeconfig: string;
  /** HOST and PORT of the API server. */
  readonly apiServer: { readonly host: string; readonly port: string };
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What the container does; returns its exit code. */
export type HelmEntry = (container: HelmContainer) => Promise<number>;

/** What a program printed and how it ended. */
export interface Output {
  readonly code: number;
  readonly stdout: string;
}

/** Runs a program in the container with what it prints in the container's log; `isQuiet` keeps its standard output for the caller alone. */
export function runInContainer(
  container: HelmContainer,
  [program = "", ...args]: readonly string[],
  { isQuiet = false, env = {} }: { readonly isQuiet?: boolean; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<Output> {
  const home = join(container.root, "home");
  mkdirSync(home, { recursive: true });
  const child = spawn(program, args, {
    env: {
      ...container.env,
      PATH: process.env["PATH"] ?? "",
      HOME: home,
      KUBECONFIG: container.kubeconfig,
      KUBERNETES_SERVICE_HOST: container.env["KUBERNETES_SERVICE_HOST"] ?? container.apiServer.host,
      KUBERNETES_SERVICE_PORT: container.env["KUBERNETES_SERVICE_PORT"] ?? container.apiServer.port,
      HELM_CACHE_HOME: join(home, ".cache"),
      HELM_CONFIG_HOME: join(home, ".config"),
      HELM_DATA_HOME: join(home, ".helm"),
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
    signal: container.signal,
  });
  let stdout = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data;
    if (!isQuiet) container.log(String(data));
  });
  child.stderr.on("data", (data: Buffer) => container.log(String(data)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, stdout }));
  });
}

/** Writes `helm` with the two plugins of the image into `bin`: one that is not needed here, and one that is done by a program of ours. */
export function helmWithPlugins(bin: string, helm: string): string {
  mkdirSync(bin, { recursive: true });
  const lines = [
    "#!/bin/sh",
    'case "$1" in',
    "mapkubeapis) exit 0 ;;",
    `set-status) exec ${Deno.execPath()} run -A --no-check ${SET_STATUS} "$@" ;;`,
    "esac",
    `exec ${helm} "$@"`,
    "",
  ];
  writeFileSync(join(bin, "helm"), lines.join("\n"));
  chmodSync(join(bin, "helm"), 0o755);
  return join(bin, "helm");
}
