// What whoever has one node's credentials tries to take from the others through the API, and does not get.
import assert from "node:assert/strict";
import { isForbidden } from "../../core/kube/errors.ts";
import { CONFIG_MAPS, NODES, PODS, SERVICES } from "../../core/kube/resources.ts";
import type { Pod } from "../../core/kube/types.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { openTestClient } from "../support/test_client.ts";
import { worldSuite } from "../support/world_suite.ts";

/** An address that is nobody's in the cluster. */
const ELSEWHERE = "198.51.100.7";

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("a stolen node publishes no address of another node, of Services, no loopback, and hides no other node's", async ({ world, ns }) => {
    const [node1, node2] = [world.node("node1"), world.node("node2")];
    const thief = await openTestClient(await node1.kubeconfig(), "thief");
    try {
      await ns.createApp({ name: "web", nodes: ["node2"] });
      const service = await ns.createService({ name: "web", ports: [world.port()] });
      await ns.waitForIngress("web", world.nodeIps);
      const named = ["127.0.0.1", "169.254.169.254", "224.0.0.1", service.spec?.clusterIP, node2.ip4, ELSEWHERE].join();
      const annotate = (text: string | null): Promise<unknown> =>
        thief.patch(NODES, { name: "node1" }, {
          type: "merge",
          body: { metadata: { annotations: { "k3slb.io/published-addresses": text } } },
        });
      await annotate(named);
      await ns.waitForIngress("web", [ELSEWHERE, node2.ip4]);
      await annotate(`${named},${"8.8.8.8,".repeat(20_000)}`);
      await ns.waitForIngress("web", [ELSEWHERE, node2.ip4]);
      await annotate(null);
      await ns.waitForIngress("web", world.nodeIps);
    } finally {
      thief.close();
    }
  });

  test("a stolen node writes nothing but its own Node: no other one, no Service, no pod of a load balancer, no facts", async ({ world, ns }) => {
    const thief = await openTestClient(await world.node("node1").kubeconfig(), "thief");
    try {
      await ns.createApp({ name: "web", nodes: ["node2"] });
      await ns.createService({ name: "web", ports: [world.port()] });
      await ns.waitForIngress("web", world.nodeIps);
      const labels = { [SERVICE_NAME_LABEL]: "web", [SERVICE_NAMESPACE_LABEL]: ns.name };
      const pod = {
        metadata: { name: "svclb-stolen", namespace: "kube-system", labels },
        spec: {
          nodeName: "node1",
          containers: [{ name: "a", image: "x", ports: [{ containerPort: 22, hostPort: 22 }] }],
        },
      } as Pod;
      const body = { metadata: { annotations: { "k3slb.io/published-addresses": ELSEWHERE } } };
      const web = { namespace: ns.name, name: "web" };
      const facts = { namespace: "kube-system", name: "k3slb-facts" };
      const attempts: Readonly<Record<string, () => Promise<unknown>>> = {
        "another Node": () => thief.patch(NODES, { name: "node2" }, { type: "merge", body }),
        "a Service": () => thief.patch(SERVICES, web, { type: "merge", body }),
        "a Service's status": () => thief.patch(SERVICES, web, { type: "merge", body }, { subresource: "status" }),
        "a pod with the labels of a load balancer's": () => thief.create(PODS, pod),
        "the cluster's facts": () => thief.create(CONFIG_MAPS, { metadata: facts, data: { facts: "{}" } }),
      };
      for (const [what, attempt] of Object.entries(attempts)) {
        await assert.rejects(attempt(), (error) => isForbidden(error), what);
      }
    } finally {
      thief.close();
    }
  });
}
