// What the controller makes good at its start: the world may have changed while no server ran, and not all of it may be readable.
import assert from "node:assert/strict";
import { DAEMON_SETS, NAMESPACES, SERVICES } from "../../../../core/kube/resources.ts";
import type { DaemonSet } from "../../../../core/kube/types.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../../../core/service/labels.ts";
import { waitUntil } from "../../../support/wait.ts";
import { type Cluster, loadBalancer, withCluster } from "./controller_cluster.ts";

async function daemonSets({ admin }: Cluster, namespace: string): Promise<number> {
  return (await admin.list(DAEMON_SETS, { namespace })).items.length;
}

/** As a stock K3s makes it: the Service's labels, and no mark of this program. */
function foreignDaemonSet(namespace: string): DaemonSet {
  const labels = { [SERVICE_NAME_LABEL]: "web", [SERVICE_NAMESPACE_LABEL]: "default" };
  const template = { metadata: { labels: { app: "foreign" } }, spec: { containers: [{ name: "x", image: "x" }] } };
  return {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "svclb-foreign", namespace, labels },
    spec: { selector: { matchLabels: { app: "foreign" } }, template },
  };
}

for (const hasDaemonSet of [true, false]) {
  const state = hasDaemonSet ? "" : " and its DaemonSet is gone";
  Deno.test(`startServiceLb() releases a Service whose type changed while no server ran${state}`, () =>
    withCluster(1, async (cluster) => {
      const { admin, startController, service, ips } = cluster;
      const stop = startController();
      await admin.create(SERVICES, loadBalancer("web", 80));
      await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
      await stop();
      await admin.patch(SERVICES, { namespace: "default", name: "web" }, {
        type: "merge",
        body: { spec: { type: "ClusterIP" } },
      });
      if (!hasDaemonSet) {
        for (const { metadata } of (await admin.list(DAEMON_SETS)).items) {
          await admin.delete(DAEMON_SETS, { namespace: "kube-system", name: metadata?.name ?? "" });
        }
      }
      const stopAgain = startController();
      await waitUntil("the Service to be released", async () => {
        const { metadata, status } = await service("web");
        return (metadata?.finalizers ?? []).length === 0 && (status?.conditions ?? []).length === 0;
      });
      await waitUntil("the DaemonSet to go", async () => await daemonSets(cluster, "kube-system") === 0);
      await stopAgain();
    }));
}

Deno.test("startServiceLb() moves to another namespace: the DaemonSets of the old one go, and foreign ones stay", () =>
  withCluster(1, async (cluster) => {
    const { admin, startController, ips } = cluster;
    await admin.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "old-lb" } });
    const stop = startController({ servicelbNamespace: "old-lb" });
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    await stop();
    await admin.create(DAEMON_SETS, foreignDaemonSet("old-lb"));
    const stopNew = startController();
    await waitUntil("the new DaemonSet", async () => await daemonSets(cluster, "kube-system") === 1);
    await waitUntil("only the foreign one in the old namespace", async () => await daemonSets(cluster, "old-lb") === 1);
    await waitUntil("the address again", async () => await ips("web") === "10.0.0.1");
    assert.equal(
      (await admin.get(DAEMON_SETS, { namespace: "old-lb", name: "svclb-foreign" })).metadata?.name,
      "svclb-foreign",
    );
    await stopNew();
  }));
Deno.test("startServiceLb() serves other Services while endpoints can't be read, and says so on those that need them", () =>
  withCluster(1, async ({ admin, events, startController, addFault, service, ips }) => {
    const end = addFault({ resource: "endpointslices", effect: { type: "forbid" } });
    for (let index = 1; index <= 5; index++) {
      await admin.create(SERVICES, loadBalancer(`local${index}`, 80 + index, { externalTrafficPolicy: "Local" }));
    }
    const stop = startController();
    await waitUntil(
      "the reason",
      () => events.some(({ type, message }) => type === "Warning" && /EndpointSlice/i.test(message)),
    );
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    end();
    await waitUntil(
      "a word on the endpoints",
      async () => (await service("local5")).status?.conditions?.some(({ reason }) => reason === "NoLocalEndpoint"),
    );
    await stop();
  }));
