// The controller of NodeHosts against the in-memory API server; the test plays the deployer and the user.
import assert from "node:assert/strict";
import { CONFIG_MAPS, NODES } from "../../../../core/kube/resources.ts";
import { NODE_HOSTS_MANAGER, runNodeHosts } from "../../../../core/packaged/node_hosts_controller.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { type TestCluster, withCluster } from "./_cluster.ts";
import { marksOf, VERSION } from "./fixtures.ts";

const PLACE = { namespace: "kube-system", name: "coredns" };
const QUIET_MS = 300;

async function running(
  body: (cluster: TestCluster, waitForHosts: (text: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  await withCluster(async (cluster) => {
    const ending = new AbortController();
    const controller = runNodeHosts({
      client: cluster.client,
      clock: SYSTEM_CLOCK,
      logger: cluster.logger,
      events: { record: (reference, content) => cluster.events.push({ reference, content }) },
      signal: ending.signal,
      plan: { version: VERSION, corefile: "packaged" },
    });
    try {
      await body(cluster, async (text) => {
        await waitUntil(
          `NodeHosts ${JSON.stringify(text)}`,
          async () => (await cluster.configMap()).data?.["NodeHosts"] === text,
        );
      });
    } finally {
      ending.abort();
      await controller;
    }
  });
}

Deno.test("runNodeHosts: the key is made as soon as the ConfigMap is there, even without nodes", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.deployCoredns("packaged");
    await waitForHosts("");
  });
});

Deno.test("runNodeHosts: nodes come, change and go; a deployer that applies again does not disturb", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.addNode("a", "10.0.0.2", "fd00::2");
    await cluster.deployCoredns("packaged");
    await waitForHosts("10.0.0.2 a\nfd00::2 a\n");
    await cluster.addNode("b", "10.0.0.1");
    await waitForHosts("10.0.0.1 b\n10.0.0.2 a\nfd00::2 a\n");
    await cluster.deployCoredns("packaged, newer");
    const { data, metadata } = await cluster.configMap();
    assert.deepEqual(data, { Corefile: "packaged, newer", NodeHosts: "10.0.0.1 b\n10.0.0.2 a\nfd00::2 a\n" });
    assert.ok(metadata?.managedFields?.some(({ manager }) => manager === NODE_HOSTS_MANAGER));
    await cluster.client.delete(NODES, { name: "a" });
    await waitForHosts("10.0.0.1 b\n");
    const before = cluster.writes();
    await staysTrue("nothing is written", () => cluster.writes() === before, QUIET_MS);
  });
});

Deno.test("runNodeHosts: what users add stays, what they take away comes back", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.addNode("a", "10.0.0.1");
    await cluster.deployCoredns("packaged");
    await waitForHosts("10.0.0.1 a\n");
    const edit = (value: string | null): Promise<unknown> =>
      cluster.client.patch(CONFIG_MAPS, PLACE, { type: "merge", body: { data: { NodeHosts: value } } }, {
        fieldManager: "kubectl-edit",
      });
    await edit("10.0.0.9 nas # mine\n");
    await waitForHosts("10.0.0.1 a\n10.0.0.9 nas\n");
    await edit(null);
    await waitForHosts("10.0.0.1 a\n");
  });
});

Deno.test("runNodeHosts: a ConfigMap that is not ours is left alone", async () => {
  await running(async (cluster) => {
    await cluster.addNode("a", "10.0.0.1");
    await cluster.deployCoredns("kubeadm's", {});
    const before = cluster.writes();
    await staysTrue("nothing is written", () => cluster.writes() === before, QUIET_MS);
    assert.deepEqual((await cluster.configMap()).data, { Corefile: "kubeadm's" });
  });
});

Deno.test("runNodeHosts: a removed ConfigMap is not made anew", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.deployCoredns("packaged");
    await waitForHosts("");
    await cluster.client.delete(CONFIG_MAPS, PLACE);
    await cluster.addNode("a", "10.0.0.1");
    const isGone = async (): Promise<boolean> =>
      (await cluster.client.list(CONFIG_MAPS, { namespace: PLACE.namespace })).items.every(({ metadata }) =>
        metadata?.name !== PLACE.name
      );
    await staysTrue("it stays away", isGone, QUIET_MS);
  });
});

Deno.test("runNodeHosts: an edited Corefile gets one Event that names coredns-custom", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.deployCoredns("packaged");
    await waitForHosts("");
    assert.deepEqual(cluster.events, []);
    await cluster.client.patch(CONFIG_MAPS, PLACE, { type: "merge", body: { data: { Corefile: "mine" } } }, {
      fieldManager: "kubectl-edit",
    });
    const event = await waitUntil("the Event", () => cluster.events[0]);
    assert.equal(event.reference.kind, "ConfigMap");
    assert.equal(event.reference.name, "coredns");
    assert.equal(event.content.reason, "PackagedConfigEdited");
    assert.match(event.content.message, /edited by "kubectl-edit".*coredns-custom/);
    await cluster.addNode("a", "10.0.0.1");
    await waitForHosts("10.0.0.1 a\n");
    assert.equal(cluster.events.length, 1);
    await cluster.deployCoredns("packaged", marksOf("coredns"));
  });
});

Deno.test("runNodeHosts: an override that keeps CoreDNS from starting gets one Event on its ConfigMap", async () => {
  await running(async (cluster, waitForHosts) => {
    await cluster.deployCoredns("packaged");
    await waitForHosts("");
    const metadata = { name: "coredns-custom", namespace: "kube-system" };
    await cluster.client.create(CONFIG_MAPS, { metadata, data: { "a.override": "hosts {\n  10.0.0.5 db\n}\n" } });
    const { reference, content } = await waitUntil("Event", () => cluster.events[0]);
    assert.equal(reference.name, "coredns-custom");
    assert.equal(content.reason, "CustomConfigRefused");
    assert.match(content.message, /--dns-hosts/);
    await cluster.addNode("a", "10.0.0.2");
    await waitForHosts("10.0.0.2 a\n");
    assert.equal(cluster.events.length, 1);
  });
});
