// The DaemonSet of a Service for either data plane, complete and in a stable order. Pure.
// Facts: k3s `pkg/cloudprovider/servicelb.go` and klipper-lb `entry` (data plane `pods`: names, labels, env contract, sysctls);
// the placeholders of data plane `agent` hold node ports for the scheduler and have no rights.
import { createHash } from "node:crypto";
import type { DaemonSet, Service, Toleration } from "../kube/types.ts";
import { imageFrom } from "../shared/image.ts";
import type { IpFamily } from "../shared/ip.ts";
import {
  APPLIED_HASH_ANNOTATION,
  DATAPLANE_LABEL,
  type DataplaneName,
  NODE_SELECTOR_LABEL,
  POD_SERVICE_ACCOUNT,
  PROGRAMMED_CONDITION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "./labels.ts";
import { daemonSetName } from "./names.ts";
import { type NodeConstraint, schedulingTerms } from "./node_selection.ts";
import type { ServiceSettings, SettingsProblem } from "./service_settings.ts";

/** What is the same for all DaemonSets. */
export interface DaemonSetOptions {
  readonly dataplane: DataplaneName;
  readonly namespace: string;
  readonly lbImage: string;
  readonly pauseImage: string;
  /** Registry put before the images; empty for none. */
  readonly systemDefaultRegistry: string;
}

/** What belongs to one Service. */
export interface DaemonSetWish {
  readonly settings: ServiceSettings;
  readonly constraint: NodeConstraint;
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
  const error = options.settings.errors[0] ?? missingFact(service, options.dataplane);
  if (error !== undefined) return { error };
  const name = daemonSetName(service);
  const serviceLabels = {
    [SERVICE_NAME_LABEL]: service.metadata?.name ?? "",
    [SERVICE_NAMESPACE_LABEL]: service.metadata?.namespace ?? "",
  };
  const podLabels = { app: name, ...serviceLabels, [DATAPLANE_LABEL]: options.dataplane };
  const spec = {
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: podLabels }, spec: podSpec(service, options) },
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
  };
  const labels = {
    [NODE_SELECTOR_LABEL]: String(options.constraint.allowList || options.constraint.pool !== undefined),
    ...serviceLabels,
    [DATAPLANE_LABEL]: options.dataplane,
  };
  const annotations = { [APPLIED_HASH_ANNOTATION]: contentHash([labels, spec]) };
  const metadata = { name, namespace: options.namespace, labels, annotations };
  return { daemonSet: { apiVersion: "apps/v1", kind: "DaemonSet", metadata, spec } };
}

/** 64 bits as hexadecimal text; equal values built in the same order have equal ones. */
function contentHash(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 16);
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
type ServicePort = NonNullable<NonNullable<Service["spec"]>["ports"]>[number];

function podSpec(service: Service, options: DaemonSetOptions & DaemonSetWish): PodSpec {
  const { settings } = options;
  const { nodeSelector, terms } = schedulingTerms(options.constraint, options.without);
  const common = {
    automountServiceAccountToken: false,
    serviceAccountName: POD_SERVICE_ACCOUNT,
    priorityClassName: settings.priorityClassName ?? DEFAULT_PRIORITY_CLASS,
    tolerations: [...DEFAULT_TOLERATIONS, ...settings.tolerations],
    nodeSelector: { ...nodeSelector },
    ...(terms === undefined ? {} : { affinity: requiredNodeAffinity(terms) }),
  };
  return options.dataplane === "agent"
    ? { ...common, ...placeholder(service, options) }
    : { ...common, ...forwarders(service, options) };
}

function requiredNodeAffinity(
  terms: NonNullable<ReturnType<typeof schedulingTerms>["terms"]>,
): PodSpec["affinity"] & object {
  const mutable = terms.map((term) => ({
    ...(term.matchExpressions === undefined ? {} : { matchExpressions: term.matchExpressions.map(copyRequirement) }),
    ...(term.matchFields === undefined ? {} : { matchFields: term.matchFields.map(copyRequirement) }),
  }));
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: mutable } } };
}

function copyRequirement<T extends { readonly values?: readonly string[] }>(
  requirement: T,
): Omit<T, "values"> & { values?: string[] } {
  const { values, ...rest } = requirement;
  return values === undefined ? rest : { ...rest, values: [...values] };
}

/** One container that does nothing: its host ports make the scheduler keep the node's ports free for the agent's rules. */
function placeholder(service: Service, options: DaemonSetOptions & DaemonSetWish): PodSpec {
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
      ports: portsOf(service).map((port) => hostPort(port)),
      resources: copyResources(options.settings) ?? { requests: { cpu: "1m", memory: "1Mi" } },
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        readOnlyRootFilesystem: true,
      },
    }],
  };
}

/** One container per port, each with the environment that klipper-lb reads. */
function forwarders(service: Service, options: DaemonSetOptions & DaemonSetWish): PodSpec {
  const { families } = options.settings;
  return {
    securityContext: { sysctls: families.map((family) => ({ name: FORWARDING_SYSCTLS[family], value: "1" })) },
    containers: portsOf(service).map((port): Container => {
      const resources = copyResources(options.settings);
      const container = {
        name: portName(port),
        image: imageFrom(options.systemDefaultRegistry, options.lbImage),
        imagePullPolicy: "IfNotPresent",
        ports: [hostPort(port)],
        env: [
          { name: "SRC_PORT", value: String(port.port) },
          { name: "SRC_RANGES", value: sourceRanges(options.settings).join(",") },
          { name: "DEST_PROTO", value: protocolOf(port) },
          ...destination(service, port),
        ],
        securityContext: { capabilities: { add: ["NET_ADMIN"] } },
      };
      return resources === undefined ? container : { ...container, resources };
    }),
  };
}

/** Local traffic goes to the node port of the pod's own host: only there kube-proxy keeps to local endpoints. */
function destination(service: Service, port: ServicePort): NonNullable<Container["env"]> {
  if (service.spec?.externalTrafficPolicy === "Local") {
    return [
      { name: "DEST_PORT", value: String(port.nodePort) },
      { name: "DEST_IPS", valueFrom: { fieldRef: { fieldPath: "status.hostIPs" } } },
    ];
  }
  return [
    { name: "DEST_PORT", value: String(port.port) },
    { name: "DEST_IPS", value: clusterIps(service).join(",") },
  ];
}

/** An empty list admits no one: klipper-lb ends with a DROP per destination. */
function sourceRanges(settings: ServiceSettings): readonly string[] {
  if (settings.sourceRanges !== undefined) return settings.sourceRanges;
  // API servers before dual stack leave the families out.
  if (settings.families.length === 0) return [EVERYONE.IPv4];
  return FAMILY_ORDER.filter((family) => settings.families.includes(family)).map((family) => EVERYONE[family]);
}

function missingFact(service: Service, dataplane: DataplaneName): SettingsProblem | undefined {
  if (portsOf(service).length === 0) return { reason: "NoPorts", message: "The Service has no ports" };
  if (dataplane === "agent") return undefined;
  if (clusterIps(service).length === 0) return { reason: "NoClusterIP", message: "The Service has no cluster IP" };
  const local = service.spec?.externalTrafficPolicy === "Local";
  const without = local ? portsOf(service).find((port) => !port.nodePort) : undefined;
  if (without === undefined) return undefined;
  const message =
    `Port ${without.port}/${protocolOf(without)} has no node port, which externalTrafficPolicy Local needs ` +
    `with the data plane "pods"`;
  return { reason: "NoNodePort", message };
}

/** Ports of a Service as they are in its spec. */
export function portsOf(service: Service): readonly ServicePort[] {
  return service.spec?.ports ?? [];
}

/** Protocol of a port; TCP if none is given. */
export function protocolOf(port: { readonly protocol?: string }): string {
  return port.protocol ?? "TCP";
}

function portName(port: ServicePort): string {
  return `lb-${protocolOf(port).toLowerCase()}-${port.port}`;
}

/** The container port must equal the host port: pods on the host network are refused otherwise. */
function hostPort(port: ServicePort): NonNullable<Container["ports"]>[number] {
  return { name: portName(port), containerPort: port.port, hostPort: port.port, protocol: protocolOf(port) };
}

function clusterIps(service: Service): readonly string[] {
  const addresses = service.spec?.clusterIPs ?? (service.spec?.clusterIP ? [service.spec.clusterIP] : []);
  return addresses.filter((address) => address !== "" && address !== "None");
}

function copyResources(settings: ServiceSettings): NonNullable<Container["resources"]> | undefined {
  const { resources } = settings;
  if (resources === undefined) return undefined;
  return {
    ...(resources.requests === undefined ? {} : { requests: { ...resources.requests } }),
    ...(resources.limits === undefined ? {} : { limits: { ...resources.limits } }),
  };
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

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const DEFAULT_PRIORITY_CLASS = "system-node-critical";
const NOBODY = 65535;
const FAMILY_ORDER: readonly IpFamily[] = ["IPv4", "IPv6"];
const EVERYONE: Readonly<Record<IpFamily, string>> = { IPv4: "0.0.0.0/0", IPv6: "::/0" };
const FORWARDING_SYSCTLS: Readonly<Record<IpFamily, string>> = {
  IPv4: "net.ipv4.ip_forward",
  IPv6: "net.ipv6.conf.all.forwarding",
};

/** Tolerations of every DaemonSet, as K3s has them. */
export const DEFAULT_TOLERATIONS: readonly Toleration[] = [
  { key: "node-role.kubernetes.io/master", operator: "Exists", effect: "NoSchedule" },
  { key: "node-role.kubernetes.io/control-plane", operator: "Exists", effect: "NoSchedule" },
  { key: "CriticalAddonsOnly", operator: "Exists" },
];
