// The DaemonSet of a Service for either data plane, complete and in a stable order. Pure.
// Facts: k3s `pkg/cloudprovider/servicelb.go` and klipper-lb `entry` (data plane `pods`: names, labels, env contract, sysctls);
// the placeholders of data plane `agent` hold node ports for the scheduler and have no rights.
import { createHash } from "node:crypto";
import type { DaemonSet, Service } from "../../kube/types.ts";
import { DEFAULT_TOLERATIONS, type SelectionFacts } from "../../service/node_selection.ts";
import { readService, type ServicePort, type ServiceReading, type SettingsProblem } from "../../service/reading.ts";
import { portId } from "../../service/port_owners.ts";
import { imageFrom } from "../../shared/image.ts";
import { IP_FAMILIES, type IpFamily } from "../../shared/ip.ts";
import { ALL_ADDRESSES } from "../../shared/ip_ranges.ts";
import { isMapping } from "../../shared/values.ts";
import {
  APPLIED_HASH_ANNOTATION,
  DATAPLANE_LABEL,
  type DataplaneName,
  NODE_SELECTOR_LABEL,
  POD_SERVICE_ACCOUNT,
  PROGRAMMED_CONDITION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../service/labels.ts";
import { daemonSetName } from "./names.ts";
import { schedulingTerms } from "./scheduling_terms.ts";

/** What is the same for all DaemonSets. */
export interface DaemonSetOptions {
  /** Who forwards: the agent, or pods as K3s makes them. */
  readonly dataplane: DataplaneName;
  /** Namespace of the DaemonSets. */
  readonly servicelbNamespace: string;
  /** Image of the pods of data plane `pods`. */
  readonly lbImage: string;
  /** Image of the placeholders of data plane `agent`. */
  readonly pauseImage: string;
  /** Whether a pause image that the nodes have already comes before {@linkcode pauseImage}. */
  readonly adoptPauseImage?: boolean;
  /** Registry put before the images; empty for none. */
  readonly systemDefaultRegistry: string;
}

/** What belongs to one Service. */
export interface DaemonSetWish {
  /** What decides about nodes for all Services. */
  readonly selection: SelectionFacts;
  /** Nodes on which an older Service has the ports. */
  readonly without: readonly string[];
}

/** The DaemonSet, or why there can't be one. */
export type DesiredDaemonSet =
  | { readonly daemonSet: DaemonSet }
  | { readonly error: SettingsProblem };

/** The DaemonSet of `service`, with the hash of its content as an annotation. */
export function desiredDaemonSet(
  service: Service,
  options: DaemonSetOptions & DaemonSetWish,
): DesiredDaemonSet {
  const reading = readService(service);
  const error = reading.unknown ?? missingFact(reading, options.dataplane);
  if (error !== undefined) return { error };
  const name = daemonSetName(service);
  const serviceLabels = {
    [SERVICE_NAME_LABEL]: reading.name,
    [SERVICE_NAMESPACE_LABEL]: reading.namespace,
  };
  const podLabels = { app: name, ...serviceLabels, [DATAPLANE_LABEL]: options.dataplane };
  const spec = {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: podLabels }, spec: podSpec(reading, options) },
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
  };
  const labels = {
    [NODE_SELECTOR_LABEL]: String(options.selection.allowList || reading.pool !== undefined),
    ...serviceLabels,
    [DATAPLANE_LABEL]: options.dataplane,
  };
  const annotations = { [APPLIED_HASH_ANNOTATION]: contentHash([labels, spec]) };
  const metadata = { name, namespace: options.servicelbNamespace, labels, annotations };
  return { daemonSet: { apiVersion: "apps/v1", kind: "DaemonSet", metadata, spec } };
}

/** 64 bits as hexadecimal text; equal values built in the same order have equal ones. */
function contentHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
}

/** The hash that `daemonSet` carries of its content; empty if it has none. */
export function appliedHash({ metadata }: DaemonSet): string {
  return metadata?.annotations?.[APPLIED_HASH_ANNOTATION] ?? "";
}

/**
 * Whether applying `desired` would change `observed`.
 *
 * Every field that is wanted must be there with its value (a foreign edit is noticed), and the hash must be that of what is
 * wanted (a field that is no longer wanted is noticed). What the API server fills in beside them does not count.
 */
export function differsFromDesired(desired: DaemonSet, observed: DaemonSet | undefined): boolean {
  if (observed === undefined) return true;
  return !includes(observed.metadata?.labels, desired.metadata?.labels) ||
    !includes(observed.metadata?.annotations, desired.metadata?.annotations) ||
    !includes(observed.spec, desired.spec);
}

type PodSpec = NonNullable<NonNullable<DaemonSet["spec"]>["template"]["spec"]>;
type Container = PodSpec["containers"][number];

function podSpec(reading: ServiceReading, options: DaemonSetOptions & DaemonSetWish): PodSpec {
  const { nodeSelector, terms } = schedulingTerms({ ...options.selection, ...reading }, options.without);
  const common = {
    automountServiceAccountToken: false,
    serviceAccountName: POD_SERVICE_ACCOUNT,
    priorityClassName: reading.priorityClassName ?? DEFAULT_PRIORITY_CLASS,
    tolerations: [...DEFAULT_TOLERATIONS, ...reading.tolerations],
    nodeSelector: { ...nodeSelector },
    ...(terms === undefined ? {} : {
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } },
    }),
  };
  return options.dataplane === "agent"
    ? { ...common, ...placeholder(reading, options) }
    : { ...common, ...forwarders(reading, options) };
}

/** One container that does nothing: its host ports make the scheduler keep the node's ports free for the agent's rules. */
function placeholder(reading: ServiceReading, options: DaemonSetOptions & DaemonSetWish): PodSpec {
  return {
    hostNetwork: true,
    enableServiceLinks: false,
    readinessGates: [{ conditionType: PROGRAMMED_CONDITION }],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: NOBODY,
      runAsGroup: NOBODY,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [{
      name: "placeholder",
      image: imageFrom(options.systemDefaultRegistry, options.pauseImage),
      imagePullPolicy: "IfNotPresent",
      ports: reading.ports.map((port) => hostPort(port)),
      resources: reading.resources ?? { requests: { cpu: "1m", memory: "1Mi" } },
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        readOnlyRootFilesystem: true,
      },
    }],
  };
}

/** One container per port, each with the environment that klipper-lb reads. */
function forwarders(reading: ServiceReading, options: DaemonSetOptions & DaemonSetWish): PodSpec {
  const { families, resources } = reading;
  return {
    securityContext: { sysctls: families.map((family) => ({ name: FORWARDING_SYSCTLS[family], value: "1" })) },
    containers: reading.ports.map((port): Container => {
      const container = {
        name: portName(port),
        image: imageFrom(options.systemDefaultRegistry, options.lbImage),
        imagePullPolicy: "IfNotPresent",
        ports: [hostPort(port)],
        env: [
          { name: "SRC_PORT", value: String(port.port) },
          { name: "SRC_RANGES", value: sourceRanges(reading).join(",") },
          { name: "DEST_PROTO", value: port.protocol },
          ...destination(reading, port),
        ],
        securityContext: { capabilities: { add: ["NET_ADMIN"] } },
      };
      return resources === undefined ? container : { ...container, resources };
    }),
  };
}

/** Local traffic goes to the node port of the pod's own host: only there kube-proxy keeps to local endpoints. */
function destination(reading: ServiceReading, port: ServicePort): NonNullable<Container["env"]> {
  if (reading.trafficPolicy === "Local") {
    return [
      { name: "DEST_PORT", value: String(port.nodePort) },
      { name: "DEST_IPS", valueFrom: { fieldRef: { fieldPath: "status.hostIPs" } } },
    ];
  }
  return [
    { name: "DEST_PORT", value: String(port.port) },
    { name: "DEST_IPS", value: reading.clusterIps.join(",") },
  ];
}

/** An empty list admits no one: klipper-lb ends with a DROP per destination. */
function sourceRanges(reading: ServiceReading): readonly string[] {
  if (reading.sourceRanges !== undefined) return reading.sourceRanges;
  // Neither families nor cluster addresses are known.
  if (reading.families.length === 0) return [ALL_ADDRESSES.IPv4];
  return IP_FAMILIES.filter((family) => reading.families.includes(family)).map((family) => ALL_ADDRESSES[family]);
}

function missingFact(reading: ServiceReading, dataplane: DataplaneName): SettingsProblem | undefined {
  if (reading.ports.length === 0) return { reason: "NoPorts", message: "The Service has no ports" };
  if (dataplane === "agent") return undefined;
  if (reading.clusterIps.length === 0) return { reason: "NoClusterIP", message: "The Service has no cluster IP" };
  const local = reading.trafficPolicy === "Local";
  const without = local ? reading.ports.find((port) => !port.nodePort) : undefined;
  if (without === undefined) return undefined;
  const message = `Port ${portId(without)} has no node port, which externalTrafficPolicy Local needs ` +
    `with the data plane "pods"`;
  return { reason: "NoNodePort", message };
}

function portName(port: ServicePort): string {
  return `lb-${port.protocol.toLowerCase()}-${port.port}`;
}

/** The container port must equal the host port: pods on the host network are refused otherwise. */
function hostPort(port: ServicePort): NonNullable<Container["ports"]>[number] {
  return { name: portName(port), containerPort: port.port, hostPort: port.port, protocol: port.protocol };
}

/** Whether `actual` has everything that is in `wanted`. Lists must be equally long; amounts of resources are left to the hash. */
function includes(actual: unknown, wanted: unknown): boolean {
  // The API server drops empty texts.
  if (wanted === undefined || (wanted === "" && actual === undefined)) return true;
  if (Array.isArray(wanted)) {
    return Array.isArray(actual) && actual.length === wanted.length &&
      wanted.every((item, index) => includes(actual[index], item));
  }
  if (!isMapping(wanted)) return actual === wanted;
  // "1000m" is stored as "1", so amounts can't be compared as text.
  return isMapping(actual) && Object.keys(wanted).every((key) => {
    if (key === "resources") return true;
    // One value to the API server: a label that somebody added keeps pods off, and applying takes it out.
    if (key === "nodeSelector" && !includes(wanted[key], actual[key])) return false;
    return includes(actual[key], wanted[key]);
  });
}

const DEFAULT_PRIORITY_CLASS = "system-node-critical";
const NOBODY = 65535;
const FORWARDING_SYSCTLS: Readonly<Record<IpFamily, string>> = {
  IPv4: "net.ipv4.ip_forward",
  IPv6: "net.ipv6.conf.all.forwarding",
};
