// Kubernetes objects for tests of the agent, with as little in them as the tests are about.
import type { EndpointSlice, Node, Pod, Service } from "../../../core/kube/types.ts";
import { PROGRAMMED_CONDITION, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../../core/service/labels.ts";

type ServiceSpec = NonNullable<Service["spec"]>;
type ServicePort = NonNullable<ServiceSpec["ports"]>[number];
type Endpoint = EndpointSlice["endpoints"][number];

export const NODE = "node-1";

/** A Service of type LoadBalancer in namespace `default` with port 80. */
export function service(
  name: string,
  options: { spec?: Partial<ServiceSpec>; annotations?: Record<string, string>; created?: string } = {},
): Service {
  return {
    metadata: {
      name,
      namespace: "default",
      uid: `uid-${name}`,
      annotations: options.annotations ?? {},
      creationTimestamp: options.created ?? "2026-01-01T00:00:00Z",
    },
    spec: {
      type: "LoadBalancer",
      ipFamilies: ["IPv4"],
      ports: [{ port: 80, protocol: "TCP" }],
      ...options.spec,
    },
  };
}

/** A Service port. */
export function port(number: number, more: Partial<ServicePort> = {}): ServicePort {
  return { port: number, protocol: "TCP", ...more };
}

/** Host ports that pods here hold unless told otherwise: all that tests ask for. */
const HELD_PORTS = [22, 53, 80, 81, 82, 132, 443, 10255].flatMap((port) =>
  ["TCP", "UDP", "SCTP"].map((protocol) => ({ containerPort: port, hostPort: port, protocol }))
);

/** A pod of the Service's load balancer, bound to {@linkcode NODE}, with our gate. */
export function pod(
  serviceName: string,
  change: { name?: string; gated?: boolean; nodeName?: string; hostPorts?: readonly number[] } = {},
): Pod {
  const ports = change.hostPorts?.map((port) => ({ containerPort: port, hostPort: port })) ?? HELD_PORTS;
  return {
    metadata: {
      name: change.name ?? `svclb-${serviceName}-x`,
      namespace: "kube-system",
      uid: `uid-${change.name ?? serviceName}`,
      labels: { [SERVICE_NAME_LABEL]: serviceName, [SERVICE_NAMESPACE_LABEL]: "default" },
      ownerReferences: [{
        apiVersion: "apps/v1",
        kind: "DaemonSet",
        name: `svclb-${serviceName}`,
        uid: "ds",
        controller: true,
      }],
    },
    spec: {
      containers: [{ name: "placeholder", image: "pause", ports }],
      nodeName: change.nodeName ?? NODE,
      ...(change.gated === false ? {} : { readinessGates: [{ conditionType: PROGRAMMED_CONDITION }] }),
    },
    status: { phase: "Pending" },
  };
}

/** An EndpointSlice of a Service with one unnamed port. */
export function slice(
  serviceName: string,
  endpoints: readonly Endpoint[],
  more: { name?: string; ports?: EndpointSlice["ports"]; addressType?: string } = {},
): EndpointSlice {
  return {
    metadata: {
      name: more.name ?? `${serviceName}-abc`,
      namespace: "default",
      labels: { "kubernetes.io/service-name": serviceName },
    },
    addressType: more.addressType ?? "IPv4",
    ports: more.ports ?? [{ port: 8080, protocol: "TCP" }],
    endpoints: [...endpoints],
  };
}

/** A ready endpoint. */
export function endpoint(
  ip: string,
  nodeName: string = NODE,
  conditions: Endpoint["conditions"] = { ready: true },
): Endpoint {
  return { addresses: [ip], nodeName, conditions };
}

/** The agent's own Node. */
export function node(): Node {
  return {
    metadata: { name: NODE, labels: { "kubernetes.io/os": "linux" } },
    spec: { podCIDRs: ["10.42.1.0/24"] },
    status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }], conditions: [] },
  };
}
