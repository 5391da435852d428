// `k3slb ports`: who has which port on which node, and who waits for it.
import { present } from "../../core/shared/values.ts";
import type { ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import { NO_CANDIDATE } from "../../core/service_lb/status/served_condition.ts";
import { ANSWER_FLAGS, lineWidth, readAnswers, withinPatience } from "./answers.ts";
import { withCluster } from "./connect_cluster.ts";
import { renderForm } from "../output/render_form.ts";
import { defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { renderRows } from "../output/render_rows.ts";

/** One port of one node for one Service, as `-o json` prints it. */
export interface PortRow {
  readonly node: string;
  /** `80/TCP` */
  readonly port: string;
  readonly service: string;
  /** `serves`, or the reason why not. */
  readonly state: string;
  readonly message: string;
  /** Addresses of the node in the Service's status; absent: none are. */
  readonly addresses?: readonly string[];
  /** What to do so that it serves; absent if it does. */
  readonly remedy?: string;
}

/** Prints ports by node. */
export const PORTS_COMMAND = defineCommand({
  path: ["ports"],
  summary: "List which Service has which port on which node, and who waits for it",
  description: [
    "Prints every port of every Service on every node that was chosen for it: who serves, and who doesn't and why. Nodes that a",
    "Service did not ask for are left out. Writes nothing.",
  ].join("\n"),
  flags: ANSWER_FLAGS,
  examples: [
    { command: "k3slb ports", note: "all nodes" },
    { command: "k3slb ports -o wide", note: "with addresses, and what to do" },
    { command: "k3slb ports -o json", note: "for programs" },
  ],
  run: async (settings, context) =>
    await withCluster(settings, context, async (client) => {
      const { answers, services } = await withinPatience(
        context,
        (signal) => readAnswers(client, { settings, context, signal }),
      );
      const rows = portRows(services.map((service) => answers.about(service)));
      const table = (wide: boolean): string =>
        renderRows(
          ["NODE", "PORT", "SERVICE", "STATE", ...(wide ? ["ADDRESSES"] : []), wide ? "WHY, AND WHAT TO DO" : "WHY"],
          rows.map(({ node, port, service, state, message, addresses = [], remedy }) => [
            ...[node, port, service, state],
            ...(wide ? [addresses.join(" ")] : []),
            [message, ...(wide && remedy !== undefined ? [remedy] : [])].join(". "),
          ]),
          lineWidth(context),
        );
      context.host.stdout(renderForm(rows, settings.output, table));
      return EXIT_OK;
    }),
});

/** Rows sorted by node, then port; the one that serves first. Pure. */
function portRows(answers: readonly ServiceAnswer[]): readonly PortRow[] {
  const rows = answers.flatMap(({ namespace, name, ports, nodes }) =>
    nodes.filter(({ reason = "" }) => !NO_CANDIDATE.has(reason)).flatMap(
      ({ node, serves, reason = "", message = "", addresses, remedy }) =>
        ports.map((port) => {
          const state = serves ? "serves" : reason;
          return present({ node, port, service: `${namespace}/${name}`, state, message, addresses, remedy });
        }),
    )
  );
  const order = ({ node, port, state }: PortRow): string =>
    `${node} ${port.padStart("65535/SCTP".length, "0")} ${state === "serves" ? 0 : 1}`;
  return rows.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
}
