// How many requests an answer costs.
import { deepEqual, equal, ok } from "node:assert/strict";
import { createKubeClient } from "../../../../../core/kube/client.ts";
import { SYSTEM_CLOCK } from "../../../../../core/runtime/clock.ts";
import { Answers } from "../../../../../core/service_lb/answers/explain_service.ts";
import { readObstacles, readSnapshot } from "../../../../../core/service_lb/answers/read_snapshot.ts";
import { fillApi, type FilledApiOptions } from "../../../../support/filled_api.ts";
import { startMemoryApi } from "../../../../support/memory_api/memory_api.ts";
import { SERVICE_OPTIONS } from "../fixtures.ts";
import { parseKubeconfigText } from "../kubeconfig_text.ts";

async function requestsFor(size: FilledApiOptions): Promise<Readonly<Record<string, number>>> {
  const api = await startMemoryApi({ controllers: [] });
  const access = await parseKubeconfigText(await api.kubeconfig("admin"));
  const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
  try {
    fillApi(api, size);
    const service = api.store.get("services", "default/web1");
    ok(service);
    const asked = { ...service } as Parameters<Answers["about"]>[0];
    const options = { client, namespace: "kube-system", signal: AbortSignal.timeout(30_000) };
    const snapshot = await readSnapshot({ ...options, service: asked, nowMs: Date.now() });
    const answers = new Answers(snapshot, { ...SERVICE_OPTIONS, lbClass: "k3slb.io/x", lbDefault: true });
    await readObstacles(answers, [asked], { ...options, clock: SYSTEM_CLOCK });
    const { nodes } = answers.about(asked);
    equal(nodes.length, size.nodes);
    equal(nodes.every(({ serves }) => serves), size.served);
    return Object.fromEntries(api.requests.list().map(({ verb, resource, count }) => [`${verb} ${resource}`, count]));
  } finally {
    client.close();
    await api.stop();
  }
}

const ONCE = { "list services": 2, "list nodes": 1, "list pods": 1, "list daemonsets": 1, "list endpointslices": 1 };

Deno.test("readSnapshot: an answer about one Service costs one request for each kind, however many Services and pods there are", async () => {
  for (const [services, nodes] of [[3, 2], [300, 20]] as const) {
    deepEqual(await requestsFor({ services, nodes, served: true }), ONCE);
  }
});

Deno.test("readObstacles: where a port is taken, one request more for each node, and for 16 at most", async () => {
  deepEqual(await requestsFor({ services: 2, nodes: 3, served: false }), { ...ONCE, "list pods": 4 });
  deepEqual(await requestsFor({ services: 2, nodes: 40, served: false }), { ...ONCE, "list pods": 17 });
});
