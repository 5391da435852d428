// What the controller makes good at its start: the world may have changed while no server ran, and not all of it may be readable.
import assert from "node:assert/strict";
import {
  CONFIG_MAPS,
  DAEMON_SETS,
  NAMESPACES,
  NODES,
  ROLE_BINDINGS,
  ROLES,
  SERVICES,
} from "../../../../core/kube/resources.ts";
import type { DaemonSet, KubeObject } from "../../../../core/kube/types.ts";
import {
  FORWARDING_CONDITION,
  NODE_REPORT_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../../../core/service/labels.ts";
import { removeServiceLb } from "../../../../core/service_lb/groundwork/remove_service_lb.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { type Cluster, loadBalancer, withCluster } from "./controller_cluster.ts";
import { reportText } from "./fixtures.ts";

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

/** Of what is published for agents, what is in a namespace. */
async function published({ admin }: Cluster, namespace: string): Promise<string> {
  const lists = [CONFIG_MAPS, ROLES, ROLE_BINDINGS].map(async (type) => {
    const { items } = await admin.list<KubeObject>(type, { namespace });
    return items.some(({ metadata }) => /^k3slb-(agent-)?facts$/.test(metadata?.name ?? "")) ? [type.kind] : [];
  });
  return (await Promise.all(lists)).flat().join(" ");
}

/** The agent of n1 says that it goes by what is published in `namespace`. */
async function goesBy({ admin }: Cluster, namespace: string): Promise<void> {
  await admin.patch(NODES, { name: "n1" }, {
    type: "strategic",
    body: {
      metadata: { annotations: { [NODE_REPORT_ANNOTATION]: reportText({ namespace }) } },
      status: { conditions: [{ type: FORWARDING_CONDITION, status: "True", message: "instance one" }] },
    },
  }, { subresource: "status" });
}

const ALL_PUBLISHED = "ConfigMap Role RoleBinding";

Deno.test("startServiceLb() moves to another namespace: what agents go by stays in the old one while any goes by it, and somebody else's always", () =>
  withCluster(1, async (cluster) => {
    const { admin, startController } = cluster;
    for (const name of ["old-lb", "foreign"]) {
      await admin.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    }
    const foreign = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "k3slb-facts", namespace: "foreign" } };
    await admin.create(CONFIG_MAPS, foreign);
    const stop = startController({ servicelbNamespace: "old-lb" });
    await waitUntil("facts", async () => await published(cluster, "old-lb") === ALL_PUBLISHED);
    await stop();
    await goesBy(cluster, "old-lb");
    const stopNew = startController();
    await waitUntil("facts", async () => await published(cluster, "kube-system") === ALL_PUBLISHED);
    await staysTrue("the old ones", async () => await published(cluster, "old-lb") === ALL_PUBLISHED, 300);
    await stopNew();
    await goesBy(cluster, "kube-system");
    const stopAgain = startController();
    await waitUntil("none in the old namespace", async () => await published(cluster, "old-lb") === "");
    assert.equal(await published(cluster, "kube-system"), ALL_PUBLISHED);
    assert.equal(await published(cluster, "foreign"), "ConfigMap");
    await stopAgain();
  }));

Deno.test("removeServiceLb() takes all back in a namespace that was used before, too, whoever goes by it", () =>
  withCluster(1, async (cluster) => {
    const { admin, startController } = cluster;
    await admin.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "old-lb" } });
    const stop = startController({ servicelbNamespace: "old-lb" });
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("facts", async () => await published(cluster, "old-lb") === ALL_PUBLISHED);
    await waitUntil("the DaemonSet", async () => await daemonSets(cluster, "old-lb") === 1);
    await stop();
    await goesBy(cluster, "old-lb");
    const { signal } = new AbortController();
    const options = { client: admin, namespace: "kube-system", logger: SILENT_LOGGER, signal };
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 1, services: 1 });
    assert.equal(await published(cluster, "old-lb"), "");
    assert.equal(await daemonSets(cluster, "old-lb"), 0);
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 0, services: 0 });
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
