// `k3slb explain`: why a Service is served where it is, and not elsewhere.
import type { Service } from "../../core/kube/types.ts";
import { readService } from "../../core/service/reading.ts";
import { addressesOf } from "../../core/service_lb/own_marks.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import {
  ANSWER_FLAGS,
  type AnswerSource,
  findService,
  lineWidth,
  readAnswers,
  withinPatience,
} from "../answers/answers.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import { NAMESPACE_FLAG, parseServiceName } from "../answers/service_name.ts";
import { renderForm } from "../output/render_form.ts";
import { defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { nodeHere, type PacketAnswer, packetPaths } from "./packet_paths.ts";
import { localIps, readRules } from "./read_rules.ts";
import { renderAnswer } from "../output/render_answer.ts";

/** Prints everything about one Service. */
export const EXPLAIN_COMMAND = defineCommand({
  path: ["explain"],
  summary: "Say why a Service is served by a node, and why not by another, with what to do",
  description: [
    "Prints the Service, its addresses and endpoints, and for every node of the cluster whether it serves, why not, and what to",
    "do about it. It decides from the cluster's present state as the server does; needs no server and no agent. Writes nothing.",
    "As root on a node it follows a packet through the node's rules too: from outside, from a pod here and from the node itself.",
  ].join("\n"),
  operands: { usage: "[NAMESPACE/]NAME", min: 1, max: 1 },
  flags: [NAMESPACE_FLAG, ...ANSWER_FLAGS],
  examples: [
    { command: "k3slb explain shop/web", note: "Service web in namespace shop" },
    { command: "k3slb explain svc/web -n shop", note: "the same, as kubectl writes it" },
    { command: "k3slb explain shop/web -o wide", note: "more columns, nothing left out" },
    { command: "k3slb explain shop/web -o json", note: "for programs" },
  ],
  pitfalls: ["Run it with the server's settings: another --lb-class, or --lb-default=false, gives other answers."],
  run: async (settings, context) => {
    const key = parseServiceName(context.operands[0] ?? "", settings.namespace);
    return await withCluster(settings, context, async (client) => {
      const { service, source } = await withinPatience(context, async (signal) => {
        const service = await findService(client, key, signal);
        return { service, source: await readAnswers(client, { settings, context, signal, service }) };
      });
      const said = source.answers.about(service);
      const answer = said.ours ? { ...said, packets: await followPackets(service, source, context.signal) } : said;
      const screen = (wide: boolean): string => renderAnswer(answer, { width: lineWidth(context), wide });
      context.host.stdout(renderForm(answer, settings.output, screen));
      return EXIT_OK;
    });
  },
});

/** What the rules of this machine do with packets for `service`. */
async function followPackets(
  service: Service,
  { nodes, dataplane }: AnswerSource,
  signal: AbortSignal,
): Promise<PacketAnswer> {
  if (dataplane === "pods") return { unknown: "the load balancer's pods forward (--dataplane pods), not our rules" };
  const ips = localIps();
  const node = nodeHere(nodes, ips);
  if (node === undefined) return { unknown: "it is not a node of the cluster; run this as root on one" };
  const read = await readRules(createExec(), { signal });
  if ("unknown" in read) return read;
  const { backend, rules } = read;
  const facts = { reading: readService(service), published: addressesOf(service), node, localIps: ips, rules };
  return { node: node.metadata?.name ?? "", backend, ...packetPaths(facts) };
}
