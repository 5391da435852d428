// `k3slb dump`: one archive with what a helper needs to know, without secrets.
import { writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { errorMessage, K3slbError } from "../../core/shared/errors.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import { readAnswers, withinPatience } from "../answers/answers.ts";
import { buildInfo } from "../build_info.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import { readLocal } from "./read_local.ts";
import { redact } from "./redact.ts";
import { renderTar, type TarFile } from "./tar.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { type Flag, type Settings, textFlag } from "../settings/flag.ts";
import { CLUSTER_FLAGS, COMMAND_LOG_FLAGS, CONFIG_FLAG } from "../settings/flags.ts";
import { readStatus } from "../answers/status_command.ts";

const FLAGS = [
  textFlag("file", "Where the archive is written; k3slb-dump-TIME.tar.gz in this folder if empty", {
    short: "f",
    default: "",
    commandLineOnly: true,
    placeholder: "PATH",
  }),
  ...CLUSTER_FLAGS,
  CONFIG_FLAG,
  ...COMMAND_LOG_FLAGS,
] as const satisfies readonly Flag[];

/** Writes the archive. */
export const DUMP_COMMAND = defineCommand({
  path: ["dump"],
  summary: "Write one archive with what an issue needs, without secrets",
  description: [
    "Writes versions, the cluster's status, the answer of explain for every Service, and of this host our rules, the programs'",
    "logs and metrics into one .tar.gz. Secrets are not asked for; what looks like a key, a token or a password is taken out of",
    "all texts. Names and addresses stay: look through it before you hand it on. What can't be had is said in its place.",
  ].join("\n"),
  flags: FLAGS,
  examples: [
    { command: "k3slb dump", note: "on a node, as root, so that rules and logs are in it" },
    { command: "k3slb dump -f /tmp/web.tar.gz", note: "elsewhere" },
  ],
  run: async (settings, context) => {
    const { host, signal } = context;
    const nowMs = host.now();
    const stamp = new Date(nowMs).toISOString().replaceAll(/[-:]|\..*/g, "");
    const path = settings.file === "" ? `k3slb-dump-${stamp}.tar.gz` : settings.file;
    const files = [
      { path: "versions.json", text: json(buildInfo()) },
      ...await readCluster(settings, context),
      ...await readLocal(createExec(), signal),
    ];
    const folder = `k3slb-dump-${stamp}`;
    const archive = renderTar(
      files.map((file) => ({ path: `${folder}/${file.path}`, text: redact(file.text) })),
      Math.floor(nowMs / 1000),
    );
    await write(path, gzipSync(archive));
    host.stdout(`${path}: ${files.length} files, for reading before it is handed on\n`);
    return EXIT_OK;
  },
});

async function readCluster(
  settings: Settings<typeof FLAGS>,
  context: CommandContext,
): Promise<readonly TarFile[]> {
  try {
    return await withCluster(settings, context, (client) =>
      withinPatience(context, async (signal) => {
        const options = { settings, context, signal };
        const [version, status, { answers, services }] = await Promise.all([
          client.raw<object>("GET", "/version", { signal }),
          readStatus(client, options),
          readAnswers(client, options),
        ]);
        return [
          { path: "cluster/version.json", text: json(version) },
          { path: "cluster/status.json", text: json(status) },
          { path: "cluster/explain.json", text: json(services.map((service) => answers.about(service))) },
        ];
      }));
  } catch (error) {
    context.signal.throwIfAborted();
    // The host's half may be all that is needed then.
    context.log.warn("The archive has nothing of the cluster", { error: errorMessage(error) });
    return [{ path: "cluster/error.txt", text: `${errorMessage(error)}\n` }];
  }
}

/** Never overwrites a file; only its owner may read it. */
async function write(path: string, content: Uint8Array): Promise<void> {
  try {
    await writeFile(path, content, { flag: "wx", mode: 0o600 });
  } catch (error) {
    throw new K3slbError(`Cannot write "${path}": ${errorMessage(error)}`, {
      code: "dump-unwritable",
      hint: "Name another file with --file",
      cause: error,
    });
  }
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
