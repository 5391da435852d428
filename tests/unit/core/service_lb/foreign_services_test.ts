// Node ports of other Services, as the controller meets them in the in-memory API server.
import assert from "node:assert/strict";
import { SERVICES } from "../../../../core/kube/resources.ts";
import type { Service } from "../../../../core/kube/types.ts";
import { waitUntil } from "../../../support/wait.ts";
import { loadBalancer, withCluster } from "./controller_cluster.ts";

function nodePortService(name: string): Service {
  const ports = [{ port: 80, protocol: "TCP", nodePort: 31_000 }];
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { type: "NodePort", ports },
  };
}

Deno.test("startServiceLb() leaves a node port to its Service, takes it when it is free, and tells both if it is given out later", () =>
  withCluster(1, async ({ admin, advance, events, startController, service, ips }) => {
    const stop = startController();
    const message = async (): Promise<string> => (await service("web")).status?.conditions?.[0]?.message ?? "";
    await admin.create(SERVICES, nodePortService("np"));
    // The age of Services is told in seconds.
    advance(1_100);
    await admin.create(SERVICES, loadBalancer("web", 31_000));
    await waitUntil("the reason", async () => /the node port of Service default\/np/.test(await message()));
    assert.equal(await ips("web"), "");
    await admin.delete(SERVICES, { namespace: "default", name: "np" });
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    advance(1_100);
    await admin.create(SERVICES, nodePortService("late"));
    await waitUntil(
      "the load balancer's word",
      async () => /also the node port of Service default\/late/.test(await message()),
    );
    assert.equal(await ips("web"), "10.0.0.1");
    await waitUntil(
      "the other Service's Event",
      () =>
        events.some(({ reason, message }) =>
          reason === "PortTaken" && message.includes("of Service default/web, which is older")
        ),
    );
    await stop();
  }));
