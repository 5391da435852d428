// What a probe of a Service comes to, from here or from every node, and how it is printed. Pure.
import type { ProbeOutcome, ProbeState, ProbeTarget } from "../../core/runtime/probe_outcome.ts";
import { present } from "../../core/shared/values.ts";
import { renderRows, wrapText } from "../output/render_rows.ts";

/** One row, as `-o json` prints it. */
export interface ProbeRow extends ProbeTarget, ProbeOutcome {
  /** The node that connected; absent: this machine. */
  readonly from?: string;
  readonly message: string;
  /** Whether this is a TCP port that does not connect. */
  readonly problem: boolean;
}

/** Everything that a probe found. */
export interface ProbeAnswer {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly results: readonly ProbeRow[];
  /** With `--from-all`: nodes that did not answer. */
  readonly silent?: readonly SilentAgent[];
}

/** A node of which nothing was heard. */
export interface SilentAgent {
  readonly node: string;
  readonly message: string;
  /** Whether it has an agent, which should have answered. */
  readonly problem: boolean;
}

/** The row for what came of `target`, tried here or by the agent of `from`. */
export function probeRow(target: ProbeTarget, outcome: ProbeOutcome, from?: string): ProbeRow {
  const { state, latencyMs, httpStatus, detail } = outcome;
  const message = httpStatus !== undefined
    ? `HTTP status ${httpStatus}`
    : state === "NotTried" && target.protocol !== "SCTP"
    ? from === undefined
      ? "the time for the whole probe was over"
      : "its agent tries 256 of a Service, no names, for 10 s"
    : MESSAGES[state];
  return present({
    from,
    ...target,
    state,
    latencyMs: latencyMs === undefined ? undefined : Math.round(latencyMs * 10) / 10,
    httpStatus,
    detail,
    message: detail === undefined ? message : `${message}: ${detail}`,
    problem: target.protocol === "TCP" && state !== "Connected",
  });
}

/** The table, `width` characters wide; `wide`: a line for each attempt of each node, with what it means. */
export function renderProbe(
  answer: ProbeAnswer,
  { width, wide }: { readonly width: number; readonly wide: boolean },
): string {
  const { results, silent } = answer;
  const failed = results.filter(({ problem }) => problem);
  const table = silent === undefined || wide ? renderEach(answer, width) : renderFromAll(answer, silent, width);
  if (failed.length === 0) return table;
  const verb = failed.some(({ state }) => state === "NotHttp") ? "answer" : "connect";
  const advice = `${failed.length} of ${results.length} do not ${verb}${silent === undefined ? " from here" : ""}. ` +
    `k3slb explain ${answer.namespace}/${answer.name} says which node serves and which does not.`;
  return `${table}\n${wrapText(advice, width).join("\n")}\n`;
}

/** Whether something needs to be fixed. */
export function isProbeProblem({ results, silent = [] }: ProbeAnswer): boolean {
  return results.some(({ problem }) => problem) || silent.some(({ problem }) => problem);
}

function renderEach({ results, silent }: ProbeAnswer, width: number): string {
  const isFromAll = silent !== undefined;
  return renderRows(
    [...(isFromAll ? ["FROM"] : []), "ADDRESS", "PORT", "RESULT", "MS", "WHAT IT MEANS"],
    [
      ...results.map(({ from = "", address, port, protocol, state, latencyMs, message }) => [
        ...(isFromAll ? [from] : []),
        ...[address, `${port}/${protocol}`, state],
        latencyMs === undefined ? "" : latencyMs.toFixed(1),
        message,
      ]),
      ...(silent ?? []).map(({ node, message }) => [node, "", "", "", "", message]),
    ],
    width,
  );
}

/** For each port the nodes, and what each found at each address; as many addresses beside each other as fit. */
function renderFromAll({ addresses, results }: ProbeAnswer, silent: readonly SilentAgent[], width: number): string {
  const ports = Map.groupBy(results, ({ port, protocol }) => `${port}/${protocol}`);
  const tables = [...ports].flatMap(([port, rows]) => {
    const cells = new Map(rows.map((row) => [`${row.from} ${row.address}`, cellOf(row)]));
    const nodes = [...new Set(rows.map(({ from = "" }) => from))];
    const first = `${port} FROM`;
    const nameWidth = Math.max(first.length, ...nodes.map((node) => node.length));
    return chunksOf(addresses, width - nameWidth).map((chunk) =>
      renderRows([first, ...chunk], nodes.map((node) => [node, ...chunk.map((ip) => cells.get(`${node} ${ip}`) ?? "")]))
    );
  });
  const meanings = new Map(results.flatMap(({ state, message }) => message === "" ? [] : [[state, message]]));
  const notes = [
    ...[...meanings].map(([state, message]) => `${state}: ${message}`),
    ...silent.map(({ node, message }) => `${node}: ${message}`),
  ].flatMap((note) => wrapText(note, width));
  return [...tables, ...(notes.length === 0 ? [] : [`${notes.join("\n")}\n`])].join("\n");
}

function cellOf({ state, latencyMs }: ProbeRow): string {
  return latencyMs === undefined ? state : `${latencyMs.toFixed(1)} ms`;
}

/** Addresses that stand beside each other in `width` characters, with two blanks before each. */
function chunksOf(addresses: readonly string[], width: number): readonly (readonly string[])[] {
  const chunks: string[][] = [];
  let room = 0;
  for (const address of addresses) {
    const needed = Math.max(address.length, WIDEST_STATE) + 2;
    if (needed > room || chunks.length === 0) {
      chunks.push([]);
      room = width;
    }
    chunks.at(-1)?.push(address);
    room -= needed;
  }
  return chunks;
}

const WIDEST_STATE = "UnknownName".length;

const MESSAGES: Readonly<Record<ProbeState, string>> = {
  Connected: "",
  Answered: "",
  Refused: "no rules there, no ready endpoint, pods that do not listen on the targetPort, or a firewall that rejects",
  TimedOut: "no answer: something between here and the endpoint drops packets, or the address is down",
  NotHttp: "connected, and no answer by HTTP",
  Silent: "sent, no answer and no refusal: whether it arrived can't be told",
  NoRoute: "this machine has no way to the address",
  UnknownName: "the name has no address",
  Failed: "the attempt failed",
  NotTried: "SCTP can't be tried from here",
};
