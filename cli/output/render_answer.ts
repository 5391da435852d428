// What is known of one Service as one screen. Pure.
import type { NodeAnswer, ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import { nameList } from "../../core/shared/name_list.ts";
import { visibleLine } from "../../core/shared/visible_text.ts";
import type { PacketAnswer } from "../explain/packet_paths.ts";
import { renderPaths } from "../explain/render_paths.ts";
import { renderRows, wrapText } from "./render_rows.ts";

/** Everything about one Service, as `k3slb explain -o json` prints it. */
export interface ExplainAnswer extends ServiceAnswer {
  /** What the rules of this machine do with its packets; absent: it is not ours. */
  readonly packets?: PacketAnswer;
}

/** How a screen is made. */
export interface ScreenOptions {
  /** Characters in a line. */
  readonly width: number;
  /** All columns, and nothing left out. */
  readonly wide: boolean;
}

/** The screen for `answer`. */
export function renderAnswer(answer: ExplainAnswer, options: ScreenOptions): string {
  const { width, wide } = options;
  const { served, endpoints, daemonSet, condition, packets } = answer;
  const listed = (words: readonly string[]): string => nameList(words, wide ? Infinity : MAX_WORDS);
  const counts = [
    `${endpoints.ready} ready`,
    ...(endpoints.terminating > 0 ? [`${endpoints.terminating} terminating`] : []),
    ...(endpoints.closed > 0 ? [`${endpoints.closed} not ready`] : []),
  ];
  const facts: readonly (readonly [string, string])[] = [
    ["Service", `${answer.namespace}/${answer.name}`],
    ["Ports", listed(answer.ports)],
    ["Families", `${answer.families.join(", ")}; external traffic policy ${answer.trafficPolicy}`],
    ...(answer.sourceRanges === undefined ? [] : [["Clients", listed(answer.sourceRanges) || "none"] as const]),
    ["Addresses", listed(answer.addresses) || "none"],
    ...(answer.wantedAddresses === undefined
      ? []
      : [["To be", `${listed(answer.wantedAddresses) || "none"} (the server writes it in a moment)`] as const]),
    ["Endpoints", counts.join(", ")],
    ...(daemonSet === undefined ? [] : [["DaemonSet", daemonSetText(daemonSet)] as const]),
    ["Served", `${served.status}, ${served.reason}: ${served.message}`],
    ...(served.remedy === undefined ? [] : [["To do", served.remedy] as const]),
    ...(condition === undefined || condition.reason === served.reason
      ? []
      : [["Condition", `${condition.status}, ${condition.reason}: ${condition.message}`] as const]),
  ];
  return [
    facts.map(([name, text]) => labelled(name, text, width)).join(""),
    ...(answer.nodes.length === 0 ? [] : renderNodes(answer.nodes, options)),
    ...(packets === undefined ? [] : [renderPaths(packets, options)]),
  ].join("\n");
}

function renderNodes(nodes: readonly NodeAnswer[], { width, wide }: ScreenOptions): readonly string[] {
  const groups = wide || nodes.length <= MAX_NODE_ROWS
    ? nodes.map((node) => [node])
    : [...Map.groupBy(nodes, ({ serves, reason, message }) => JSON.stringify([serves, reason, message])).values()];
  const rows = groups.map((group) => {
    const { serves, reason, message, addresses = [] } = group[0] as NodeAnswer;
    return [
      namesOf(group),
      serves ? "yes" : "no",
      ...(wide ? [addresses.join(", ")] : []),
      [reason, message].filter((part) => part !== undefined).join(": "),
    ];
  });
  const shown = wide ? rows : rows.slice(0, MAX_NODE_ROWS);
  const headers = ["NODE", "SERVES", ...(wide ? ["ADDRESSES"] : []), "WHY"];
  const table = `${renderRows(headers, shown, width)}${moreLine(rows.length - shown.length)}`;
  const all = [...new Set(nodes.flatMap(({ remedy }) => (remedy === undefined ? [] : [remedy])))];
  if (all.length === 0) return [table];
  const remedies = wide ? all : all.slice(0, MAX_REMEDIES);
  const lines = remedies.flatMap((remedy) =>
    wrapText(remedy, width - 2).map((line, index) => `${index === 0 ? "- " : "  "}${line}\n`)
  );
  return [table, `To do:\n${lines.join("")}${moreLine(all.length - remedies.length)}`];
}

function namesOf(group: readonly NodeAnswer[]): string {
  const names = group.slice(0, MAX_NAMES).map(({ node }) => node).join(" ");
  return group.length > MAX_NAMES ? `${names} +${group.length - MAX_NAMES}` : names;
}

function moreLine(count: number): string {
  return count === 0 ? "" : `... and ${count} more: -o wide\n`;
}

function daemonSetText({ namespace, name, pods, exists }: NonNullable<ServiceAnswer["daemonSet"]>): string {
  return `${namespace}/${name}, ${exists ? `${pods} ${pods === 1 ? "pod" : "pods"}` : "not there"}`;
}

function labelled(name: string, text: string, width: number): string {
  const indent = " ".repeat(LABEL_WIDTH);
  return wrapText(visibleLine(text), width - LABEL_WIDTH)
    .map((line, index) => `${`${index === 0 ? `${name}:`.padEnd(LABEL_WIDTH) : indent}${line}`.trimEnd()}\n`).join("");
}

const LABEL_WIDTH = 11;
const MAX_REMEDIES = 12;
const MAX_WORDS = 24;
/** More nodes than these are listed in groups. */
const MAX_NODE_ROWS = 24;
/** Names that are written out in one group. */
const MAX_NAMES = 2;
