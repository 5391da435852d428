// `k3slb probe`: connects to what a Service's status publishes, from here or from every node.
import type { Service } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { type ProbeTarget, probeTargets } from "../../core/runtime/probe_outcome.ts";
import { tryTargets } from "../../core/runtime/try_targets.ts";
import { objectKey } from "../../core/service/keys.ts";
import { readService } from "../../core/service/reading.ts";
import { addressesOf } from "../../core/service_lb/own_marks.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import { ANSWER_FLAGS, findService, lineWidth, withinPatience } from "../answers/answers.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import { renderForm } from "../output/render_form.ts";
import { defineCommand } from "../command.ts";
import { EXIT_FAILURE, EXIT_OK } from "../exit_codes.ts";
import { NAMESPACE_FLAG, parseServiceName } from "../answers/service_name.ts";
import { checkHttpPath } from "../settings/check_value.ts";
import { type Flag, switchFlag, textFlag } from "../settings/flag.ts";
import { askAgents } from "./ask_agents.ts";
import { isProbeProblem, type ProbeAnswer, type ProbeRow, probeRow, renderProbe } from "./probe_result.ts";

const FLAGS = [
  switchFlag("from-all", "Connect from every node, by its agent, instead of from here", { commandLineOnly: true }),
  textFlag("http", "Also ask TCP ports for this path by HTTP, such as /, and say which status comes", {
    default: "",
    commandLineOnly: true,
    check: checkHttpPath,
    placeholder: "PATH",
  }),
  NAMESPACE_FLAG,
  ...ANSWER_FLAGS,
] as const satisfies readonly Flag[];

/** Connects to every published address and port of one Service. */
export const PROBE_COMMAND = defineCommand({
  path: ["probe"],
  summary: "Connect from here, or from every node, to every published address and port of a Service",
  description: [
    "Makes a TCP connection from this machine to each address in the Service's status, at each of its ports, and says how long it",
    "took or why it failed. A UDP port gets an empty packet: an answer or a refusal can be told, silence says nothing. An attempt",
    "has 2 seconds, the whole 30. With --from-all the agents do that, each from its node: asked by an annotation of the ConfigMap",
    "k3slb-facts, which is taken away afterwards; the whole has 20 seconds. Exit code 1 if a TCP port does not connect (or, with",
    "--http, does not answer), an agent does not answer, or nothing is published.",
  ].join("\n"),
  operands: { usage: "[NAMESPACE/]NAME", min: 1, max: 1 },
  flags: FLAGS,
  examples: [
    { command: "k3slb probe shop/web", note: "Service web in namespace shop" },
    { command: "k3slb probe shop/web --http /", note: "and which HTTP status comes" },
    { command: "k3slb probe shop/web --from-all", note: "from every node to every address" },
    { command: "k3slb probe svc/web -n shop -o json", note: "for programs" },
  ],
  pitfalls: [
    "It says what holds for this machine: source ranges, firewalls and routes can treat another client differently.",
    "On a node kube-proxy itself leads connections to the pods: whether a node lets clients in is seen from outside the nodes.",
  ],
  run: async (settings, context) => {
    const key = parseServiceName(context.operands[0] ?? "", settings.namespace);
    if (settings["from-all"] && settings.http !== "") {
      throw new K3slbError("Agents connect and ask nothing by HTTP", {
        code: "usage",
        hint: "Leave out --from-all, or --http",
      });
    }
    const answer = await withCluster(settings, context, async (client): Promise<ProbeAnswer> => {
      const service = await withinPatience(context, (signal) => findService(client, key, signal));
      const { namespace, name, ports } = readService(service);
      const addresses = publishedAddresses(service);
      const targets = probeTargets(addresses, ports);
      const found = settings["from-all"]
        ? await withinPatience(context, (signal) =>
          askAgents(client, {
            service: objectKey(service),
            targets,
            servicelbNamespace: settings["servicelb-namespace"],
            clock: SYSTEM_CLOCK,
            signal,
          }), AGENTS_TIMEOUT_MS)
        : { results: await probeFromHere(targets, settings.http, context.signal) };
      return { namespace, name, addresses, ...found };
    });
    context.host.stdout(
      renderForm(answer, settings.output, (wide) => renderProbe(answer, { width: lineWidth(context), wide })),
    );
    return isProbeProblem(answer) ? EXIT_FAILURE : EXIT_OK;
  },
});

async function probeFromHere(
  targets: readonly ProbeTarget[],
  httpPath: string,
  signal: AbortSignal,
): Promise<readonly ProbeRow[]> {
  const http = httpPath === "" ? {} : { httpPath };
  const outcomes = await tryTargets(targets, { clock: SYSTEM_CLOCK, signal, ...http });
  return targets.map((target, index) => probeRow(target, outcomes[index] ?? { state: "NotTried" }));
}

/** @throws {K3slbError} code "no-address" if there is none */
function publishedAddresses(service: Service): readonly string[] {
  const addresses = addressesOf(service);
  if (addresses.length > 0) return addresses;
  const key = objectKey(service);
  throw new K3slbError(`Service "${key}" has no published address: there is nothing to connect to`, {
    code: "no-address",
    hint: `Its reason: k3slb explain ${key}`,
  });
}

/** Agents have 20 s, the API server the rest. */
const AGENTS_TIMEOUT_MS = 30_000;
