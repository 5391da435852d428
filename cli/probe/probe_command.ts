// `k3slb probe`: connects from here to what a Service's status publishes.
import type { Service } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { readService } from "../../core/service/reading.ts";
import { addressesOf } from "../../core/service_lb/answers/explain_service.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import { ANSWER_FLAGS, findService, lineWidth, withinPatience } from "../answers/answers.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import { renderForm } from "../output/render_form.ts";
import { defineCommand } from "../command.ts";
import { EXIT_FAILURE, EXIT_OK } from "../exit_codes.ts";
import { NAMESPACE_FLAG, parseServiceName } from "../answers/explain_command.ts";
import { type ProbeAnswer, probeTargets, renderProbe } from "./probe_result.ts";
import { probeAll } from "./try_target.ts";

/** Connects to every published address and port of one Service. */
export const PROBE_COMMAND = defineCommand({
  path: ["probe"],
  summary: "Connect from here to every published address and port of a Service",
  description: [
    "Makes a TCP connection from this machine to each address in the Service's status, at each of its ports, and says how long it",
    "took or why it failed. A UDP port gets an empty packet: an answer or a refusal can be told, silence says nothing. An attempt",
    "has 2 seconds, the whole 30. Exit code 1 if a TCP port does not connect, or nothing is published.",
  ].join("\n"),
  operands: { usage: "[NAMESPACE/]NAME", min: 1, max: 1 },
  flags: [NAMESPACE_FLAG, ...ANSWER_FLAGS],
  examples: [
    { command: "k3slb probe shop/web", note: "Service web in namespace shop" },
    { command: "k3slb probe svc/web -n shop -o json", note: "for programs" },
  ],
  pitfalls: [
    "It says what holds for this machine: source ranges, firewalls and routes can treat another client differently.",
  ],
  run: async (settings, context) => {
    const key = parseServiceName(context.operands[0] ?? "", settings.namespace);
    const service = await withCluster(
      settings,
      context,
      (client) => withinPatience(context, (signal) => findService(client, key, signal)),
    );
    const answer = await probe(service, context.signal);
    context.host.stdout(renderForm(answer, settings.output, () => renderProbe(answer, lineWidth(context))));
    return answer.results.some(({ problem }) => problem) ? EXIT_FAILURE : EXIT_OK;
  },
});

async function probe(service: Service, signal: AbortSignal): Promise<ProbeAnswer> {
  const { namespace, name, ports } = readService(service);
  const addresses = addressesOf(service);
  if (addresses.length === 0) {
    throw new K3slbError(`Service "${namespace}/${name}" has no published address: there is nothing to connect to`, {
      code: "no-address",
      hint: `Its reason: k3slb explain ${namespace}/${name}`,
    });
  }
  const results = await probeAll(probeTargets(addresses, ports), { clock: SYSTEM_CLOCK, signal });
  return { namespace, name, addresses, results };
}
