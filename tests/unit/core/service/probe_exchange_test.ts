// What is asked of agents and what they answer: what is written is what is read, nothing hostile is taken, and only a Service's own is connected to.
import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import type { Service } from "../../../../core/kube/types.ts";
import {
  agentTargets,
  MAX_PROBE_TARGETS,
  parseNodeProbe,
  parseProbeRequest,
  renderNodeProbe,
  renderProbeRequest,
  targetId,
} from "../../../../core/service/probe_exchange.ts";

const ID = "0d5c7d0e-3f5c-4b6e-9f0e-6f1c2b3a4d5e";

function service(ips: readonly string[], ports: readonly object[] = [{ port: 80 }]): Service {
  return {
    metadata: { namespace: "shop", name: "web" },
    spec: { type: "LoadBalancer", ports },
    status: { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } },
  } as Service;
}

Deno.test("parseProbeRequest() reads what was written, and nothing else", () => {
  deepEqual(parseProbeRequest(renderProbeRequest({ id: ID, service: "shop/web" })), { id: ID, service: "shop/web" });
  const wrong = [undefined, "", ID, `${ID} web`, `${ID} shop/web extra`, `${ID} shop/web\n`, `x${ID} shop/web`];
  for (const text of [...wrong, `${ID} ${"a".repeat(64)}/web`, `${ID} Shop/web`]) {
    equal(parseProbeRequest(text), undefined);
  }
});

Deno.test("agentTargets(): the Service's own addresses and ports, none that is no Service's, no names, bounded", () => {
  const ports = [{ port: 80 }, { port: 53, protocol: "UDP" }, { port: 9, protocol: "SCTP" }];
  deepEqual(agentTargets(service(["172.30.0.11", "2001:DB8::1"], ports)).map(targetId), [
    "172.30.0.11 80/TCP",
    "172.30.0.11 53/UDP",
    "2001:db8::1 80/TCP",
    "2001:db8::1 53/UDP",
  ]);
  deepEqual(
    agentTargets(
      service([
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.0.1",
        "::ffff:10.0.0.1",
        "no-ip",
        "169.254.169.254",
        "100.100.100.200",
      ]),
    ),
    [],
  );
  deepEqual(agentTargets({ ...service([]), status: { loadBalancer: { ingress: [{ hostname: "localhost" }] } } }), []);
  const many = service(
    Array.from({ length: 300 }, (_, index) => `10.0.${index % 200}.${index >> 3}`),
    Array.from({ length: 1000 }, (_, index) => ({ port: index + 1 })),
  );
  equal(agentTargets(many).length, MAX_PROBE_TARGETS);
});

Deno.test("parseNodeProbe() reads what renderNodeProbe() wrote, however much there is", () => {
  const outcomes = new Map([
    ["172.30.0.11 80/TCP", { state: "Connected" as const, latencyMs: 0.4 }],
    ["172.30.0.12 80/TCP", { state: "Failed" as const, detail: "EACCES" }],
    ["172.30.0.11 53/UDP", { state: "Silent" as const }],
  ]);
  deepEqual(parseNodeProbe(renderNodeProbe({ id: ID, outcomes })), { id: ID, outcomes });
  const all = agentTargets(service(
    Array.from(
      { length: MAX_PROBE_TARGETS },
      (_, index) => `2001:db8:1111:2222:3333:4444:5555:${(0x1000 + index).toString(16)}`,
    ),
    [{ port: 65_535 }],
  ));
  const full = new Map(all.map((target) => [targetId(target), { state: "Connected" as const, latencyMs: 1999.9 }]));
  equal(parseNodeProbe(renderNodeProbe({ id: ID, outcomes: full }))?.outcomes.size, MAX_PROBE_TARGETS);
});

Deno.test("parseNodeProbe() takes nothing of a text of which any part is not as it should be, and never throws", () => {
  const known = { version: 1, id: ID, results: [["172.30.0.11 80/TCP", "Connected", 0.4]] };
  ok(parseNodeProbe(JSON.stringify(known)));
  const broken = [
    { ...known, version: 2 },
    { ...known, id: 1 },
    { ...known, results: {} },
    { ...known, results: [["172.30.0.11 80/TCP", "Fine"]] },
    { ...known, results: [["172.30.0.11 80/TCP", "Failed", "\u001b[2J"]] },
    { ...known, results: [[1, "Connected"]] },
    { ...known, results: ["172.30.0.11"] },
    { ...known, results: Array(MAX_PROBE_TARGETS + 1).fill(known.results[0]) },
  ];
  for (const value of broken) equal(parseNodeProbe(JSON.stringify(value)), undefined, JSON.stringify(value));
  equal(parseNodeProbe(`${JSON.stringify(known)}${" ".repeat(32_768)}`), undefined);
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseNodeProbe(text)));
});
