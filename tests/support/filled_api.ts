// A cluster of many Services on many nodes, put into the in-memory API server as it would stand there, for what asks about it.
import { ok } from "node:assert/strict";
import {
  DATAPLANE_LABEL,
  FORWARDING_CONDITION,
  NODE_REPORT_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../core/service/labels.ts";
import { renderReport, type ServiceReport } from "../../core/service/node_report.ts";
import { portsText, serviceId } from "../../core/service/service_id.ts";
import type { Service } from "../../core/kube/types.ts";
import { daemonSetName } from "../../core/service_lb/daemonset/names.ts";
import type { MemoryApi } from "./memory_api/memory_api.ts";

/** How large it is. */
export interface FilledApiOptions {
  readonly services: number;
  readonly nodes: number;
  /** Whether agents have said that they serve; else pods wait for the scheduler's word on a port that is taken. */
  readonly served: boolean;
}

/** Puts Services `default/web0`, `default/web1` and so on into `api`, a DaemonSet, an EndpointSlice and a pod on each node for each. */
export function fillApi({ api }: MemoryApi, { services, nodes, served }: FilledApiOptions): void {
  const put = (plural: string, apiVersion: string, kind: string, object: object): void => {
    const [group = "", version = apiVersion] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
    const resource = api.resources.find(group, version, plural);
    ok(resource, plural);
    api.putRaw(resource, { apiVersion, kind, ...object } as unknown as Parameters<typeof api.putRaw>[1]);
  };
  const all = Array.from({ length: services }, (_, index) => serviceAt(index, served ? nodes : 0));
  const said = new Map(all.map((service): [string, ServiceReport] => [
    serviceId(service),
    { serves: true, ports: portsText(service) },
  ]));
  const report = renderReport({ instance: "one", services: said, cut: 0 });
  const lastHeartbeatTime = new Date().toISOString();
  const heartbeat = { type: FORWARDING_CONDITION, status: "True", message: "instance one", lastHeartbeatTime };
  for (let node = 0; node < nodes; node++) {
    put("nodes", "v1", "Node", {
      metadata: {
        name: `node${node}`,
        labels: { "kubernetes.io/os": "linux" },
        ...(served ? { annotations: { [NODE_REPORT_ANNOTATION]: report } } : {}),
      },
      status: {
        conditions: [{ type: "Ready", status: "True" }, ...(served ? [heartbeat] : [])],
        addresses: [{ type: "InternalIP", address: ipOf(node) }],
        // As kubelet lists them: half of what a Node object is.
        images: Array.from({ length: 50 }, (_, image) => ({
          names: [`registry.example.com/team/image-${image}@sha256:${"0".repeat(64)}`],
          sizeBytes: 1,
        })),
      },
    });
  }
  for (const [index, service] of all.entries()) {
    const name = service.metadata?.name ?? "";
    const app = daemonSetName(service);
    const labels = {
      [SERVICE_NAME_LABEL]: name,
      [SERVICE_NAMESPACE_LABEL]: "default",
      [DATAPLANE_LABEL]: "agent",
      app,
    };
    put("services", "v1", "Service", service);
    put("daemonsets", "apps/v1", "DaemonSet", {
      metadata: { namespace: "kube-system", name: app, labels, uid: `ds-${index}` },
      spec: {},
    });
    put("endpointslices", "discovery.k8s.io/v1", "EndpointSlice", {
      metadata: { namespace: "default", name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      ports: [{ name: "", port: 8080, protocol: "TCP" }],
      endpoints: [{ addresses: [`10.42.0.${index % 250}`], conditions: { ready: true }, nodeName: "node0" }],
    });
    for (let node = 0; node < nodes; node++) {
      put("pods", "v1", "Pod", {
        metadata: { namespace: "kube-system", name: `${app}-${node}`, labels },
        spec: { ...placed(node, served), containers: [{ name: "c", ports: [{ hostPort: 1_000 + index }] }] },
        status: { phase: "Pending", conditions: served ? [] : [UNSCHEDULED] },
      });
    }
  }
}

function serviceAt(index: number, addresses: number): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "default", name: `web${index}`, uid: `uid-${index}` },
    spec: { type: "LoadBalancer", ipFamilies: ["IPv4"], ports: [{ port: 1_000 + index, protocol: "TCP" }] },
    status: { loadBalancer: { ingress: Array.from({ length: addresses }, (_, node) => ({ ip: ipOf(node) })) } },
  };
}

/** Bound, or meant for a node that has no room. */
function placed(node: number, served: boolean): object {
  if (served) return { nodeName: `node${node}` };
  const matchFields = [{ key: "metadata.name", operator: "In", values: [`node${node}`] }];
  return {
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } },
    },
  };
}

function ipOf(node: number): string {
  return `10.0.0.${node + 1}`;
}

const UNSCHEDULED = {
  type: "PodScheduled",
  status: "False",
  message: "0/20 nodes are available: 1 node(s) didn't have free ports for the requested pod ports",
};
