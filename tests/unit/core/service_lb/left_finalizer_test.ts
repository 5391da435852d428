// A server that ends between its finalizer and its first condition leaves a Service that nothing else tells of; the next one takes the finalizer off
// a Service that is no load balancer of ours by then. The finalizer's name is that of upstream's controllers too: another's stays.
import { deepEqual } from "node:assert/strict";
import { SERVICES } from "../../../../core/kube/resources.ts";
import type { Service } from "../../../../core/kube/types.ts";
import { removeServiceLb } from "../../../../core/service_lb/groundwork/remove_service_lb.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { createInProcess, type InProcess } from "../../../support/memory_api/in_process.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";
import { loadBalancer, startQuietly } from "./controller_cluster.ts";

const FINALIZER = "service.kubernetes.io/load-balancer-cleanup";
const WRITERS = [
  { fieldManager: "k3slb", left: [] },
  { fieldManager: "cloud-controller-manager", left: [FINALIZER] },
];
const CHANGES: readonly { readonly name: string; readonly bodies: readonly Service[] }[] = [
  { name: "another type", bodies: [{ spec: { type: "ClusterIP" } }] },
  {
    name: "another class",
    bodies: [{ spec: { type: "ClusterIP" } }, { spec: { type: "LoadBalancer", loadBalancerClass: "example.com/x" } }],
  },
  { name: "an opt-out", bodies: [{ metadata: { annotations: { "k3slb.io/enabled": "false" } } }] },
];
const KEY = { namespace: "default", name: "web" };

/** A Service that has no more than a finalizer of `fieldManager`, and was changed by `bodies` since. */
async function leftService(
  { client, objects }: InProcess,
  { fieldManager, bodies }: { readonly fieldManager: string; readonly bodies: readonly Service[] },
): Promise<() => readonly string[]> {
  await client.create(SERVICES, loadBalancer("web", 80));
  const held = { metadata: { finalizers: [FINALIZER] } };
  await client.patch(SERVICES, KEY, { type: "merge", body: held }, { fieldManager });
  for (const body of bodies) {
    await client.patch(SERVICES, KEY, { type: "merge", body }, { fieldManager: "kubectl-edit" });
  }
  return () => objects(SERVICES).get("default/web")?.metadata?.finalizers ?? [];
}

for (const { fieldManager, left } of WRITERS) {
  for (const { name, bodies } of CHANGES) {
    Deno.test(`startServiceLb() finds a finalizer of ${fieldManager} on a Service with ${name}`, async () => {
      const clock = createFakeClock();
      const cluster = createInProcess({ now: () => new Date(clock.now()) });
      const finalizers = await leftService(cluster, { fieldManager, bodies });
      const end = new AbortController();
      const { done } = startQuietly({ client: cluster.client, clock, signal: end.signal });
      try {
        await clock.advance(10_000);
        deepEqual(finalizers(), left);
      } finally {
        end.abort();
        await done;
        cluster.stop();
      }
    });
  }

  Deno.test(`removeServiceLb() finds a finalizer of ${fieldManager} on a Service without a condition`, async () => {
    const cluster = createInProcess();
    const finalizers = await leftService(cluster, { fieldManager, bodies: [] });
    const { signal } = new AbortController();
    await removeServiceLb({ client: cluster.client, namespace: "kube-system", logger: SILENT_LOGGER, signal });
    deepEqual(finalizers(), left);
    cluster.stop();
  });
}
