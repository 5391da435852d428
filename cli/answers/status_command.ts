// `k3slb status`: the cluster at a glance.
import type { KubeClient } from "../../core/kube/contract.ts";
import { NODES } from "../../core/kube/resources.ts";
import { pause, SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { ANSWER_FLAGS, lineWidth, readAnswers, withinPatience } from "./answers.ts";
import { withCluster } from "./connect_cluster.ts";
import { renderForm } from "../output/render_form.ts";
import { type ClusterStatus, clusterStatus, hasProblem, onlyProblems } from "../../core/status/cluster_status.ts";
import { readOthers } from "../../core/status/read_status.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { EXIT_FAILURE, EXIT_OK } from "../exit_codes.ts";
import { type Flag, type Settings, switchFlag } from "../settings/flag.ts";
import { renderRows, wrapText } from "../output/render_rows.ts";

const FLAGS = [
  switchFlag("problems", "Print only what is wrong; exit code 1 if there is something", { commandLineOnly: true }),
  switchFlag("watch", "Print it anew every two seconds until a signal", { short: "w", commandLineOnly: true }),
  ...ANSWER_FLAGS,
] as const satisfies readonly Flag[];

/** Prints all Services, nodes, charts and AddOns. */
export const STATUS_COMMAND = defineCommand({
  path: ["status"],
  summary: "Show Services, nodes and their agents, charts and AddOns at a glance",
  description: [
    "Prints the active server, every node with what its agent says, every Service with its addresses and what is wrong, Helm",
    "charts and AddOns. k3slb explain says more about one Service. Writes nothing.",
  ].join("\n"),
  flags: FLAGS,
  examples: [
    { command: "k3slb status", note: "everything" },
    { command: "k3slb status --problems", note: "for a check: exit code 1 if something is wrong" },
    { command: "k3slb status --watch", note: "live" },
    { command: "k3slb status -o wide", note: "with nodes' addresses, families, policies and ready endpoints" },
  ],
  run: async (settings, context) => {
    try {
      return await withCluster(settings, context, (client) => show(client, settings, context));
    } catch (error) {
      // Whoever has watched enough may say so while the cluster is asked.
      if (settings.watch && context.signal.aborted) return EXIT_OK;
      throw error;
    }
  },
});

/** Prints the status, again and again with `--watch`. */
async function show(client: KubeClient, settings: Settings<typeof FLAGS>, context: CommandContext): Promise<number> {
  while (true) {
    const all = await withinPatience(context, (signal) => readStatus(client, { settings, context, signal }));
    const status = settings.problems ? onlyProblems(all) : all;
    const text = renderForm(
      status,
      settings.output,
      (wide) => renderStatus(status, { width: lineWidth(context), wide }),
    );
    const isScreen = settings.watch && (settings.output === "table" || settings.output === "wide");
    const terminal = isScreen ? context.host.terminal() : undefined;
    if (terminal === undefined) context.host.stdout(text);
    else context.host.redraw(firstLines(text, terminal.rows - 1));
    if (!settings.watch) return settings.problems && hasProblem(all) ? EXIT_FAILURE : EXIT_OK;
    await pause(SYSTEM_CLOCK, WATCH_PERIOD_MS, context.signal);
    if (context.signal.aborted) return EXIT_OK;
  }
}

/** The status at this moment. */
export async function readStatus(
  client: KubeClient,
  options: {
    readonly settings: Pick<Settings<typeof FLAGS>, "servicelb-namespace">;
    readonly context: CommandContext;
    readonly signal: AbortSignal;
  },
): Promise<ClusterStatus> {
  const { settings, context, signal } = options;
  const [{ answers, services }, nodes, others] = await Promise.all([
    readAnswers(client, options),
    client.list(NODES, { signal }),
    readOthers(client, { namespace: settings["servicelb-namespace"], signal }),
  ]);
  return clusterStatus({
    ...others,
    nodes: nodes.items,
    services: services.map((service) => answers.about(service)),
    nowMs: context.host.now(),
  });
}

/** The tables, `width` characters wide; `wide`: with all columns. Pure. */
export function renderStatus(
  { server, nodes, services, charts, addOns }: ClusterStatus,
  { width, wide }: { readonly width: number; readonly wide: boolean },
): string {
  const glance = (message: string): string => wide ? message : atAGlance(message);
  const table = (headers: readonly string[], rows: readonly (readonly string[])[]): readonly string[] =>
    rows.length === 0 ? [] : [renderRows(headers, rows, width)];
  const inWide = (...columns: readonly string[]): readonly string[] => wide ? columns : [];
  const parts = [
    ...table(["SERVER", "STATE", ""], [[server.name, server.state, server.message]]),
    ...table(
      ["NODE", "STATE", ...inWide("ADDRESSES"), ""],
      nodes.map(({ name, state, message, addresses = [] }) => [name, state, ...inWide(addresses.join(" ")), message]),
    ),
    ...table(
      ["SERVICE", "PORTS", "NODES", "STATE", ...inWide("FAMILIES", "POLICY", "READY"), "ADDRESSES, AND WHAT IS WRONG"],
      services.map((row) => [
        ...[row.name, row.ports.join(","), String(row.serving), row.state],
        ...inWide(row.families.join(","), row.trafficPolicy, String(row.endpoints.ready)),
        [row.addresses.join(" ") || "none", glance(row.message)].filter((part) => part !== "").join(". "),
      ]),
    ),
    ...([["CHART", charts], ["ADDON", addOns]] as const).flatMap(([header, rows]) =>
      table([header, "STATE", ""], rows.map(({ name, state, message }) => [name, state, glance(message)]))
    ),
  ];
  const isCut = [...services, ...charts, ...addOns].some(({ message }) => glance(message) !== message);
  const more = `${CUT}: the whole of it: k3slb explain NAMESPACE/NAME, kubectl describe helmchart -n NAMESPACE NAME`;
  return [...parts, ...(isCut ? [`${wrapText(more, width).join("\n")}\n`] : [])].join("\n");
}

/** The beginning of a long sentence, such as a container runtime's about an image. */
function atAGlance(message: string): string {
  if (message.length <= MAX_MESSAGE) return message;
  const start = message.slice(0, MAX_MESSAGE);
  return `${start.slice(0, Math.max(start.lastIndexOf(" "), MAX_MESSAGE / 2))} ${CUT}`;
}

/** As many lines of `text` as there is room for; the last says what is left out. Pure. */
export function firstLines(text: string, count: number): string {
  const lines = text.trimEnd().split("\n");
  // Some terminals don't know how tall they are.
  if (count < 2 || lines.length <= count) return text;
  const shown = lines.slice(0, count - 1);
  return `${shown.join("\n")}\n… ${lines.length - shown.length} more lines; --problems shows only what is wrong\n`;
}

const CUT = "…";
const MAX_MESSAGE = 200;
const WATCH_PERIOD_MS = 2_000;
