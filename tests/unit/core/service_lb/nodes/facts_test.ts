// What the server publishes for agents, and what follows from what they say: on the in-memory API server, where the test plays the agents.
import assert from "node:assert/strict";
import { isNotFound } from "../../../../../core/kube/errors.ts";
import { CONFIG_MAPS, DAEMON_SETS, NODES, ROLE_BINDINGS, ROLES, SERVICES } from "../../../../../core/kube/resources.ts";
import type { KubeClient } from "../../../../../core/kube/contract.ts";
import type { Node, Service } from "../../../../../core/kube/types.ts";
import { type ClusterFacts, parseFacts } from "../../../../../core/service/cluster_facts.ts";
import { FORWARDING_CONDITION, NODE_REPORT_ANNOTATION } from "../../../../../core/service/labels.ts";
import { serviceId } from "../../../../../core/service/service_id.ts";
import { removeServiceLb } from "../../../../../core/service_lb/groundwork/remove_service_lb.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { staysTrue, waitUntil } from "../../../../support/wait.ts";
import { loadBalancer, withCluster } from "../controller_cluster.ts";
import { type ReportSketch, reportText } from "../fixtures.ts";

const KEY = { namespace: "kube-system", name: "k3slb-facts" };

async function published(admin: KubeClient): Promise<ClusterFacts | undefined> {
  try {
    return parseFacts((await admin.get(CONFIG_MAPS, KEY)).data?.["facts"] ?? "");
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** The agent of `name` says this, in one request with its heartbeat. */
async function report(admin: KubeClient, name: string, sketch: ReportSketch): Promise<Node> {
  const condition = { type: FORWARDING_CONDITION, status: "True", message: "instance one" };
  return await admin.patch(NODES, { name }, {
    type: "strategic",
    body: {
      metadata: { annotations: { [NODE_REPORT_ANNOTATION]: reportText(sketch) } },
      status: { conditions: [condition] },
    },
  }, { subresource: "status" });
}

Deno.test("startServiceLb() publishes facts, again when somebody took them away, and takes them back with the rest", () =>
  withCluster(2, async ({ admin, startController, writes }) => {
    const stop = startController({ version: "1.2.3" });
    await waitUntil("facts", async () => (await published(admin))?.server === "1.2.3");
    assert.equal((await published(admin))?.allowList, false);
    await waitUntil("prerequisites", () => writes() === 6);
    await admin.patch(NODES, { name: "n2" }, {
      type: "merge",
      body: { metadata: { labels: { "svccontroller.k3s.cattle.io/enablelb": "true" } } },
    });
    await waitUntil("the label in the facts", async () => (await published(admin))?.allowList === true);
    await admin.delete(CONFIG_MAPS, KEY);
    await waitUntil("the facts to be back", async () => (await published(admin))?.allowList === true);
    assert.equal(writes(), 8);
    await stop();
    await removeServiceLb({
      client: admin,
      namespace: "kube-system",
      logger: SILENT_LOGGER,
      signal: new AbortController().signal,
    });
    assert.equal(await published(admin), undefined);
    const reader = { namespace: "kube-system", name: "k3slb-agent-facts" };
    await assert.rejects(admin.get(ROLES, reader), isNotFound);
    await assert.rejects(admin.get(ROLE_BINDINGS, reader), isNotFound);
  }));

Deno.test("startServiceLb() takes facts back where pods forward", () =>
  withCluster(1, async ({ admin, startController }) => {
    const stop = startController();
    await waitUntil("facts", async () => await published(admin) !== undefined);
    await stop();
    const stopAgain = startController({ dataplane: "pods" });
    await waitUntil("no facts", async () => await published(admin) === undefined);
    await staysTrue("no facts", async () => await published(admin) === undefined, 300);
    await stopAgain();
  }));

Deno.test("startServiceLb() without pods: one write for a Service, no DaemonSet, deleted without waiting; and back again", () =>
  withCluster(2, async ({ admin, startController, service, ips, writes, events }) => {
    for (const name of ["n1", "n2"]) await report(admin, name, {});
    const stop = startController({ reservePorts: "none" });
    await waitUntil("prerequisites", () => writes() === 6);
    const web = await admin.create(SERVICES, loadBalancer("web", 80));
    await report(admin, "n1", { serves: [web] });
    await report(admin, "n2", { refuses: [{ service: web, reason: "PortTaken", message: "port 80/TCP is taken" }] });
    await waitUntil("the address of the node that serves", async () => await ips("web") === "10.0.0.1");
    assert.equal(writes(), 7);
    assert.deepEqual((await service("web")).metadata?.finalizers ?? [], []);
    assert.deepEqual((await admin.list(DAEMON_SETS)).items, []);
    await waitUntil("Events", () => events.length > 0);
    assert.deepEqual(events.map(({ reason }) => reason), ["UpdatedLoadBalancer", "PartlyServed"]);
    await stop();
    const stopPods = startController();
    await waitUntil("a DaemonSet", async () => (await admin.list(DAEMON_SETS)).items.length === 1);
    await waitUntil("the finalizer", async () => (await service("web")).metadata?.finalizers?.length === 1);
    assert.equal(await ips("web"), "10.0.0.1");
    await stopPods();
    const seen: string[] = [];
    const stopNone = startController({ reservePorts: "none" });
    await waitUntil("no DaemonSet", async () => {
      seen.push(await ips("web"));
      return (await admin.list(DAEMON_SETS)).items.length === 0;
    });
    await staysTrue("the address", async () => await ips("web") === "10.0.0.1", 300);
    assert.deepEqual([...new Set(seen)], ["10.0.0.1"]);
    await admin.delete(SERVICES, { namespace: "default", name: "web" });
    await waitUntil("the Service to go", () => service("web").then(() => false, isNotFound));
    await stopNone();
  }));

Deno.test("startServiceLb() without pods keeps DaemonSets while an agent goes by them", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const stop = startController();
    const web: Service = await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("both", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await stop();
    await report(admin, "n1", { serves: [web] });
    const seen = new Set<string>();
    const stopNone = startController({ reservePorts: "none" });
    await staysTrue("the DaemonSet", async () => {
      seen.add(await ips("web"));
      return (await admin.list(DAEMON_SETS)).items.length === 1;
    }, 500);
    await report(admin, "n2", { serves: [web] });
    await waitUntil("no DaemonSet", async () => {
      seen.add(await ips("web"));
      return (await admin.list(DAEMON_SETS)).items.length === 0;
    });
    assert.deepEqual([...seen], ["10.0.0.1 10.0.0.2"]);
    await stopNone();
  }));

Deno.test("startServiceLb() goes by what agents say, not by pods", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const stop = startController();
    const web = await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("both", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await report(admin, "n1", { serves: [web] });
    await report(admin, "n2", { refuses: [{ service: web, reason: "ProgrammingFailed", message: "no iptables" }] });
    await waitUntil("the node that serves", async () => await ips("web") === "10.0.0.1");
    await report(admin, "n2", { serves: [web] });
    await waitUntil("both again", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await stop();
  }));

Deno.test("startServiceLb() without pods tells agents who has a port that several ask for, as soon as one of them says it", () =>
  withCluster(2, async ({ admin, startController }) => {
    for (const name of ["n1", "n2"]) await report(admin, name, {});
    const stop = startController({ reservePorts: "none" });
    await admin.create(SERVICES, loadBalancer("old", 80));
    const young = await admin.create(SERVICES, loadBalancer("young", 80));
    await waitUntil(
      "a port that nobody has",
      async () => (await published(admin))?.contested.get("80/TCP")?.length === 0,
    );
    await report(admin, "n1", { serves: [young] });
    const owner = serviceId(young);
    await waitUntil(
      "its owner",
      async () => (await published(admin))?.contested.get("80/TCP")?.some(({ service }) => service === owner),
    );
    await stop();
  }));
