// How many requests an answer costs.
import { deepEqual, equal, ok } from "node:assert/strict";
import { createKubeClient } from "../../../../../core/kube/client.ts";
import { SYSTEM_CLOCK } from "../../../../../core/runtime/clock.ts";
import { DATAPLANE_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../../../../core/service/labels.ts";
import { Answers } from "../../../../../core/service_lb/answers/explain_service.ts";
import { readSnapshot } from "../../../../../core/service_lb/answers/read_snapshot.ts";
import { type MemoryApi, startMemoryApi } from "../../../../support/memory_api/memory_api.ts";
import { SERVICE_OPTIONS } from "../fixtures.ts";
import { parseKubeconfigText } from "../kubeconfig_text.ts";

/** Puts `services` Services on `nodes` nodes, a pod on each. */
function fill({ api }: MemoryApi, services: number, nodes: number): void {
  const put = (plural: string, kind: string, object: object): void => {
    const resource = api.resources.find(plural === "daemonsets" ? "apps" : "", "v1", plural);
    ok(resource);
    const apiVersion = plural === "daemonsets" ? "apps/v1" : "v1";
    api.putRaw(resource, { apiVersion, kind, ...object } as unknown as Parameters<typeof api.putRaw>[1]);
  };
  for (let node = 0; node < nodes; node++) {
    put("nodes", "Node", {
      metadata: { name: `node${node}`, labels: { "kubernetes.io/os": "linux" } },
      status: {
        conditions: [{ type: "Ready", status: "True" }],
        addresses: [{ type: "InternalIP", address: `10.0.0.${node + 1}` }],
      },
    });
  }
  for (let index = 0; index < services; index++) {
    const labels = {
      [SERVICE_NAME_LABEL]: `web${index}`,
      [SERVICE_NAMESPACE_LABEL]: "default",
      [DATAPLANE_LABEL]: "agent",
    };
    put("services", "Service", {
      metadata: { namespace: "default", name: `web${index}`, uid: `uid-${index}` },
      spec: { type: "LoadBalancer", ipFamilies: ["IPv4"], ports: [{ port: 1000 + index, protocol: "TCP" }] },
      status: { loadBalancer: {} },
    });
    put("daemonsets", "DaemonSet", {
      metadata: { namespace: "kube-system", name: `svclb-web${index}`, labels },
      spec: {},
    });
    for (let node = 0; node < nodes; node++) {
      put("pods", "Pod", {
        metadata: { namespace: "kube-system", name: `svclb-web${index}-${node}`, labels },
        spec: { nodeName: `node${node}`, containers: [] },
        status: { phase: "Pending" },
      });
    }
  }
}

async function requestsFor(services: number, nodes: number): Promise<Readonly<Record<string, number>>> {
  const api = await startMemoryApi({ controllers: [] });
  const access = await parseKubeconfigText(await api.kubeconfig("admin"));
  const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
  try {
    fill(api, services, nodes);
    const service = api.store.get("services", "default/web1");
    ok(service);
    const asked = { ...service } as Parameters<Answers["about"]>[0];
    const snapshot = await readSnapshot({
      client,
      namespace: "kube-system",
      service: asked,
      nowMs: Date.now(),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = new Answers(snapshot, { ...SERVICE_OPTIONS, lbClass: "k3slb.io/x", lbDefault: true }).about(asked);
    equal(answer.nodes.length, nodes);
    return Object.fromEntries(api.requests.list().map(({ verb, resource, count }) => [`${verb} ${resource}`, count]));
  } finally {
    client.close();
    await api.stop();
  }
}

Deno.test("readSnapshot: an answer about one Service costs one request for each kind, however many Services and pods there are", async () => {
  for (const [services, nodes] of [[3, 2], [300, 20]] as const) {
    deepEqual(await requestsFor(services, nodes), {
      "list services": 2,
      "list nodes": 1,
      "list pods": 1,
      "list daemonsets": 1,
      "list endpointslices": 1,
    });
  }
});
