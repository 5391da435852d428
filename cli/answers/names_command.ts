// `k3slb names`: what completion scripts ask the cluster for when a key is pressed.
import type { KubeClient, ResourceType } from "../../core/kube/contract.ts";
import { NAMESPACES, NODES, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject, Service } from "../../core/kube/types.ts";
import { objectKey } from "../../core/service/keys.ts";
import { readService } from "../../core/service/reading.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import { didYouMean } from "../../core/shared/nearest_name.ts";
import { defineCommand } from "../command.ts";
import { withCluster } from "./connect_cluster.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { COMMAND_LOG_FLAGS, CONFIG_FLAG, KUBECONFIG_FLAG } from "../settings/flags.ts";
import { NAME_KINDS } from "../output/render_completion.ts";

/** Prints names, one a line. */
export const NAMES_COMMAND = defineCommand({
  path: ["names"],
  summary: "List names from the cluster, one a line, for completion",
  description: [
    "Prints LoadBalancer Services as NAMESPACE/NAME, namespaces or nodes. The scripts of k3slb completion call it, with the kubeconfig",
    "that other commands would use. One request; it is given up after 3 seconds.",
  ].join("\n"),
  operands: { usage: NAME_KINDS.join("|"), min: 1, max: 1 },
  flags: [KUBECONFIG_FLAG, CONFIG_FLAG, ...COMMAND_LOG_FLAGS],
  examples: [{ command: "k3slb names services", note: "LoadBalancer Services" }],
  run: async (settings, context) => {
    const [wanted = ""] = context.operands;
    const kind = NAME_KINDS.find((known) => known === wanted);
    if (kind === undefined) throw unknownKind(wanted);
    const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PATIENCE_MS)]);
    const names = await withCluster(settings, context, (client) => LISTS[kind](client, signal));
    for (const name of names.toSorted()) context.host.stdout(`${name}\n`);
    return EXIT_OK;
  },
});

type List = (client: KubeClient, signal: AbortSignal) => Promise<readonly string[]>;

const LISTS: Readonly<Record<typeof NAME_KINDS[number], List>> = {
  services: async (client, signal) => {
    const { items } = await client.list(SERVICES, { fieldSelector: "spec.type=LoadBalancer", signal });
    return items.filter((service: Service) => readService(service).isLoadBalancer).map(objectKey);
  },
  namespaces: (client, signal) => metadataNames(client, NAMESPACES, signal),
  nodes: (client, signal) => metadataNames(client, NODES, signal),
};

async function metadataNames(
  client: KubeClient,
  type: ResourceType<KubeObject>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  return (await client.list(type, { isMetadataOnly: true, signal })).items.map(objectKey);
}

function unknownKind(word: string): K3slbError {
  return new K3slbError(`There are no names of "${word}"`, {
    code: "usage",
    hint: didYouMean(word, NAME_KINDS, `There are those of ${NAME_KINDS.join(", ")}`),
  });
}

const PATIENCE_MS = 3_000;
