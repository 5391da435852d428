// What keeps Traefik out of a cluster.
import assert from "node:assert/strict";
import type { Service } from "../../../../core/kube/types.ts";
import { type IngressFacts, otherIngress } from "../../../../core/packaged/other_ingress.ts";

const CLAIM = { lbClass: "k3slb.io/node", lbDefault: true };
const OF_TRAEFIK = { "meta.helm.sh/release-name": "traefik", "meta.helm.sh/release-namespace": "kube-system" };
const NODE = { metadata: { name: "a" }, status: { addresses: [{ type: "InternalIP", address: "10.0.0.1" }] } };

function service(more: Partial<Service>, port = 80, protocol = "TCP"): Service {
  return {
    metadata: { name: "web", namespace: "shop", ...more.metadata },
    spec: { type: "LoadBalancer", ports: [{ port, protocol }], ...more.spec },
    ...(more.status === undefined ? {} : { status: more.status }),
  };
}

const CASES: readonly { readonly name: string; readonly given: Partial<IngressFacts>; readonly want?: RegExp }[] = [
  { name: "nothing is there", given: {} },
  {
    name: "an IngressClass",
    given: { ingressClasses: [{ metadata: { name: "nginx" }, spec: { controller: "k8s.io/ingress-nginx" } }] },
    want: /^IngressClass nginx, controller k8s\.io\/ingress-nginx$/,
  },
  {
    name: "the IngressClass of its own release",
    given: { ingressClasses: [{ metadata: { name: "traefik", annotations: OF_TRAEFIK } }] },
  },
  {
    name: "the IngressClass of another Traefik",
    given: {
      ingressClasses: [{
        metadata: { name: "traefik", annotations: { ...OF_TRAEFIK, "meta.helm.sh/release-namespace": "traefik" } },
      }],
    },
    want: /^IngressClass traefik/,
  },
  {
    name: "a Service that is served",
    given: { services: [service({})] },
    want: /^Service shop\/web has port 80 of the nodes$/,
  },
  { name: "port 443", given: { services: [service({}, 443)] }, want: /port 443/ },
  { name: "another port", given: { services: [service({}, 8080)] } },
  { name: "UDP", given: { services: [service({}, 443, "UDP")] } },
  { name: "the Service of its own release", given: { services: [service({ metadata: { annotations: OF_TRAEFIK } })] } },
  {
    name: "a Service of another class",
    given: { services: [service({ spec: { loadBalancerClass: "example.com/lb" } })] },
  },
  {
    name: "a Service of a class that others serve elsewhere",
    given: {
      services: [service({
        spec: { loadBalancerClass: "example.com/lb" },
        status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } },
      })],
    },
  },
  {
    name: "a Service that others serve on a node",
    given: {
      services: [service({
        spec: { loadBalancerClass: "example.com/lb" },
        status: { loadBalancer: { ingress: [{ ip: "10.0.0.1" }] } },
      })],
    },
    want: /shop\/web/,
  },
  {
    name: "external addresses of a node",
    given: { services: [service({ spec: { type: "ClusterIP", externalIPs: ["10.0.0.1"] } })] },
    want: /shop\/web/,
  },
  { name: "a Service that nobody serves", given: { services: [service({ spec: { type: "ClusterIP" } })] } },
];

for (const { name, given, want } of CASES) {
  Deno.test(`otherIngress: ${name}`, () => {
    const found = otherIngress({ ingressClasses: [], services: [], nodes: [NODE], claim: CLAIM, ...given });
    if (want === undefined) assert.equal(found, undefined);
    else assert.match(found ?? "", want);
  });
}

Deno.test("otherIngress: without the load balancer only what has a node's address counts", () => {
  assert.equal(otherIngress({ ingressClasses: [], services: [service({})], nodes: [NODE] }), undefined);
});
