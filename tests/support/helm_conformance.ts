// What a container of a Helm Job does in each state of a release, by its exit code, the helm commands that it runs and what it says: for
// klipper-helm's own script and for the imitations alike. helm itself is a stand-in that answers as the case wants.
import { Buffer } from "node:buffer";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HelmEntry } from "./helm_container.ts";

/** One case. */
export interface EntryCase {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** State and revision of the release; absent: there is none. */
  readonly release?: { readonly status: string; readonly revision: number; readonly applyMethod?: string };
  /** helm's commands that fail. */
  readonly fails?: readonly string[];
  /** Files below the container's root. */
  readonly files?: Readonly<Record<string, string>>;
}

/** What was seen. */
export interface EntryResult {
  readonly code: number;
  readonly commands: readonly string[];
  /** The script's own words on the release and the policy. */
  readonly said: readonly string[];
}

const ENV = {
  NAME: "app",
  TARGET_NAMESPACE: "apps",
  CHART: "app/app",
  REPO: "https://charts.example.com",
  EXPECTED_RELEASE_REVISION: "3",
  FAILURE_POLICY: "reinstall",
  SERVER_SIDE: "auto",
  FORCE_CONFLICTS: "false",
  CONFIG_HASH: "ABC",
};
const INLINE = { "chart/app.tgz.base64": Buffer.from("chart").toString("base64") };
const STATES = [
  "deployed",
  "failed",
  "pending-install",
  "pending-upgrade",
  "pending-rollback",
  "superseded",
  "uninstalling",
  "uninstalled",
  "unknown",
];
const POLICIES = ["reinstall", "abort", "retry", "other", ""];

/** Every case. */
export const ENTRY_CASES: readonly EntryCase[] = [
  { name: "no release" },
  { name: "no release, install fails", fails: ["install"] },
  { name: "no release, delete", args: ["delete"] },
  { name: "another revision", release: { status: "deployed", revision: 2 } },
  { name: "another revision, failed", release: { status: "failed", revision: 4 } },
  { name: "another revision, delete", args: ["delete"], release: { status: "deployed", revision: 4 } },
  { name: "delete", args: ["delete"], release: { status: "deployed", revision: 3 } },
  { name: "delete, fails", args: ["delete"], release: { status: "deployed", revision: 3 }, fails: ["uninstall"] },
  ...STATES.flatMap((status): EntryCase[] =>
    POLICIES.map((policy) => ({
      name: `${status}, policy "${policy}"`,
      env: { FAILURE_POLICY: policy },
      release: { status, revision: 3 },
    }))
  ),
  ...["deployed", "failed"].flatMap((status): EntryCase[] =>
    ["upgrade", "uninstall", "install", "mapkubeapis"].flatMap((verb) => [
      { name: `${status}, ${verb} fails`, release: { status, revision: 3 }, fails: [verb] },
      { name: `${status}, ${verb} fails, inline`, release: { status, revision: 3 }, fails: [verb], files: INLINE },
    ])
  ),
  {
    name: "failed, retry fails",
    env: { FAILURE_POLICY: "retry" },
    release: { status: "failed", revision: 3 },
    fails: ["upgrade"],
  },
  ...["auto", "true", "false", ""].flatMap((serverSide): EntryCase[] =>
    ["true", "false", ""].flatMap((force) => {
      const env = { SERVER_SIDE: serverSide, FORCE_CONFLICTS: force };
      const name = `server-side "${serverSide}", force "${force}"`;
      return [
        { name: `${name}, install`, env },
        ...["ssa", "csa"].map((applyMethod) => ({
          name: `${name}, upgrade of ${applyMethod}`,
          env,
          release: { status: "deployed", revision: 3, applyMethod },
        })),
      ];
    })
  ),
  { name: "inline chart", files: INLINE },
  { name: "inline chart, repo add fails", files: INLINE, fails: ["repo add"] },
  { name: "repo add fails", fails: ["repo add"] },
  { name: "repo update fails", fails: ["repo update"] },
  { name: "chart by URL", env: { CHART: "https://%{KUBERNETES_API}%/a.tgz", REPO: "" }, fails: ["repo remove"] },
  { name: "chart by OCI", env: { CHART: "oci://registry.example.com/a", REPO: "" } },
  {
    name: "every flag",
    args: ["install", "--namespace", "apps", "--create-namespace", "--version", "1", "--set-string", "a=b"],
    env: { TIMEOUT: "5m0s", INSECURE_SKIP_TLS_VERIFY: "true", PLAIN_HTTP: "true", AUTH_PASS_CREDENTIALS: "true" },
    files: {
      "auth/username": "me",
      "auth/password": "secret",
      "config/ca-file.pem": "one",
      "ca-files/b": "two",
      "config/values-0-000-HelmChart-ValuesContent.yaml": "a: 1",
      "config/values-1-000-HelmChartConfig-ValuesContent.yaml": "a: 2",
    },
  },
  { name: "certificate", env: { AUTH_PASS_CREDENTIALS: "true" }, files: { "auth/tls.crt": "c", "auth/tls.key": "k" } },
  { name: "helm v2", env: { HELM_VERSION: "v2" } },
];

const SAID_REGEXP = /^(?:Current release revision|Release status is|Unknown failure policy).*/gm;

/** Runs `entry` in one case. */
export async function runEntryCase(entry: HelmEntry, one: EntryCase): Promise<EntryResult> {
  const root = mkdtempSync(join(tmpdir(), "helm-entry-"));
  try {
    for (const folder of ["config", "chart", "auth", "ca-files", "tmp", "bin"]) mkdirSync(join(root, folder));
    for (const [path, text] of Object.entries(one.files ?? {})) writeFileSync(join(root, path), text);
    let log = "";
    const code = await entry({
      helm: standInHelm(root, one),
      root,
      kubeconfig: "/nonexistent",
      apiServer: { host: "10.43.0.1", port: "443" },
      args: one.args ?? ["install"],
      env: { ...ENV, ...one.env },
      log: (text) => void (log += text),
      signal: AbortSignal.timeout(20_000),
    });
    const commands = join(root, "commands");
    return {
      code,
      commands: existsSync(commands) ? normalised(readFileSync(commands, "utf8"), root) : [],
      said: [...log.matchAll(SAID_REGEXP)].map(([line]) => line),
    };
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** One line a command; its words in alphabetical order, as the two versions order some differently to the same effect. */
function normalised(text: string, root: string): readonly string[] {
  return text.replaceAll(root, "").trim().split("\n").map((line) => {
    const [verb = "", ...words] = line.split(" ").filter((word) => word !== "");
    return [verb, ...words.sort()].join(" ");
  });
}

/** Writes its commands into a file, tells of the release that the case has, and fails where the case says so. */
function standInHelm(root: string, { release, fails = [] }: EntryCase): string {
  const file = join(root, "bin/helm");
  const state = release === undefined ? undefined : {
    status: { info: { status: release.status }, version: release.revision, apply_method: release.applyMethod },
    list: [{ chart: "app-1", status: release.status, revision: String(release.revision) }],
  };
  const lines = [
    "#!/bin/sh",
    `echo "$*" >> ${root}/commands`,
    'verb="$1"; [ "$1" = repo ] && verb="$1 $2"',
    `case "$verb" in`,
    `status) ${state === undefined ? "exit 1" : `echo '${JSON.stringify(state.status)}'`} ;;`,
    `ls) echo '${JSON.stringify(state?.list ?? [])}' ;;`,
    ...fails.map((verb) => `"${verb}") exit 7 ;;`),
    "esac",
    "",
  ];
  writeFileSync(file, lines.join("\n"));
  chmodSync(file, 0o755);
  return file;
}
