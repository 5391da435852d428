// What the container of a Helm Job does, with the real `helm`: the same steps and exit codes as klipper-helm's `entry`, its faults
// included (a failing `retry` and a failing uninstall end without an error), as the controller must cope with them.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { Buffer } from "node:buffer";
import { join } from "node:path";

/** Where one container runs. */
export interface HelmContainer {
  readonly helm: string;
  /** Folder that stands for the container's root: `config`, `chart`, `auth` and `home` are below it. */
  readonly root: string;
  readonly kubeconfig: string;
  /** HOST:PORT of the API server. */
  readonly apiServer: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly log: (text: string) => void;
  readonly signal: AbortSignal;
}

interface Output {
  readonly code: number;
  readonly stdout: string;
}

interface ReleaseStatus {
  readonly status: string;
  readonly revision: string;
}

/** Runs the container to its end and returns its exit code. */
export async function runHelmEntry(container: HelmContainer): Promise<number> {
  const { args, env } = container;
  if (env["HELM_VERSION"] === "v2") return 64;
  const name = env["NAME"] ?? "";
  const release = await releaseStatus(container);
  if (args[0] === "delete") {
    if (release === undefined || release.revision !== env["EXPECTED_RELEASE_REVISION"]) return 0;
    await helm(container, ["uninstall", name, "--namespace", env["TARGET_NAMESPACE"] ?? "", "--wait"]);
    return 0;
  }
  const chart = await chartReference(container);
  if (release === undefined) return await apply(container, "install", chart);
  if (release.revision !== env["EXPECTED_RELEASE_REVISION"]) return 0;
  if (["deployed", "pending-upgrade", "superseded"].includes(release.status)) {
    return await apply(container, "upgrade", chart);
  }
  if (release.status === "uninstalled") return await apply(container, "install", chart);
  switch (env["FAILURE_POLICY"]) {
    case "abort":
      return 1;
    case "retry":
      await apply(container, "upgrade", chart);
      return 0;
    default:
      await helm(container, ["uninstall", name, "--namespace", env["TARGET_NAMESPACE"] ?? "", "--wait"]);
      return await apply(container, "install", chart);
  }
}

/** The command line's chart: the inline archive, or the reference with the API server's address in it. */
async function chartReference(container: HelmContainer): Promise<string> {
  const { env, root } = container;
  const name = env["NAME"] ?? "";
  const inline = readdirSync(join(root, "chart")).find((file) => file === `${name}.tgz.base64`);
  if (inline !== undefined) {
    const target = join(root, `${name}.tgz`);
    writeFileSync(target, Buffer.from(readFileSync(join(root, "chart", inline), "utf8"), "base64"));
    return target;
  }
  const chart = (env["CHART"] ?? "").replaceAll("%{KUBERNETES_API}%", container.apiServer);
  const repo = env["REPO"];
  if (!repo || /^https?:/.test(chart)) return chart;
  const auth = readdirSync(join(root, "auth")).includes("username")
    ? ["--username", read(root, "auth/username"), "--password", read(root, "auth/password")]
    : [];
  const added = await helm(container, ["repo", "add", name, repo, ...auth]);
  if (added.code !== 0) throw new ContainerExit(added.code);
  await helm(container, ["repo", "update"]);
  return chart;
}

/** Ends the container with a code. */
export class ContainerExit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`Exit ${code}`);
    this.code = code;
  }
}

async function apply(container: HelmContainer, verb: "install" | "upgrade", chart: string): Promise<number> {
  const { args, env, root } = container;
  const values = readdirSync(join(root, "config")).filter((file) => file.endsWith(".yaml")).sort();
  const { code } = await helm(container, [
    verb,
    ...args.slice(1),
    env["NAME"] ?? "",
    chart,
    ...(env["TIMEOUT"] ? ["--timeout", env["TIMEOUT"]] : []),
    ...["--labels", `helmcharts.helm.cattle.io/configHash=${env["CONFIG_HASH"]}`],
    ...serverSideFlags(env, verb),
    ...values.flatMap((file) => ["--values", join(root, "config", file)]),
  ]);
  return code;
}

/** With `auto`, helm looks at how an upgrade's release was applied before, and takes no word on conflicts. */
function serverSideFlags(env: Readonly<Record<string, string>>, verb: "install" | "upgrade"): readonly string[] {
  const wanted = env["SERVER_SIDE"] || "auto";
  const serverSide = wanted === "auto" && verb === "install" ? "true" : wanted;
  const isDecided = serverSide !== "auto";
  return [
    `--server-side=${serverSide}`,
    ...(isDecided ? [`--force-conflicts=${env["FORCE_CONFLICTS"] || "false"}`] : []),
  ];
}

async function releaseStatus(container: HelmContainer): Promise<ReleaseStatus | undefined> {
  const { env } = container;
  const namespace = env["TARGET_NAMESPACE"] ?? "";
  const { code, stdout } = await helm(container, ["status", env["NAME"] ?? "", "--namespace", namespace, "-o", "json"]);
  if (code !== 0) return undefined;
  const { info, version }: { info: { status: string }; version: number } = JSON.parse(stdout);
  return { status: info.status, revision: String(version) };
}

function helm(container: HelmContainer, args: readonly string[]): Promise<Output> {
  const home = join(container.root, "home");
  mkdirSync(home, { recursive: true });
  container.log(`+ helm ${args.join(" ")}\n`);
  const child = spawn(container.helm, args, {
    env: {
      ...container.env,
      HOME: home,
      KUBECONFIG: container.kubeconfig,
      HELM_CACHE_HOME: join(home, ".cache"),
      HELM_CONFIG_HOME: join(home, ".config"),
      HELM_DATA_HOME: join(home, ".helm"),
    },
    signal: container.signal,
  });
  let stdout = "";
  child.stdout.on("data", (data: Buffer) => {
    stdout += data;
    if (args[0] !== "status") container.log(String(data));
  });
  child.stderr.on("data", (data: Buffer) => container.log(String(data)));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, stdout }));
  });
}

function read(root: string, path: string): string {
  return readFileSync(join(root, path), "utf8");
}
