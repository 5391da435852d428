// The controller against the in-memory API server with its DaemonSet controller and scheduler; the test plays the agents.
import assert from "node:assert/strict";
import { DAEMON_SETS, ENDPOINT_SLICES, NODES, SERVICES } from "../../../../core/kube/resources.ts";
import type { Node, Service } from "../../../../core/kube/types.ts";
import { removeServiceLb } from "../../../../core/service_lb/groundwork/remove_service_lb.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { loadBalancer, withCluster } from "./controller_cluster.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";

Deno.test("startServiceLb() serves, is quiet, survives a restart without a word and takes all back", () =>
  withCluster(3, async ({ admin, events, startController, writes, service, ips }) => {
    const stop = startController();
    // ServiceAccount, two roles with their bindings, facts.
    await waitUntil("prerequisites", () => writes() === 6);
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("all addresses", async () => await ips("web") === "10.0.0.1 10.0.0.2 10.0.0.3");
    assert.ok(writes() - 6 <= 4, String(writes()));
    assert.deepEqual(events.map(({ reason }) => reason), ["UpdatedLoadBalancer"]);
    const before = writes();
    await staysTrue("no writes", () => writes() === before, 500);
    await stop();
    const stopAgain = startController();
    await waitUntil("prerequisites again", () => writes() === before + 5);
    await staysTrue("no writes after a restart", () => writes() === before + 5, 500);
    await admin.delete(SERVICES, { namespace: "default", name: "web" });
    await waitUntil("the DaemonSet to go", async () => (await admin.list(DAEMON_SETS)).items.length === 0);
    await waitUntil("the Service to go", () => service("web").then(() => false, () => true));
    await stopAgain();
  }));

Deno.test("startServiceLb() takes the pause image that all nodes have, and replaces no pod for another one later", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const have = (node: string, ...names: string[]): Promise<Node> =>
      admin.patch(NODES, { name: node }, {
        type: "merge",
        body: { status: { images: names.map((name) => ({ names: [name], sizeBytes: 1 })) } },
      }, { subresource: "status" });
    const seen = async (): Promise<string> => {
      const [daemonSet] = (await admin.list(DAEMON_SETS)).items;
      return `${daemonSet?.spec?.template.spec?.containers[0]?.image} ${daemonSet?.metadata?.generation}`;
    };
    for (const node of ["n1", "n2"]) await have(node, "registry.k8s.io/pause:3.9");
    const stop = startController({ adoptPauseImage: true });
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("both", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    assert.equal(await seen(), "registry.k8s.io/pause:3.9 1");
    for (const node of ["n1", "n2"]) await have(node, "registry.k8s.io/pause:3.9", SERVICE_OPTIONS.pauseImage);
    await admin.patch(SERVICES, { namespace: "default", name: "web" }, {
      type: "merge",
      body: { spec: { externalTrafficPolicy: "Local" } },
    });
    await waitUntil("a later reconcile", async () => await ips("web") === "");
    assert.equal(await seen(), "registry.k8s.io/pause:3.9 1");
    await stop();
  }));

Deno.test("startServiceLb() follows labels there and back", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("both", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    const label = (value: string | null): Promise<Node> =>
      admin.patch(NODES, { name: "n2" }, {
        type: "merge",
        body: { metadata: { labels: { "svccontroller.k3s.cattle.io/enablelb": value } } },
      });
    await label("true");
    await waitUntil("only n2", async () => await ips("web") === "10.0.0.2");
    await label(null);
    await waitUntil("both again", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await stop();
  }));

Deno.test("startServiceLb() follows the endpoints of a Service that is or becomes Local", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const addSlice = (name: string, nodeName: string): Promise<unknown> =>
      admin.create(ENDPOINT_SLICES, {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: `${name}-x`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        endpoints: [{ addresses: ["10.42.0.5"], nodeName }],
        ports: [{ port: 80, protocol: "TCP" }],
      });
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("one", 80, { externalTrafficPolicy: "Local" }));
    await addSlice("one", "n2");
    await waitUntil("the node of the endpoint", async () => await ips("one") === "10.0.0.2");
    await admin.create(SERVICES, loadBalancer("two", 81));
    await addSlice("two", "n1");
    await waitUntil("both nodes", async () => await ips("two") === "10.0.0.1 10.0.0.2");
    const body = { spec: { externalTrafficPolicy: "Local" } };
    await admin.patch(SERVICES, { namespace: "default", name: "two" }, { type: "merge", body });
    await waitUntil("the node of the older slice", async () => await ips("two") === "10.0.0.1");
    await admin.delete(ENDPOINT_SLICES, { namespace: "default", name: "two-x" });
    await waitUntil("no node", async () => await ips("two") === "");
    await stop();
  }));

Deno.test("startServiceLb() gives a port to the next Service when the owner changes its type", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("a", 80));
    await waitUntil("the owner", async () => await ips("a") === "10.0.0.1");
    await admin.create(SERVICES, loadBalancer("b", 80));
    await waitUntil(
      "the loser's reason",
      async () =>
        (await service("b")).status?.conditions?.some(({ reason, message }) =>
          reason === "PortTaken" && message.includes("default/a")
        ),
    );
    await admin.patch(SERVICES, { namespace: "default", name: "a" }, {
      type: "merge",
      body: { spec: { type: "ClusterIP" } },
    });
    await waitUntil("the next", async () => await ips("b") === "10.0.0.1");
    await waitUntil("the old owner to be released", async () => {
      const { metadata, status } = await service("a");
      return (metadata?.finalizers ?? []).length === 0 && (status?.conditions ?? []).length === 0;
    });
    await stop();
  }));

Deno.test("startServiceLb() hands ports on along a chain of Services that share only some of them", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const stop = startController();
    const reason = async (name: string): Promise<string | undefined> =>
      (await service(name)).status?.conditions?.find(({ type }) => type === "k3slb.io/Served")?.reason;
    const ports = [80, 443].map((port) => ({ name: `p${port}`, port, protocol: "TCP" }));
    await admin.create(SERVICES, loadBalancer("a", 80));
    await waitUntil("the first", async () => await ips("a") === "10.0.0.1");
    await admin.create(SERVICES, loadBalancer("b", 80, { ports }));
    await waitUntil("the second to wait for the first", async () => await reason("b") === "PortTaken");
    await admin.create(SERVICES, loadBalancer("c", 443));
    await waitUntil("the third, which has what the second can't use", async () => await ips("c") === "10.0.0.1");
    await admin.delete(SERVICES, { namespace: "default", name: "a" });
    const message = async (name: string): Promise<string> =>
      (await service(name)).status?.conditions?.find(({ type }) => type === "k3slb.io/Served")?.message ?? "";
    await waitUntil(
      "the second to wait for the third, which has its other port",
      async () => (await message("b")).includes("443/TCP is taken by Service default/c"),
    );
    assert.equal(await ips("c"), "10.0.0.1");
    await admin.delete(SERVICES, { namespace: "default", name: "c" });
    await waitUntil("the second to be served", async () => await ips("b") === "10.0.0.1");
    await stop();
  }));

Deno.test("startServiceLb(): an old Service edited to a younger one's port takes it neither at once nor after a restart", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const message = async (name: string): Promise<string> =>
      (await service(name)).status?.conditions?.find(({ type }) => type === "k3slb.io/Served")?.message ?? "";
    let stop = startController();
    await admin.create(SERVICES, loadBalancer("old", 80));
    await waitUntil("the old one", async () => await ips("old") === "10.0.0.1");
    await admin.create(SERVICES, loadBalancer("young", 443));
    await waitUntil("the young one", async () => await ips("young") === "10.0.0.1");
    const ports = [{ name: "p443", port: 443, protocol: "TCP" }];
    await admin.patch(SERVICES, { namespace: "default", name: "old" }, { type: "merge", body: { spec: { ports } } });
    await waitUntil(
      "the old one to be told",
      async () => (await message("old")).includes("taken by Service default/young"),
    );
    await stop();
    stop = startController();
    await admin.patch(SERVICES, { namespace: "default", name: "young" }, {
      type: "merge",
      body: { metadata: { annotations: { "k3slb.io/ip-mode": "nonsense" } } },
    });
    await waitUntil("the new server to look at it", async () => (await message("young")).includes("ip-mode"));
    assert.equal(await ips("young"), "10.0.0.1");
    assert.match(await message("old"), /taken by Service default\/young/);
    await admin.delete(SERVICES, { namespace: "default", name: "young" });
    await waitUntil("the old one to have the free port", async () => await ips("old") === "10.0.0.1");
    await stop();
  }));

Deno.test("startServiceLb() collects DaemonSets without a Service, and only its own", () =>
  withCluster(1, async ({ admin, startController, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    await stop();
    const [own] = (await admin.list(DAEMON_SETS)).items;
    const { "k3slb.io/dataplane": _mark, ...labels } = own?.metadata?.labels ?? {};
    const selector = { matchLabels: { app: "k3s" } };
    const template = { metadata: { labels: { app: "k3s" } }, spec: { containers: [{ name: "x", image: "x" }] } };
    await admin.create(DAEMON_SETS, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "svclb-k3s", namespace: "kube-system", labels },
      spec: { selector, template },
    });
    await admin.patch(SERVICES, { namespace: "default", name: "web" }, {
      type: "merge",
      body: { metadata: { finalizers: null } },
    });
    await admin.delete(SERVICES, { namespace: "default", name: "web" });
    const stopAgain = startController();
    const names = async (): Promise<string> =>
      (await admin.list(DAEMON_SETS)).items.map(({ metadata }) => metadata?.name).join();
    await waitUntil("the orphan to go", async () => await names() === "svclb-k3s");
    await stopAgain();
  }));

Deno.test("removeServiceLb() takes back what was made, twice without harm", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    await stop();
    const options = {
      client: admin,
      namespace: "kube-system",
      logger: SILENT_LOGGER,
      signal: new AbortController().signal,
    };
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 1, services: 1 });
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 0, services: 0 });
    const { metadata, status } = await service("web");
    assert.deepEqual([metadata?.finalizers ?? [], status?.conditions ?? [], await ips("web")], [[], [], ""]);
  }));

Deno.test("startServiceLb() keeps what a wish said before it turned bad, over a restart, and says so once", () =>
  withCluster(2, async ({ admin, events, startController, service, ips }) => {
    const annotate = (annotations: Record<string, string | null>): Promise<Service> =>
      admin.patch(SERVICES, { namespace: "default", name: "web" }, {
        type: "merge",
        body: { metadata: { annotations } },
      });
    const recordOf = async (): Promise<string | undefined> =>
      (await service("web")).metadata?.annotations?.["k3slb.io/last-good"];
    const toleration = async (): Promise<unknown> =>
      (await admin.list(DAEMON_SETS)).items[0]?.spec?.template.spec?.tolerations?.at(-1);
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await annotate({ [TOLERATIONS]: "[{key: gpu, operator: Exists}]", [MATCH_ADDRESSES]: "10.0.0.0/24" });
    await waitUntil("addresses", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await annotate({ [TOLERATIONS]: "[{key: gpu, operator: Sometimes}]", [MATCH_ADDRESSES]: "10.0.0.0/24, web" });
    await waitUntil("the record", async () => (await recordOf())?.includes("gpu") ?? false);
    await waitUntil("the warning", () => events.some(({ type }) => type === "Warning"));
    await stop();
    const stopAgain = startController();
    await admin.patch(NODES, { name: "n2" }, { type: "merge", body: { metadata: { labels: { [EXCLUDED]: "" } } } });
    await waitUntil("the condition to name both", async () => {
      const message = (await service("web")).status?.conditions?.[0]?.message ?? "";
      return message.includes(TOLERATIONS) && message.includes(MATCH_ADDRESSES) && message.includes("stays in force");
    });
    assert.equal(await ips("web"), "10.0.0.1 10.0.0.2");
    assert.deepEqual(await toleration(), { key: "gpu", operator: "Exists" });
    const warnings = events.filter(({ type }) => type === "Warning").map(({ reason }) => reason);
    assert.deepEqual([...new Set(warnings)], ["SyncLoadBalancerFailed"]);
    assert.ok(warnings.length <= 2, "at most once for each server");
    await annotate({ [TOLERATIONS]: null, [MATCH_ADDRESSES]: null });
    await waitUntil("the record to go", async () => await recordOf() === undefined);
    await stopAgain();
  }));

const TOLERATIONS = "svccontroller.k3s.cattle.io/tolerations";
const MATCH_ADDRESSES = "k3slb.io/match-addresses";
const EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers";
