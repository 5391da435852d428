// K3s's own rule for external and internal addresses.
import { deepEqual, equal, match } from "node:assert/strict";
import type { Node, Service } from "../../../../../core/kube/types.ts";
import { type DesiredService, desiredService } from "../../../../../core/service_lb/desired_service.ts";
import { node, pod, service, SERVICE_OPTIONS } from "../fixtures.ts";

function desired(given: Service, nodes: readonly Node[]): DesiredService {
  return desiredService(given, {
    ...SERVICE_OPTIONS,
    statusAddresses: "k3s",
    facts: {
      nodes: new Map(nodes.map((each) => [each.metadata?.name ?? "", each])),
      allowList: false,
      pods: nodes.map((each) => pod(given, each.metadata?.name ?? "")),
      slices: [],
      conflicts: new Map(),
      silentNodes: new Set(),
    },
  });
}

const A = node("a", { internal: ["10.0.0.1", "fd00::1"], external: ["2001:db8::1"] });
const B = node("b", { internal: ["10.0.0.2", "fd00::2"] });

Deno.test("desiredService() lets one external address hide all internal ones, of both families, by K3s's rule", () => {
  const dual = service({ spec: { ipFamilies: ["IPv6", "IPv4"] } });
  deepEqual(desired(dual, [A, B]).ingress.map(({ ip }) => ip), ["2001:db8::1"]);
  deepEqual(desired(dual, [B]).ingress.map(({ ip }) => ip), ["fd00::2", "10.0.0.2"]);
});

Deno.test("desiredService() says what hides the addresses where K3s's rule leaves none", () => {
  const { ingress, summary } = desired(service(), [A, B]);
  deepEqual(ingress, []);
  equal(summary.reason, "NoAddress");
  match(summary.message, /a, b: an external address of another family hides its own \(--status-addresses k3s\)/);
});
