// Scene: the machines, and what each agent says of itself on its Node.
import { NODES } from "../../../core/kube/resources.ts";
import type { Node } from "../../../core/kube/types.ts";
import { FORWARDING_CONDITION } from "../../../core/service/labels.ts";
import { waitUntil } from "../../support/wait.ts";
import { scene } from "../scene.ts";

interface NodeFacts {
  readonly name: string;
  readonly ip: string;
  readonly podCidr: string;
  readonly namespace: string;
  readonly agent: string;
}

/** The cluster as it starts. */
export const NODES_SCENE = scene({
  title: "Three nodes and a client, all of them network namespaces on this machine",
  act: async ({ world }): Promise<{ nodes: readonly NodeFacts[]; client: NodeFacts }> => {
    const nodes = await waitUntil("every agent's heartbeat", async () => {
      const { items } = await world.admin.list(NODES);
      return items.every((node) => heartbeat(node)?.status === "True") && items;
    });
    const client = { name: "client", ip: world.client.ip4, podCidr: "", namespace: world.client.ns.name, agent: "" };
    return {
      client,
      nodes: world.nodes.map(({ name, ip4, ns }) => {
        const node = nodes.find(({ metadata }) => metadata?.name === name);
        const podCidr = node?.spec?.podCIDR ?? "";
        return { name, ip: ip4, podCidr, namespace: ns.name, agent: (node && heartbeat(node)?.message) ?? "" };
      }),
    };
  },
  show: ({ nodes, client }) => [
    {
      kind: "table",
      columns: [
        { title: "machine" },
        { title: "address" },
        { title: "pods" },
        { title: "namespace" },
        { title: "its agent says", wraps: true },
      ],
      rows: [...nodes, client].map(({ name, ip, podCidr, namespace, agent }) => [
        { text: name, tone: "strong" },
        ip,
        podCidr || "-",
        namespace,
        agent || "(no node: a machine on the same network)",
      ]),
    },
  ],
});

function heartbeat(node: Node): { readonly status: string; readonly message?: string } | undefined {
  return node.status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION);
}
