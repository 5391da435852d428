// Conformance requests: Services, their defaults and status.
import { CORE, type Step } from "./conformance_step.ts";

function service(name: string, spec: Record<string, unknown>): unknown {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec };
}

const RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges";

function annotated(name: string, ranges: string, type = "LoadBalancer"): unknown {
  const made = service(name, { type, ports: [{ port: 80 }] }) as { metadata: object };
  return { ...made, metadata: { ...made.metadata, annotations: { [RANGES]: ranges } } };
}

const PORTS = [{ name: "http", port: 80 }, { name: "https", port: 443, targetPort: "tls" }];

/** Services. */
export const SERVICES: readonly Step[] = [
  {
    name: "Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("plain", { selector: { app: "x" }, ports: PORTS }),
  },
  {
    name: "LoadBalancer Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("lb", { type: "LoadBalancer", selector: { app: "x" }, ports: PORTS }),
  },
  {
    name: "LoadBalancer Service, Local",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("local", {
      type: "LoadBalancer",
      externalTrafficPolicy: "Local",
      loadBalancerClass: "example.com/x",
      ports: [{ port: 53, protocol: "UDP" }],
    }),
  },
  {
    name: "LoadBalancer Service without node ports",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("bare", { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ports: [{ port: 80 }] }),
  },
  {
    name: "headless Service with affinity",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("headless", { clusterIP: "None", ports: [{ port: 80 }] }),
  },
  {
    name: "dual-stack Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("dual", { ipFamilyPolicy: "PreferDualStack", sessionAffinity: "ClientIP", ports: [{ port: 80 }] }),
  },
  {
    name: "external name Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("external", { type: "ExternalName", externalName: "example.com" }),
  },
  {
    name: "Service with a port twice",
    method: "POST",
    path: `${CORE}/services`,
    body: service("twice", { ports: [{ name: "a", port: 80 }, { name: "b", port: 80 }] }),
  },
  {
    name: "Service with ports that lack names",
    method: "POST",
    path: `${CORE}/services`,
    body: service("unnamed", { ports: [{ port: 80 }, { port: 81 }] }),
  },
  {
    name: "Service without ports",
    method: "POST",
    path: `${CORE}/services`,
    body: service("portless", { selector: { app: "x" } }),
  },
  {
    name: "Service with a bad port",
    method: "POST",
    path: `${CORE}/services`,
    body: service("bad", { ports: [{ port: 70000 }] }),
  },
  {
    name: "Service with a bad name",
    method: "POST",
    path: `${CORE}/services`,
    body: service("a.b", { ports: [{ port: 80 }] }),
  },
  {
    name: "LoadBalancer Service with a source range annotation that is none",
    method: "POST",
    path: `${CORE}/services`,
    body: annotated("ranged-a", "10.0.0.0/8,nonsense"),
  },
  {
    name: "LoadBalancer Service with a source range annotation without an end",
    method: "POST",
    path: `${CORE}/services`,
    body: annotated("ranged-b", "10.0.0.1"),
  },
  {
    name: "LoadBalancer Service with an empty source range annotation",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: annotated("ranged-c", " "),
  },
  {
    name: "LoadBalancer Service with a source range annotation",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: annotated("ranged-d", " 10.0.0.0/8, fd00::/8 "),
  },
  {
    name: "LoadBalancer Service with source ranges that are none",
    method: "POST",
    path: `${CORE}/services`,
    body: service("ranged-e", {
      type: "LoadBalancer",
      ports: [{ port: 80 }],
      loadBalancerSourceRanges: ["10.0.0.0/8", "10.0.0.1", ""],
    }),
  },
  {
    name: "Service of another type with a source range annotation that is none",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: annotated("ranged-f", "nonsense", "ClusterIP"),
  },
  {
    name: "source range annotation that becomes none",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/ranged-d?fieldManager=maker`,
    body: { metadata: { annotations: { [RANGES]: "10.0.0.0/99" } } },
  },
  {
    name: "status without ipMode",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb/status?fieldManager=k3slb`,
    body: { status: { loadBalancer: { ingress: [{ ip: "198.51.100.1" }] } } },
  },
  {
    name: "status with a condition",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb/status?fieldManager=k3slb`,
    body: {
      status: {
        conditions: [{
          type: "k3slb.io/Served",
          status: "True",
          reason: "Served",
          message: "ok",
          lastTransitionTime: "2026-01-01T00:00:00Z",
        }],
      },
    },
  },
  {
    name: "status applied",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/services/lb/status?fieldManager=k3slb&force=true`,
    body: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "lb" },
      status: { loadBalancer: { ingress: [{ ip: "198.51.100.2", ipMode: "Proxy" }] } },
    },
  },
  {
    name: "status through the main resource",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { status: { loadBalancer: { ingress: [{ ip: "198.51.100.9" }] } } },
  },
  {
    name: "finalizer by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=k3slb`,
    body: { metadata: { finalizers: ["service.kubernetes.io/load-balancer-cleanup"] } },
  },
  {
    name: "second finalizer by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=k3slb`,
    body: { metadata: { finalizers: ["example.com/second"] } },
  },
  {
    name: "port added by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { spec: { ports: [{ name: "more", port: 81 }] } },
  },
  {
    name: "type changed to ClusterIP",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { spec: { type: "ClusterIP" } },
  },
  {
    name: "Services of type LoadBalancer",
    method: "GET",
    path: `${CORE}/services?fieldSelector=spec.type%3DLoadBalancer`,
  },
  { name: "delete of a Service with finalizers", method: "DELETE", path: `${CORE}/services/lb` },
  { name: "delete of a Service", method: "DELETE", path: `${CORE}/services/plain` },
];
