// The page to look at: what is known of the cluster as tables in HTML, whole and row by row. Pure. Whatever comes from the cluster is escaped here.
import type { ServiceAnswer } from "../service_lb/answers/explain_service.ts";
import { NO_CANDIDATE } from "../service_lb/status/served_condition.ts";
import { compareText } from "../shared/compare_text.ts";
import { nameList } from "../shared/name_list.ts";
import { visibleLine } from "../shared/visible_text.ts";
import { type ClusterStatus, hasProblem, type StatusRow } from "./cluster_status.ts";

/** What the page shows. */
export interface PageFacts {
  readonly version: string;
  /** Whether this server is the active one; another one knows nothing. */
  readonly isLeading: boolean;
  readonly status: ClusterStatus;
  readonly answers: readonly ServiceAnswer[];
}

/** One row, replaced by its id. */
export interface PageRow {
  readonly id: string;
  readonly html: string;
}

/** A table with its caption. */
export interface PageTable {
  readonly id: string;
  /** Everything before the rows. */
  readonly head: string;
  readonly rows: readonly PageRow[];
}

/** The tables that follow from `facts`; the summary is one with one row. */
export function pageTables(facts: PageFacts): readonly PageTable[] {
  const { status, answers, isLeading } = facts;
  const summary: PageTable = { id: "summary", head: "", rows: [summaryRow(facts)] };
  if (!isLeading) return [summary];
  const ours = answers.filter((answer) => answer.ours);
  const nodes = [...new Set(ours.flatMap((answer) => answer.nodes.map(({ node }) => node)))].sort(compareText);
  return [
    summary,
    table("map", "Ports by node", ["Port", ...nodes], portRows(ours, nodes)),
    table(
      "services",
      "Services",
      ["Service", "State", "Ports", "Addresses", "Nodes", "Why, and what to do"],
      serviceRows(ours),
    ),
    table("nodes", "Nodes", ["Node", "State", "Message"], simpleRows("node", status.nodes)),
    table("charts", "Helm charts", ["Chart", "State", "Message"], simpleRows("chart", status.charts)),
    table("addons", "Manifest files", ["AddOn", "State", "File"], simpleRows("addon", status.addOns)),
  ].filter(({ rows }) => rows.length > 0);
}

/** What stands between the page's frame. */
export function renderTables(tables: readonly PageTable[]): string {
  return tables.map(({ id, head, rows }) => {
    const body = rows.map(({ html }) => html).join("\n");
    if (head === "") return body;
    return `<div class="scroll" role="region" tabindex="0" aria-labelledby="${id}"><table><caption id="${id}">${head}<tbody>\n${body}\n</tbody></table></div>`;
  }).join("\n");
}

function table(id: string, caption: string, heads: readonly string[], rows: readonly PageRow[]): PageTable {
  const cells = heads.map((head) => `<th scope="col">${escape(head)}</th>`).join("");
  return {
    id,
    head: `${escape(caption)} <small>${rows.length}</small></caption><thead><tr>${cells}</tr></thead>`,
    rows,
  };
}

function summaryRow({ isLeading, status, answers, version }: PageFacts): PageRow {
  const ours = answers.filter((answer) => answer.ours);
  const served = ours.filter((answer) => answer.served.status === "True").length;
  const wrong = [...status.nodes, ...status.services, ...status.charts, ...status.addOns].filter((row) => row.problem);
  const text = !isLeading
    ? `This server (${version}) waits: the active one shows what it knows at its own address.`
    : `${served} of ${ours.length} Services served, ${status.nodes.length} nodes. ` +
      (hasProblem(status) ? `${wrong.length} need somebody.` : "Nothing is wrong.") + ` k3slb ${version}.`;
  const state = isLeading && !hasProblem(status) ? "good" : "bad";
  return { id: "summary", html: `<p id="summary" role="status" class="${state}">${escape(text)}</p>` };
}

interface PortCell {
  owner?: string;
  readonly waiting: { readonly service: string; readonly reason: string; readonly message: string }[];
}

/** Who has each port on each node, and who waits for it. */
function portRows(answers: readonly ServiceAnswer[], nodes: readonly string[]): readonly PageRow[] {
  const ports = new Map<string, Map<string, PortCell>>();
  for (const { namespace, name, ports: own, nodes: verdicts } of answers) {
    const service = `${namespace}/${name}`;
    for (const port of own) {
      const cells = ports.get(port) ?? new Map<string, PortCell>();
      ports.set(port, cells);
      for (const { node, serves, reason = "", message = "" } of verdicts) {
        if (!serves && NO_CANDIDATE.has(reason)) continue;
        const cell: PortCell = cells.get(node) ?? { waiting: [] };
        cells.set(node, cell);
        if (serves) cell.owner = service;
        else cell.waiting.push({ service, reason, message });
      }
    }
  }
  return [...ports].sort(([a], [b]) => parseInt(a) - parseInt(b) || compareText(a, b)).map(([port, cells]) => {
    const id = rowId("port", port);
    const tds = nodes.map((node) => portCell(cells.get(node))).join("");
    return { id, html: `<tr id="${id}"><th scope="row">${escape(port)}</th>${tds}</tr>` };
  });
}

function portCell(cell: PortCell | undefined): string {
  if (cell === undefined) return `<td class="none">–</td>`;
  const owner = cell.owner === undefined ? "" : `<span class="good">✓ ${escape(cell.owner)}</span>`;
  const waiting = cell.waiting.map(({ service, reason, message }) =>
    `<span class="bad" title="${escape(message)}">✗ ${escape(service)} ${escape(reason)}</span>`
  );
  return `<td>${[owner, ...waiting].filter((part) => part !== "").join(" ")}</td>`;
}

function serviceRows(answers: readonly ServiceAnswer[]): readonly PageRow[] {
  return answers.toSorted((a, b) => compareText(`${a.namespace}/${a.name}`, `${b.namespace}/${b.name}`)).map(
    (answer) => {
      const { namespace, name, served, problem, ports, addresses, nodes } = answer;
      const id = rowId("service", `${namespace}/${name}`);
      const serving = nodes.filter(({ serves }) => serves).length;
      const cells = [
        `<th scope="row">${escape(`${namespace}/${name}`)}</th>`,
        `<td class="${problem ? "bad" : "good"}">${problem ? "✗" : "✓"} ${escape(served.reason)}</td>`,
        `<td>${escape(ports.join(" "))}</td>`,
        `<td>${escape(addresses.join(" ") || "none")}</td>`,
        `<td>${serving} of ${nodes.length}</td>`,
        `<td>${whyCell(answer)}</td>`,
      ];
      return { id, html: `<tr id="${id}">${cells.join("")}</tr>` };
    },
  );
}

/** What `status` says of a Service with which something is wrong, and what `explain` says of its nodes; those with the same words stand together. */
function whyCell({ nodes, served, problem }: ServiceAnswer): string {
  const groups = Map.groupBy(
    nodes.filter(({ serves, message }) => !serves || message !== undefined),
    ({ reason, message }) => [reason, message].filter((part) => part !== undefined).join(": "),
  );
  if (groups.size === 0) return problem ? escape(served.message) : "";
  const items = [...groups].map(([why, group]) => {
    const names = nameList(group.map(({ node }) => node));
    const remedy = group[0]?.remedy;
    const todo = remedy === undefined ? "" : `<br><b>To do:</b> <code>${escape(remedy)}</code>`;
    return `<li>${escape(`${names}: ${why}`)}${todo}</li>`;
  });
  const left = nodes.filter(({ serves }) => !serves).length;
  const summary = problem ? served.message : left === 0 ? "what nodes say" : `${left} left out`;
  const list = `<summary>${escape(summary)}</summary><ul>${items.join("")}</ul>`;
  return `<details${problem ? " open" : ""}>${list}</details>`;
}

function simpleRows(kind: string, rows: readonly StatusRow[]): readonly PageRow[] {
  return rows.map(({ name, state, message, problem }) => {
    const id = rowId(kind, name);
    const said = `<td class="${problem ? "bad" : "good"}">${problem ? "✗" : "✓"} ${escape(state)}</td>`;
    return {
      id,
      html: `<tr id="${id}"><th scope="row">${escape(name)}</th>${said}<td>${escape(message)}</td></tr>`,
    };
  });
}

/** Names of objects have none of the characters that are taken out here. */
function rowId(kind: string, name: string): string {
  return `${kind}-${name.replaceAll(/[^\w./-]/g, "_")}`;
}

/** For text and for attributes in double quotes. */
function escape(text: string): string {
  return visibleLine(text).replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
