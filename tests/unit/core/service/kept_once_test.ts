// What most objects say alike is kept once for all of them: an agent has hundreds, on hosts with little memory.
import assert from "node:assert/strict";
import type { EndpointSlice, Service } from "../../../../core/kube/types.ts";
import { ENABLED_ANNOTATION } from "../../../../core/service/labels.ts";
import { readService } from "../../../../core/service/reading.ts";
import { trimEndpointSlice } from "../../../../core/service/trim.ts";

function service(name: string, annotations: Readonly<Record<string, string>> = {}): Service {
  return {
    metadata: { namespace: "demo", name, annotations },
    spec: { type: "LoadBalancer", ports: [{ port: 80 }] },
  };
}

Deno.test("readService keeps one record of nothing wished for all Services that wish nothing", () => {
  const [one, other] = [readService(service("one")), readService(service("other"))];
  assert.equal(one.inForce, other.inForce);
  assert.equal(one.inForce.get(ENABLED_ANNOTATION), "");
  const wishing = readService(service("wishing", { [ENABLED_ANNOTATION]: "false" }));
  assert.equal(wishing.inForce.get(ENABLED_ANNOTATION), "false");
  assert.deepEqual([...wishing.inForce.keys()], [...one.inForce.keys()]);
});

Deno.test("trimEndpointSlice keeps one word for all ready endpoints, and no identity of the slice", () => {
  const slice: EndpointSlice = {
    metadata: {
      namespace: "demo",
      name: "one-abc",
      uid: "1",
      resourceVersion: "7",
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { "kubernetes.io/service-name": "one", "app": "one" },
    },
    addressType: "IPv4",
    endpoints: [
      { addresses: ["10.0.0.1"], conditions: { ready: true, serving: true, terminating: false } },
      { addresses: ["10.0.0.2"], conditions: { ready: true } },
      { addresses: ["10.0.0.3"], conditions: { ready: false, serving: true, terminating: true } },
    ],
  };
  const { metadata, endpoints = [] } = trimEndpointSlice(slice);
  assert.deepEqual(metadata, {
    namespace: "demo",
    name: "one-abc",
    resourceVersion: "7",
    labels: { "kubernetes.io/service-name": "one" },
  });
  assert.equal(endpoints?.[0]?.conditions, endpoints?.[1]?.conditions);
  assert.deepEqual(endpoints?.[0]?.conditions, { ready: true });
  assert.deepEqual(endpoints?.[2]?.conditions, { ready: false, serving: true, terminating: true });
});
