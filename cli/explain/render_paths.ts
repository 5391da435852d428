// What happens to packets on this machine, as tables for people: one for each address and port, a line for each of our chains that sends them
// somewhere. Pure.
import { renderRows, wrapText } from "../output/render_rows.ts";
import type { PacketAnswer, PacketClient, PacketEnd, PacketPath } from "./packet_paths.ts";

/** The tables, `width` characters wide; `wide`: all of them. */
export function renderPaths(answer: PacketAnswer, { width, wide }: { width: number; wide: boolean }): string {
  if ("unknown" in answer) return lines(`Packets on this machine: not followed: ${answer.unknown}`, width);
  const { node, backend, paths } = answer;
  const title = `Packets on this machine, node ${node} (iptables, ${backend}):`;
  if (paths.length === 0) return lines(`${title} none of the addresses is here`, width);
  const targets = [...Map.groupBy(paths, ({ address, port }) => `${address} ${port}`).values()];
  const shown = wide ? targets : targets.slice(0, MAX_TARGETS);
  const left = targets.length - shown.length;
  const tables = shown.map((target) => {
    const { address, port } = target[0] as PacketPath;
    const rows = targetRows(target, wide ? Infinity : MAX_ENDS);
    return renderRows([`${address} ${port}`, "BY CHAIN", "TO"], rows, width);
  });
  const rest = left + (answer.otherTargets ?? 0);
  const more = rest === 0 ? "" : `${rest} more pairs of address and port${left > 0 ? ": -o wide" : " are left out"}\n`;
  return `${lines(title, width)}${tables.join("")}${more}`;
}

/** Clients to whom the same happens share their lines. */
function targetRows(paths: readonly PacketPath[], maxEnds: number): readonly (readonly string[])[] {
  const byEnds = Map.groupBy(paths, ({ ends, otherEnds }) => JSON.stringify([ends, otherEnds]));
  return [...byEnds.values()].flatMap((alike) => {
    const ends = alike[0]?.ends ?? [];
    const groups = Map.groupBy(ends, ({ chains, masqueraded }) => `${chains.at(-1) ?? "none"} ${masqueraded}`);
    return [...groups.values()].map((group, index) => [
      index > 0 ? "" : byEnds.size === 1 ? "anybody" : alike.map(({ client }) => CLIENT_WORDS[client]).join(", "),
      group[0]?.chains.at(-1) ?? "none of ours",
      endWords(group, { maxEnds, others: index === groups.size - 1 ? alike[0]?.otherEnds ?? 0 : 0 }),
    ]);
  });
}

function endWords(ends: readonly PacketEnd[], { maxEnds, others }: { maxEnds: number; others: number }): string {
  const word = END_WORDS[ends[0]?.to ?? ""];
  if (word !== undefined) return word;
  const share = ends.reduce((sum, end) => sum + end.share, 0);
  const left = Math.max(0, ends.length - maxEnds) + others;
  return [
    ends.slice(0, maxEnds).map(({ to }) => to).join(", "),
    ...(left > 0 ? [` and ${left} more`] : []),
    ...(share < 0.9995 && others === 0 ? [` (${Math.round(share * 100)}%)`] : []),
    ...(ends[0]?.masqueraded ? ["; masqueraded"] : []),
  ].join("");
}

function lines(text: string, width: number): string {
  return wrapText(text, width).map((line) => `${line}\n`).join("");
}

const CLIENT_WORDS: Readonly<Record<PacketClient, string>> = {
  outside: "outside",
  "not-admitted": "not listed",
  pod: "pod here",
  node: "this node",
};
const END_WORDS: Readonly<Record<string, string>> = {
  dropped: "dropped",
  reset: "refused (TCP reset)",
  rejected: "refused (ICMP)",
  passed: "not taken: whoever listens there",
};
const MAX_TARGETS = 4;
const MAX_ENDS = 4;
