import assert from "node:assert/strict";
import type { Service } from "../../../../../core/kube/types.ts";
import { SERVED_CONDITION } from "../../../../../core/service/labels.ts";
import { countServices } from "../../../../../core/service_lb/status/service_counts.ts";

function service(name: string, status?: string, reason?: string, spec: object = {}): Service {
  return {
    metadata: { namespace: "default", name },
    spec: { type: "LoadBalancer", ...spec },
    ...(status === undefined ? {} : { status: { conditions: [{ type: SERVED_CONDITION, status, reason }] } }),
  } as Service;
}

Deno.test("countServices: ours by what is said of them", () => {
  const services = [
    service("a", "True", "Served"),
    service("b", "True", "Served"),
    service("c", "True", "PartlyServed"),
    service("d", "False", "PortTaken"),
    service("new"),
    service("other", "True", "Served", { loadBalancerClass: "example.com/other" }),
  ];
  assert.deepEqual(countServices(services, { lbClass: "k3slb.io/k3slb", lbDefault: true }), [
    { served: "true", reason: "Served", count: 2 },
    { served: "true", reason: "PartlyServed", count: 1 },
    { served: "false", reason: "PortTaken", count: 1 },
    { served: "unknown", reason: "", count: 1 },
  ]);
});
