// Holds the tracer to real packets: what it reads from a node's live rules is what a connection came to.
import { deepEqual, ok } from "node:assert/strict";
import type { Protocol } from "../../core/shared/ip.ts";
import { tracedRules, tracePacket } from "../../node_agent/rules/trace_packet.ts";
import type { PeerAnswer } from "./netns.ts";
import type { Host } from "./net_topology.ts";

/** One connection and what came of it. */
export interface TracedConnection {
  readonly node: Host;
  /** Every address of the node. */
  readonly localIps: readonly string[];
  /** `nft` or `legacy`. */
  readonly backend: string;
  readonly from: Host;
  readonly family: "ip4" | "ip6";
  readonly to: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly answer: PeerAnswer;
  /** Address and port that each server answers at, by its name; a name that is absent is of a program that no rule sends to. */
  readonly servers: Readonly<Record<string, { readonly host: Host; readonly port: number }>>;
}

/** Throws unless the tracer foretells the answer. */
export async function checkTrace(connection: TracedConnection, name: string): Promise<void> {
  const { node, backend, from, family, to, protocol, port, answer, servers, localIps } = connection;
  const tool = `${family === "ip4" ? "iptables" : "ip6tables"}-${backend}-save`;
  const packet = { from: from[family], to, protocol, port, fromNode: from === node };
  const outcomes = tracePacket(tracedRules(await node.ns.run(tool)), packet, { localIps });
  const dests = outcomes.map(({ dest }) => dest);
  if (answer.outcome !== "answer") {
    const refusal = protocol === "TCP" ? "RESET" : "REJECT";
    return deepEqual(dests, [answer.outcome === "timeout" ? "DROP" : refusal], name);
  }
  const server = servers[answer.server ?? ""];
  if (server === undefined) return deepEqual(dests, ["PASS"], name);
  const met = outcomes.find(({ dest }) => dest === `${server.host[family]} ${server.port}`);
  ok(met, `${name}: ${answer.server} is none of ${dests}`);
  // A process of the node has the node's addresses in any case.
  if (from !== node) deepEqual(met.masquerade, answer.peer !== from[family], `${name}: it saw ${answer.peer}`);
}
