// What the container of a Helm Job does, with the real `helm`: an imitation of klipper-helm's `entry` in two versions, with the same
// commands, exit codes and last words, its faults included, as the controller must cope with them. What each does in which state is in
// tests/golden/klipper_helm.json, recorded from the scripts themselves; helm_conformance_test.ts holds both to it.
//   old: v0.10.0-build20260513, with helm 3: no label with the hash, no policy `retry`, no server-side apply.
//   new: v0.13.3-build20260727, with helm 4: all three; a failing `retry` ends without an error, as does a failing uninstall in both.
import { Buffer } from "node:buffer";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type HelmContainer, type HelmEntry, type Output, runInContainer } from "./helm_container.ts";

/** The versions of klipper-helm that are imitated. */
export const KLIPPER_HELM_VERSIONS = { old: "v0.10.0-build20260513", new: "v0.13.3-build20260727" } as const;

/** Which of the two. */
export type KlipperHelm = keyof typeof KLIPPER_HELM_VERSIONS;

interface ReleaseStatus {
  readonly status: string;
  readonly revision: string;
  readonly applyMethod: string;
}

const NO_RELEASE: ReleaseStatus = { status: "null", revision: "null", applyMethod: "" };

/** The imitation of one version. */
export function imitatedEntry(version: KlipperHelm): HelmEntry {
  return async (container) => {
    try {
      return await new Entry(version, container).run();
    } catch (error) {
      if (error instanceof ContainerExit) return error.code;
      throw error;
    }
  };
}

/** Ends the container with a code. */
class ContainerExit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`Exit ${code}`);
    this.code = code;
  }
}

class Entry {
  readonly #version: KlipperHelm;
  readonly #container: HelmContainer;
  readonly #env: Readonly<Record<string, string>>;
  readonly #name: string;
  readonly #namespace: string;
  #chart: string;

  constructor(version: KlipperHelm, container: HelmContainer) {
    this.#version = version;
    this.#container = container;
    this.#env = container.env;
    this.#name = container.env["NAME"] ?? "";
    this.#namespace = container.env["TARGET_NAMESPACE"] ?? "";
    const { host, port } = container.apiServer;
    const api = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    this.#chart = (container.env["CHART"] ?? "").replaceAll("%{KUBERNETES_API}%", api);
  }

  async run(): Promise<number> {
    const { args, root } = this.#container;
    this.#container.log("set +v -x\n");
    if (this.#env["HELM_VERSION"] === "v2") {
      this.#say("Helm v2 is EOL effective 2020-11-13; upgrade your chart to helm v3");
      return 64;
    }
    this.#joinCertificates();
    const inline = join(root, "chart", `${this.#name}.tgz.base64`);
    if (existsSync(inline)) {
      this.#chart = join(root, "tmp", `${this.#name}.tgz`);
      writeFileSync(this.#chart, Buffer.from(readFileSync(inline, "utf8"), "base64"));
    }
    const isDelete = args[0] === "delete";
    if (!isDelete) await this.#addRepository();
    const release = await this.#status();
    if (isDelete) {
      // The old script takes the answer of "none" for a release with the revision "null".
      const seen = release ?? (this.#version === "old" ? NO_RELEASE : undefined);
      if (seen === undefined || !this.#isExpected(seen)) return 0;
      await this.#helm(this.#uninstall);
      return 0;
    }
    return await this.#apply(release);
  }

  async #apply(release: ReleaseStatus | undefined): Promise<number> {
    if (release === undefined) return await this.#install();
    if (!this.#isExpected(release)) return 0;
    const { status } = release;
    if (/^(pending-(install|upgrade|rollback)|superseded|uninstalling)$/.test(status)) {
      await this.#must(["set-status", this.#name, "failed", "--namespace", this.#namespace]);
      if (status === "pending-upgrade" || status === "superseded") return await this.#upgrade(release);
      return await this.#recover(release);
    }
    if (status === "deployed") {
      await this.#must(["mapkubeapis", this.#name, "--namespace", this.#namespace]);
      return await this.#upgrade(release);
    }
    return /^(deleted|failed|null|unknown)$/.test(status) ? await this.#recover(release) : await this.#install(release);
  }

  /** By the failure policy. */
  async #recover(release: ReleaseStatus): Promise<number> {
    const policy = this.#env["FAILURE_POLICY"] || "reinstall";
    if (policy === "reinstall") {
      await this.#must(this.#uninstall);
      return await this.#install();
    }
    const status = /^(deleted|failed|null|unknown)$/.test(release.status) ? release.status : "failed";
    if (this.#version === "old") {
      this.#say(
        `Release status is '${status}' and failure policy is '${policy}', not 'reinstall'; waiting for operator intervention`,
      );
      return 1;
    }
    if (policy === "retry") {
      await this.#upgrade(release);
      return 0;
    }
    this.#say(
      policy === "abort"
        ? `Release status is '${status}' and failure policy is 'abort'; waiting for operator intervention`
        : `Unknown failure policy '${policy}'`,
    );
    return 1;
  }

  /** The script's only repository is the chart's; a failing `repo add` ends the container unless the chart came inline. */
  async #addRepository(): Promise<void> {
    const { root } = this.#container;
    if (/https?:\/\//.test(this.#chart)) return void await this.#helm(["repo", "remove", "stable"]);
    const repo = this.#env["REPO"];
    if (!repo) return;
    const given = (file: string): boolean => existsSync(join(root, "auth", file));
    const pass = this.#env["AUTH_PASS_CREDENTIALS"] === "true" ? ["--pass-credentials"] : [];
    const auth = given("username") && given("password")
      ? [...pass, "--username", readFileSync(join(root, "auth/username"), "utf8"), "--password-stdin"]
      : given("tls.crt") && given("tls.key")
      ? [...pass, "--cert-file", join(root, "auth/tls.crt"), "--key-file", join(root, "auth/tls.key")]
      : [];
    const flags = [...this.#caFlags(), ...this.#insecureFlags(), ...auth];
    for (const step of [["repo", "add", ...flags, this.#name.split("/", 1)[0] ?? "", repo], ["repo", "update"]]) {
      const { code } = await this.#helm(step);
      if (code !== 0 && !this.#isInline) throw new ContainerExit(code);
    }
  }

  /** Whether the release is the one that the Job was made for. */
  #isExpected({ revision }: ReleaseStatus): boolean {
    const expected = this.#env["EXPECTED_RELEASE_REVISION"];
    if (!expected || expected === revision) return true;
    this.#say(`Current release revision ${revision} does not match expected revision ${expected}`);
    return false;
  }

  #install(release?: ReleaseStatus): Promise<number> {
    return this.#run("install", release);
  }

  #upgrade(release: ReleaseStatus): Promise<number> {
    return this.#run("upgrade", release);
  }

  async #run(verb: "install" | "upgrade", release: ReleaseStatus | undefined): Promise<number> {
    const { args, root } = this.#container;
    const values = readdirSync(join(root, "config")).filter((file) => file.endsWith(".yaml")).sort();
    const { code } = await this.#helm([
      verb,
      ...args.slice(1),
      this.#name,
      this.#chart,
      ...this.#caFlags(),
      ...this.#insecureFlags(),
      ...(this.#env["PLAIN_HTTP"] === "true" ? ["--plain-http"] : []),
      ...(this.#env["TIMEOUT"] ? ["--timeout", this.#env["TIMEOUT"]] : []),
      ...(this.#version === "old" ? [] : [...this.#labels(), ...this.#serverSideFlags(release)]),
      ...values.flatMap((file) => ["--values", join(root, "config", file)]),
    ]);
    return code;
  }

  get #uninstall(): readonly string[] {
    return ["uninstall", this.#name, "--namespace", this.#namespace, "--wait"];
  }

  #labels(): readonly string[] {
    const hash = this.#env["CONFIG_HASH"];
    return hash ? ["--labels", `helmcharts.helm.cattle.io/configHash=${hash}`] : [];
  }

  /** With `auto`, helm looks at how an upgrade's release was applied before, and force needs server-side apply. */
  #serverSideFlags(release: ReleaseStatus | undefined): readonly string[] {
    const { SERVER_SIDE: wanted = "", FORCE_CONFLICTS: force = "" } = this.#env;
    const serverSide = wanted === "auto" && release === undefined ? "true" : wanted;
    const isMoot = force === "true" && serverSide === "auto" && release?.applyMethod !== "ssa";
    return [
      ...(serverSide === "" ? [] : [`--server-side=${serverSide}`]),
      ...(force === "" ? [] : [`--force-conflicts=${isMoot ? "false" : force}`]),
    ];
  }

  /** A failing question reads as "no release". */
  async #status(): Promise<ReleaseStatus | undefined> {
    if (this.#version === "old") {
      const list = ["ls", "--all", "-f", `^${this.#name}$`, "--namespace", this.#namespace, "--output", "json"];
      const { code, stdout } = await this.#helm(list, true);
      const [found]: readonly { readonly status: string; readonly revision: string }[] = code === 0
        ? JSON.parse(stdout)
        : [];
      return found === undefined
        ? undefined
        : { status: found.status.toLowerCase(), revision: String(found.revision), applyMethod: "" };
    }
    const { code, stdout } = await this.#helm(
      ["status", "--namespace", this.#namespace, this.#name, "--output", "json"],
      true,
    );
    if (code !== 0) return undefined;
    const { info, version, apply_method: applyMethod = "" }: {
      info: { status: string };
      version: number;
      apply_method?: string;
    } = JSON.parse(stdout);
    return { status: info.status, revision: String(version), applyMethod };
  }

  #joinCertificates(): void {
    const { root } = this.#container;
    const folder = join(root, "ca-files");
    const given = [join(root, "config/ca-file.pem"), ...readdirSync(folder).sort().map((file) => join(folder, file))];
    const texts = given.filter((file) => existsSync(file)).map((file) => `\n${readFileSync(file, "utf8")}`);
    if (texts.length > 0) writeFileSync(join(root, "tmp/ca-file.pem"), texts.join(""));
  }

  #caFlags(): readonly string[] {
    const file = join(this.#container.root, "tmp/ca-file.pem");
    return existsSync(file) ? ["--ca-file", file] : [];
  }

  #insecureFlags(): readonly string[] {
    return this.#env["INSECURE_SKIP_TLS_VERIFY"] === "true" ? ["--insecure-skip-tls-verify"] : [];
  }

  #helm(args: readonly string[], isQuiet = false): Promise<Output> {
    this.#container.log(`+ helm ${args.join(" ")}\n`);
    return runInContainer(this.#container, [this.#container.helm, ...args], { isQuiet });
  }

  /** The old script ends with any command that fails, unless the chart came inline. */
  async #must(args: readonly string[]): Promise<void> {
    const { code } = await this.#helm(args);
    if (code !== 0 && this.#version === "old" && !this.#isInline) throw new ContainerExit(code);
  }

  get #isInline(): boolean {
    return this.#chart.startsWith(join(this.#container.root, "tmp"));
  }

  #say(text: string): void {
    this.#container.log(`${text}\n+ exit\n`);
  }
}
