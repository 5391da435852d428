// What is known of one Service as one screen. Pure.
import type { NodeAnswer, ServiceAnswer } from "../../core/service_lb/answers/explain_service.ts";
import { visibleLine } from "../../core/shared/visible_text.ts";
import { renderWrappedRows, wrapText } from "./wrap_text.ts";

/** The screen for `answer`, `width` characters wide. */
export function renderAnswer(answer: ServiceAnswer, width: number): string {
  const { served, endpoints, daemonSet, condition } = answer;
  const ranges = answer.sourceRanges?.join(", ");
  const counts = [
    `${endpoints.ready} ready`,
    ...(endpoints.terminating > 0 ? [`${endpoints.terminating} terminating`] : []),
    ...(endpoints.closed > 0 ? [`${endpoints.closed} not ready`] : []),
  ];
  const facts: readonly (readonly [string, string])[] = [
    ["Service", `${answer.namespace}/${answer.name}`],
    ["Ports", answer.ports.join(", ")],
    ["Families", `${answer.families.join(", ")}; external traffic policy ${answer.trafficPolicy}`],
    ...(ranges === undefined ? [] : [["Clients", ranges === "" ? "none" : ranges] as const]),
    ["Addresses", answer.addresses.join(", ") || "none"],
    ...(answer.wantedAddresses === undefined
      ? []
      : [["To be", `${answer.wantedAddresses.join(", ") || "none"} (the server writes it in a moment)`] as const]),
    ["Endpoints", counts.join(", ")],
    ...(daemonSet === undefined ? [] : [["DaemonSet", daemonSetText(daemonSet)] as const]),
    ["Served", `${served.status}, ${served.reason}: ${served.message}`],
    ...(served.remedy === undefined ? [] : [["To do", served.remedy] as const]),
    ...(condition === undefined || condition.reason === served.reason
      ? []
      : [["Condition", `${condition.status}, ${condition.reason}: ${condition.message}`] as const]),
  ];
  const head = facts.map(([name, text]) => labelled(name, text, width)).join("");
  return answer.nodes.length === 0 ? head : `${head}\n${renderNodes(answer.nodes, width)}`;
}

function renderNodes(nodes: readonly NodeAnswer[], width: number): string {
  const table = renderWrappedRows(
    ["NODE", "SERVES", "WHY"],
    nodes.map(({ node, serves, reason, message }) => [
      node,
      serves ? "yes" : "no",
      [reason, message].filter((part) => part !== undefined).join(": "),
    ]),
    width,
  );
  const remedies = groupRemedies(nodes);
  if (remedies.length === 0) return table;
  const lines = remedies.flatMap((remedy) =>
    wrapText(remedy, width - 2).map((line, index) => `${index === 0 ? "- " : "  "}${line}\n`)
  );
  return `${table}\nTo do:\n${lines.join("")}`;
}

/** The same words for several nodes are said once. */
function groupRemedies(nodes: readonly NodeAnswer[]): readonly string[] {
  return [...new Set(nodes.flatMap(({ remedy }) => (remedy === undefined ? [] : [remedy])))].slice(0, MAX_REMEDIES);
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
