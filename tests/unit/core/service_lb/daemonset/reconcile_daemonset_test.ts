// A DaemonSet that another program writes too: its turns and ours, and what is said about it.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { DaemonSet } from "../../../../../core/kube/types.ts";
import { reconcileDaemonSet } from "../../../../../core/service_lb/daemonset/reconcile_daemonset.ts";
import { desiredService } from "../../../../../core/service_lb/desired_service.ts";
import type { ServiceMemory } from "../../../../../core/service_lb/reconcile_context.ts";
import { reconcileWorld } from "../reconcile_world.ts";
import { node, service } from "../fixtures.ts";

for (
  const { rivals, want } of [
    { rivals: ["k3s"], want: /also written by "k3s", again and again; .*--disable=servicelb/ },
    { rivals: ["flux", "kubectl-edit"], want: /also written by "flux" and "kubectl-edit"/ },
    { rivals: [], want: /also written by another program/ },
  ]
) {
  Deno.test(`reconcileDaemonSet() names who writes its DaemonSet too: ${rivals.join(", ") || "nobody known"}`, async () => {
    const world = reconcileWorld();
    const web = service();
    const memory: ServiceMemory = {};
    const one = node("a", { internal: ["10.0.0.1"] });
    const desired = desiredService(web, {
      ...world.context.options,
      facts: {
        nodes: new Map([["a", one]]),
        allowList: false,
        pods: [],
        slices: [],
        conflicts: new Map(),
        silentNodes: new Set(),
      },
    });
    const sync = () =>
      reconcileDaemonSet(world.context, { service: web, daemonSets: world.daemonSets.values(), memory, desired });
    const edit = (): void => {
      for (const daemonSet of world.daemonSets.values()) {
        const managedFields = [
          { manager: "k3slb", operation: "Apply" },
          { manager: "kube-controller-manager", operation: "Update", subresource: "status" },
          ...rivals.map((manager) => ({ manager, operation: "Update" })),
        ];
        const labels = { ...daemonSet.metadata?.labels, "k3slb.io/dataplane": "other" };
        world.daemonSets.put({ ...daemonSet, metadata: { ...daemonSet.metadata, labels, managedFields } } as DaemonSet);
      }
    };
    await sync();
    edit();
    deepEqual(await sync(), { refused: undefined, contested: undefined, delayMs: undefined }, "one edit is no fight");
    edit();
    const waiting = await sync();
    equal(waiting.delayMs, 2_000);
    equal(world.writes.length, 2);
    world.clockMs += 2_000;
    const { contested, delayMs } = await sync();
    equal(world.writes.length, 3);
    equal(contested?.reason, "DaemonSetContested");
    match(contested?.message ?? "", want);
    ok((contested?.message.length ?? 0) < 200, contested?.message);
    ok(delayMs !== undefined);
    world.clockMs += delayMs;
    deepEqual(await sync(), { refused: undefined, contested: undefined, delayMs: undefined }, "it is over");
  });
}
