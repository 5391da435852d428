// `k3slb manifests list|validate|diff`: what the deployer sees in the manifests folder and what it would do. Writes nothing.
import { helmProblems } from "../../core/helm/releases/check_chart.ts";
import type { AddOn } from "../../core/manifests/record/addon.ts";
import {
  diffManifest,
  type InspectedFile,
  inspectManifests,
  type ObjectDifference,
  readAddOns,
} from "../../core/manifests/inspect_manifests.ts";
import { createKindCatalog } from "../../core/manifests/objects/kind_catalog.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { manifestsFolder } from "../../core/shared/k3s_names.ts";
import { visibleLine } from "../../core/shared/visible_text.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { withCluster } from "./connect_cluster.ts";
import { EXIT_FAILURE, EXIT_OK } from "../exit_codes.ts";
import type { Settings } from "../settings/flag.ts";
import {
  COMMAND_LOG_FLAGS,
  CONFIG_FLAG,
  DATA_DIR_FLAG,
  KUBECONFIG_FLAG,
  OUTPUT_FLAG,
  SERVER_FLAGS,
} from "../settings/flags.ts";
import { renderForm } from "../output/render_form.ts";
import { renderRows } from "../output/render_rows.ts";

const [DISABLE_FLAG] = SERVER_FLAGS;
const LOCAL_FLAGS = [CONFIG_FLAG, DATA_DIR_FLAG, DISABLE_FLAG, OUTPUT_FLAG, ...COMMAND_LOG_FLAGS] as const;
const CLUSTER_FLAGS = [KUBECONFIG_FLAG, ...LOCAL_FLAGS] as const;
const OPERANDS = { usage: "[PATH]", min: 0, max: 1 } as const;
const REQUEST_TIMEOUT_MS = 5_000;

/** Prints every file of the manifests folder and what becomes of it. */
export const MANIFESTS_LIST_COMMAND = defineCommand({
  path: ["manifests", "list"],
  summary: "List the files of the manifests folder and what becomes of each",
  description: [
    "Prints every manifest with its AddOn, whether it is deployed, skipped, disabled or broken, and how many objects it has.",
    "With a cluster in reach it also says whether the file as it is now has been applied.",
  ].join("\n"),
  operands: OPERANDS,
  flags: CLUSTER_FLAGS,
  examples: [
    { command: "k3slb manifests list", note: "the folder below /var/lib/rancher/k3s" },
    { command: "k3slb manifests list -o json ./manifests", note: "another folder, for programs" },
  ],
  run: async (settings, context) => {
    const files = await inspectManifests(pathOf(settings, context), settings.disable);
    const { addOns, why } = await addOnsIfReachable(settings, context);
    if (why !== undefined) context.log.warn(`The cluster was not asked what is applied: ${why}`);
    const rows = files.map((file) => ({
      path: file.path,
      addOn: file.addOn,
      state: file.state,
      applied: appliedState(file, addOns),
      objects: file.objects.length,
    }));
    const table = (): string =>
      renderRows(
        ["FILE", "ADDON", "STATE", "APPLIED", "OBJECTS"],
        rows.map((row) => [row.path, row.addOn, row.state, row.applied, String(row.objects)]),
      );
    context.host.stdout(renderForm(rows, settings.output, table));
    return EXIT_OK;
  },
});

/** Reads every manifest and prints what is wrong. */
export const MANIFESTS_VALIDATE_COMMAND = defineCommand({
  path: ["manifests", "validate"],
  summary: "Check manifests as the deployer reads them; no cluster needed",
  description: [
    "Reads every file as Kubernetes does and prints each problem with file, document and line, and what would keep a",
    "HelmChart from being installed. Exit code 1 if there is any.",
    "Whether the server accepts the objects is what k3slb manifests diff says.",
  ].join("\n"),
  operands: OPERANDS,
  flags: LOCAL_FLAGS,
  examples: [
    { command: "k3slb manifests validate", note: "the folder below /var/lib/rancher/k3s" },
    { command: "k3slb manifests validate app.yaml", note: "one file, for example before a commit" },
  ],
  run: async (settings, context) => {
    const files = await inspectManifests(pathOf(settings, context), settings.disable);
    const problems = files.flatMap((file) =>
      [...file.problems, ...chartProblemsIn(file)].map((problem) => ({ file: file.path, ...problem }))
    );
    const table = (): string => {
      const lines = problems.map(({ file, document, line, message }) => {
        const place = line === undefined ? "" : `:${line}: document ${document}`;
        return `${visibleLine(`${file}${place}: ${message}`)}\n`;
      });
      return `${lines.join("")}${counted(files.length, "file")}, ${counted(problems.length, "problem")}\n`;
    };
    context.host.stdout(renderForm(problems, settings.output, table));
    return problems.length === 0 ? EXIT_OK : EXIT_FAILURE;
  },
});

/** Asks the server what applying the folder would do. */
export const MANIFESTS_DIFF_COMMAND = defineCommand({
  path: ["manifests", "diff"],
  summary: "Show what applying the manifests would create, change and remove",
  description: [
    "Asks the server by dry run what would change, field by field, and what would be pruned. Nothing is written. Exit code 1 if",
    "a file or an object is not accepted.",
  ].join("\n"),
  operands: OPERANDS,
  flags: CLUSTER_FLAGS,
  examples: [
    { command: "k3slb manifests diff", note: "everything that differs" },
    { command: "k3slb manifests diff -o json app.yaml", note: "one file, unchanged objects included" },
  ],
  pitfalls: [
    "Objects of a kind or namespace that the same folder brings can't be checked before they are there.",
    "Values of Secrets are not shown.",
  ],
  run: async (settings, context) => {
    const files = await inspectManifests(pathOf(settings, context), settings.disable);
    return await withCluster(settings, context, async (client) => {
      const kinds = createKindCatalog(client);
      const result: { file: string; problems: InspectedFile["problems"]; objects: readonly ObjectDifference[] }[] = [];
      for (const file of files) {
        const others = files.filter(({ state, addOn }) => state === "Deployed" && addOn !== file.addOn);
        const claims = others.flatMap(({ objects }) => objects);
        const objects = file.state === "Deployed"
          ? await diffManifest(file, { client, kinds, claims, signal: context.signal })
          : [];
        result.push({ file: file.path, problems: file.problems, objects });
      }
      context.host.stdout(renderForm(result, settings.output, () => result.map(renderDiff).join("")));
      const failed = result.some(({ problems, objects }) =>
        problems.length > 0 || objects.some(({ action }) => action === "error")
      );
      return failed ? EXIT_FAILURE : EXIT_OK;
    });
  },
});

/** What the Helm controller would refuse. */
function chartProblemsIn({ objects }: InspectedFile): InspectedFile["problems"] {
  return objects.flatMap(({ object, kind, name, document, line }) =>
    helmProblems(object).map((problem) => ({ document, line, message: `${kind} "${name}": ${problem}` }))
  );
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

type LocalSettings = Settings<typeof LOCAL_FLAGS>;
type ClusterSettings = Settings<typeof CLUSTER_FLAGS>;

function pathOf(settings: LocalSettings, { operands }: CommandContext): string {
  return operands[0] ?? manifestsFolder(settings["data-dir"]);
}

const MARKS: Readonly<Record<ObjectDifference["action"], string>> = {
  create: "+",
  change: "~",
  prune: "-",
  keep: "=",
  unchanged: " ",
  error: "!",
};

function renderDiff(result: {
  readonly file: string;
  readonly problems: InspectedFile["problems"];
  readonly objects: readonly ObjectDifference[];
}): string {
  const problems = result.problems.map(({ message, document, line }) =>
    `! ${line === undefined ? "" : `document ${document}, line ${line}: `}${visibleLine(message)}\n`
  );
  const objects = result.objects.filter(({ action }) => action !== "unchanged").map((object) => {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    const message = object.message === undefined ? "" : `: ${object.message}`;
    const fields = object.fields.map(({ path, before, after }) =>
      `    ${visibleLine(path)}: ${show(before)} -> ${show(after)}\n`
    );
    const what = visibleLine(`${object.action} ${object.kind} ${name}${message}`);
    return `${MARKS[object.action]} ${what}\n${fields.join("")}`;
  });
  return problems.length + objects.length === 0
    ? ""
    : `${visibleLine(result.file)}\n${[...problems, ...objects].join("")}`;
}

const MAX_SHOWN_LENGTH = 200;

function show(value: unknown): string {
  const text = value === undefined ? "(none)" : JSON.stringify(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}...` : text;
}

async function addOnsIfReachable(
  settings: ClusterSettings,
  context: CommandContext,
): Promise<{ readonly addOns?: ReadonlyMap<string, AddOn>; readonly why?: string }> {
  try {
    return await withCluster(settings, context, async (client) => {
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]);
      return { addOns: await readAddOns(client, signal) };
    });
  } catch (error) {
    return { why: errorMessage(error) };
  }
}

function appliedState(file: InspectedFile, addOns: ReadonlyMap<string, AddOn> | undefined): string {
  if (addOns === undefined) return "unknown";
  const addOn = addOns.get(file.addOn);
  if (addOn === undefined) return "no";
  return file.checksum !== "" && addOn.spec?.checksum === file.checksum ? "yes" : "other content";
}
