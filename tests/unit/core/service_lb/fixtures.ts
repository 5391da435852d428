// Objects and options for the load balancer's tests, deeply frozen: a pure function that changes its input throws.
import { frozen } from "../../../support/frozen.ts";
import type { EndpointSlice, Node, Pod, Service } from "../../../../core/kube/types.ts";
import type { DesiredServiceOptions } from "../../../../core/service_lb/desired_service.ts";
import { NODE_REPORT_ANNOTATION } from "../../../../core/service/labels.ts";
import { renderReport, type ServiceReport } from "../../../../core/service/node_report.ts";
import { portsText, serviceId } from "../../../../core/service/service_id.ts";
import { daemonSetName } from "../../../../core/service_lb/daemonset/names.ts";

/** K3s's defaults, data plane `agent`. */
export const SERVICE_OPTIONS: DesiredServiceOptions = Object.freeze({
  dataplane: "agent",
  servicelbNamespace: "kube-system",
  lbImage: "rancher/klipper-lb:v0.4.9",
  pauseImage: "rancher/mirrored-pause:3.6",
  systemDefaultRegistry: "",
  statusAddresses: "cluster",
  honorExcludeLabel: false,
  serviceRanges: [],
});

/** What a test says of a Service. */
export interface ServiceSketch {
  readonly name?: string;
  readonly created?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Partial<NonNullable<Service["spec"]>>;
}

/** A LoadBalancer Service `default/web` with port 80/TCP and one IPv4 address. */
export function service(sketch: ServiceSketch = {}): Service {
  const name = sketch.name ?? "web";
  return frozen({
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace: "default",
      uid: `${hex(name)}-0000-4000-8000-000000000000`,
      resourceVersion: "1",
      creationTimestamp: sketch.created ?? "2026-01-01T00:00:00Z",
      labels: { ...sketch.labels },
      annotations: { ...sketch.annotations },
    },
    spec: {
      type: "LoadBalancer",
      clusterIP: "10.43.0.9",
      clusterIPs: ["10.43.0.9"],
      ipFamilies: ["IPv4"],
      externalTrafficPolicy: "Cluster",
      ports: [{ port: 80, protocol: "TCP", nodePort: 30080 }],
      ...sketch.spec,
    },
  });
}

/** What a test says of a Node. */
export interface NodeSketch {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly internal?: readonly string[];
  readonly external?: readonly string[];
  readonly podCidrs?: readonly string[];
  readonly ready?: boolean;
  readonly agent?: boolean;
  readonly taints?: NonNullable<NonNullable<Node["spec"]>["taints"]>;
}

/** A Linux node that is Ready and has an agent. */
export function node(name: string, sketch: NodeSketch = {}): Node {
  const conditions = [{ type: "Ready", status: sketch.ready === false ? "False" : "True" }];
  if (sketch.agent !== false) conditions.push({ type: "k3slb.io/Forwarding", status: "True" });
  return frozen({
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: { "kubernetes.io/os": "linux", ...sketch.labels },
      annotations: { ...sketch.annotations },
    },
    spec: {
      ...(sketch.taints === undefined ? {} : { taints: sketch.taints }),
      ...(sketch.podCidrs === undefined ? {} : { podCIDRs: [...sketch.podCidrs] }),
    },
    status: {
      addresses: [
        ...(sketch.internal ?? []).map((address) => ({ type: "InternalIP", address })),
        ...(sketch.external ?? []).map((address) => ({ type: "ExternalIP", address })),
      ],
      conditions,
    },
  });
}

/** What a test lets an agent say of Services. */
export interface ReportSketch {
  readonly serves?: readonly Service[];
  readonly at?: readonly string[];
  readonly note?: string;
  readonly refuses?: readonly { readonly service: Service; readonly reason: string; readonly message: string }[];
  readonly cut?: number;
  /** The run of the agent that wrote it, if that is not the one that signs the heartbeat. */
  readonly instance?: string;
  /** Where the agent reads what the server publishes. */
  readonly namespace?: string;
}

/** The text of a report. */
export function reportText(sketch: ReportSketch): string {
  const served = (sketch.serves ?? []).map((each): [string, ServiceReport] => [serviceId(each), {
    ports: portsText(each),
    serves: true,
    ...(sketch.at === undefined ? {} : { servedAddresses: sketch.at }),
    ...(sketch.note === undefined ? {} : { note: sketch.note }),
  }]);
  const refused = (sketch.refuses ?? []).map(({ service: each, reason, message }): [string, ServiceReport] => [
    serviceId(each),
    { ports: portsText(each), serves: false, reason, message },
  ]);
  const services = new Map([...served, ...refused]);
  const { instance = "one", namespace, cut = 0 } = sketch;
  return renderReport({ instance, ...(namespace === undefined ? {} : { namespace }), services, cut });
}

/** `bare` with an agent that decides by itself and says this. */
export function reporting(bare: Node, sketch: ReportSketch): Node {
  const { conditions = [] } = bare.status ?? {};
  return frozen({
    ...bare,
    metadata: {
      ...bare.metadata,
      annotations: { ...bare.metadata?.annotations, [NODE_REPORT_ANNOTATION]: reportText(sketch) },
    },
    status: {
      ...bare.status,
      conditions: conditions.map((each) =>
        each.type === "k3slb.io/Forwarding" ? { ...each, message: "agent 1.2.3, nft, instance one" } : each
      ),
    },
  });
}

/** What a test says of a pod. */
export interface PodSketch {
  readonly dataplane?: "agent" | "pods";
  readonly scheduled?: boolean;
  /** The scheduler's words. */
  readonly unschedulable?: string;
  readonly programmed?: "True" | "False";
  readonly gate?: { readonly reason: string; readonly message: string };
  readonly ready?: boolean;
  readonly phase?: string;
  readonly ending?: boolean;
  readonly app?: string;
  /** Addresses at which the agent says that it serves. */
  readonly served?: string;
}

/** A pod of `of`'s DaemonSet on `nodeName`; programmed and Ready unless told otherwise. */
export function pod(of: Service, nodeName: string, sketch: PodSketch = {}): Pod {
  const app = sketch.app ?? daemonSetName(of);
  const conditions: NonNullable<NonNullable<Pod["status"]>["conditions"]> = [];
  if (sketch.unschedulable !== undefined) {
    conditions.push({ type: "PodScheduled", status: "False", reason: "Unschedulable", message: sketch.unschedulable });
  }
  const programmed = sketch.gate === undefined ? sketch.programmed ?? "True" : "False";
  if (sketch.scheduled !== false) {
    conditions.push({ type: "k3slb.io/Programmed", status: programmed, ...sketch.gate });
    conditions.push({ type: "Ready", status: sketch.ready === false ? "False" : "True" });
  }
  const matchFields = [{ key: "metadata.name", operator: "In", values: [nodeName] }];
  return frozen({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${app}-${nodeName}`,
      namespace: "kube-system",
      labels: {
        app,
        "svccontroller.k3s.cattle.io/svcname": of.metadata?.name ?? "",
        "svccontroller.k3s.cattle.io/svcnamespace": of.metadata?.namespace ?? "",
        "k3slb.io/dataplane": sketch.dataplane ?? "agent",
      },
      ...(sketch.served === undefined ? {} : { annotations: { "k3slb.io/served-addresses": sketch.served } }),
      ...(sketch.ending ? { deletionTimestamp: "2026-01-01T00:10:00Z" } : {}),
    },
    spec: sketch.scheduled === false
      ? {
        containers: [],
        affinity: {
          nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } },
        },
      }
      : { containers: [], nodeName },
    status: { phase: sketch.phase ?? "Running", podIP: "10.42.0.9", conditions },
  });
}

/** A slice of `of` with one endpoint per entry. */
export function slice(of: Service, endpoints: EndpointSlice["endpoints"]): EndpointSlice {
  return frozen({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${of.metadata?.name}-abcde`,
      namespace: of.metadata?.namespace ?? "",
      labels: { "kubernetes.io/service-name": of.metadata?.name ?? "" },
    },
    addressType: "IPv4",
    endpoints,
  });
}

function hex(text: string): string {
  let value = 7;
  for (const character of text) value = (Math.imul(value, 31) + character.charCodeAt(0)) >>> 0;
  return value.toString(16).padStart(8, "0");
}
