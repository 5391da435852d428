// Gathers what `k3slb check` decides on of the cluster: as many requests as there are rights, and a handful of lists. Changes nothing. Adapter.
import type { KubeClient, ResourceType } from "../../core/kube/contract.ts";
import { orUnreadable } from "../../core/kube/one_object.ts";
import { objectKey } from "../../core/kube/request_path.ts";
import { CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, NODES, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject, Node, Service } from "../../core/kube/types.ts";
import { type ClaimOptions, serviceClaim } from "../../core/service/claim.ts";
import { FACTS_CONFIG_MAP, FACTS_KEY, parseFacts } from "../../core/service/cluster_facts.ts";
import { DATAPLANE_LABEL, SERVICE_NAME_LABEL } from "../../core/service/labels.ts";
import { heartbeatOf } from "../../core/service/node_report.ts";
import { portId } from "../../core/service/port_owners.ts";
import { readService } from "../../core/service/reading.ts";
import { errorMessage, isAbort, isK3slbError } from "../../core/shared/errors.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { ipFamilyOf } from "../../core/shared/ip_ranges.ts";
import { createHostPorts } from "../../node_agent/host/host_ports.ts";
import { portListeners, renderListener } from "../../node_agent/host/listening_sockets.ts";
import type { ProgramHost } from "../program_host.ts";
import type { ClusterFacts, TakenPort, Workload } from "./cluster_checks.ts";
import { AGENT_RULES, isGrantedByServer, type ProgramName, type Right, rightsOf, SERVER_RULES } from "./rights.ts";

/** What {@linkcode readCluster} takes. */
export interface ReadClusterOptions {
  /** Says which node this host is. */
  readonly findNode: () => Promise<string>;
  readonly program: ProgramName;
  /** Nothing is installed yet: what the first server brings is not asked for. */
  readonly isBefore: boolean;
  readonly claim: ClaimOptions;
  readonly servicelbNamespace: string;
  /** Of this program. */
  readonly version: string;
  readonly host: Pick<ProgramHost, "readTextFile">;
  readonly signal: AbortSignal;
}

/** What is found in the cluster. */
export async function readCluster(client: KubeClient, options: ReadClusterOptions): Promise<ClusterFacts> {
  const { signal, claim } = options;
  await client.raw("GET", "/version", { signal });
  const node = await readNode(client, options);
  const own = "failure" in node ? undefined : node.name;
  const [workloads, ciliumPools, rights, takenPorts, versions] = await Promise.all([
    orUnreadable(readWorkloads(client, signal)),
    orUnreadable(client.list(CILIUM_POOLS, { signal, isMetadataOnly: true })),
    readRights(client, own, options),
    orUnreadable(readTakenPorts(client, options)),
    readVersions(client, own, options),
  ]);
  return {
    node,
    takesAll: claim.lbDefault,
    workloads,
    ciliumPools: ciliumPools?.items.length ?? 0,
    rights,
    takenPorts,
    versions,
  };
}

async function readNode(
  client: KubeClient,
  { findNode, signal }: ReadClusterOptions,
): Promise<ClusterFacts["node"]> {
  try {
    const name = await findNode();
    const { spec } = await client.get(NODES, { name }, { signal });
    const cidrs = spec?.podCIDRs ?? [];
    const families = cidrs.map((cidr) => ipFamilyOf(cidr.split("/")[0] ?? ""));
    return { name, families: families.filter((family): family is IpFamily => family !== undefined) };
  } catch (error) {
    if (isAbort(error) || !isK3slbError(error)) throw error;
    return { failure: errorMessage(error) };
  }
}

async function readWorkloads(client: KubeClient, signal: AbortSignal): Promise<readonly Workload[]> {
  const found: Workload[] = [];
  const each = (object: KubeObject): void => {
    const labels = object.metadata?.labels ?? {};
    found.push({
      name: objectKey(object),
      isServiceLb: labels[SERVICE_NAME_LABEL] !== undefined,
      isOurs: labels[DATAPLANE_LABEL] !== undefined,
    });
  };
  await client.list(DAEMON_SETS, { signal, each });
  await client.list(DEPLOYMENTS, { signal, each });
  return found;
}

async function readRights(
  client: KubeClient,
  node: string | undefined,
  { program, servicelbNamespace, isBefore, signal }: ReadClusterOptions,
): Promise<ClusterFacts["rights"]> {
  if (program === "agent" && node === undefined) return { unknown: "this host's node is not known" };
  const all = rightsOf(program === "server" ? SERVER_RULES : AGENT_RULES, servicelbNamespace);
  const isAllowed = async (right: Right): Promise<boolean> => {
    const resourceAttributes = program === "agent" && node !== undefined ? ofNode(right, node) : right;
    const body = { spec: { resourceAttributes } } as KubeObject;
    const { status } = await client.create(ACCESS_REVIEWS, body, { signal }) as {
      readonly status?: { readonly allowed?: boolean };
    };
    return status?.allowed === true;
  };
  const allowed = await orUnreadable(Promise.all(all.map(isAllowed)));
  if (allowed === undefined) return { unknown: "the API server does not say what these credentials may do" };
  const denied = all.filter((_, index) => allowed[index] === false);
  const later = denied.filter((right) => isBefore && isGrantedByServer(right));
  return { program, asked: all.length, missing: denied.filter((right) => !later.includes(right)), later };
}

/** As the agent asks: a kubelet's credentials see their own node and its pods only. */
function ofNode(right: Right, node: string): object {
  if (right.resource === "nodes") return { ...right, name: node };
  if (right.resource !== "pods" || right.subresource !== "") return right;
  return { ...right, fieldSelector: { requirements: [{ key: "spec.nodeName", operator: "In", values: [node] }] } };
}

async function readTakenPorts(
  client: KubeClient,
  { claim, host, signal }: ReadClusterOptions,
): Promise<readonly TakenPort[]> {
  const { items } = await client.list(SERVICES, { fieldSelector: "spec.type=LoadBalancer", signal });
  const ports = items.filter((service) => serviceClaim(service, claim).ours).flatMap(portsOf);
  const listeners = await createHostPorts("/proc", { signal }).listeners(ports);
  const taken: TakenPort[] = [];
  for (const port of ports) {
    for (const listener of portListeners(listeners, port)) {
      // A pod in the host's network that listens may well be the Service's own.
      const groups = await host.readTextFile(`/proc/${listener.process?.pid ?? "none"}/cgroup`);
      if (groups?.includes("kubepods")) continue;
      taken.push({
        port: portId(port),
        service: `${port.namespace}/${port.service}`,
        holder: renderListener(listener),
      });
      break;
    }
  }
  return taken;
}

function portsOf(service: Service): readonly Parameters<typeof portListeners>[1][] {
  const { namespace, name, families, ports, trafficPolicy } = readService(service);
  return ports.map(({ protocol, port }) => ({
    namespace,
    service: name,
    portName: "",
    protocol,
    port,
    families,
    trafficPolicy,
    endpoints: [],
  }));
}

async function readVersions(
  client: KubeClient,
  own: string | undefined,
  { version, servicelbNamespace, signal }: ReadClusterOptions,
): Promise<ClusterFacts["versions"]> {
  // A node may list it by its name, and not get it.
  const selection = { namespace: servicelbNamespace, fieldSelector: `metadata.name=${FACTS_CONFIG_MAP}` };
  const facts = await orUnreadable(client.list(CONFIG_MAPS, { ...selection, signal }));
  const server = parseFacts(facts?.items[0]?.data?.[FACTS_KEY] ?? "")?.server;
  const nodes = await orUnreadable(client.list(NODES, { signal })) ??
    (own === undefined ? undefined : { items: [await client.get(NODES, { name: own }, { signal })] });
  return [
    { who: "this program", version },
    ...(server === undefined ? [] : [{ who: "the server", version: server }]),
    ...(nodes?.items ?? []).flatMap((node) => {
      const found = agentVersion(node);
      return found === undefined ? [] : [{ who: node.metadata?.name ?? "", version: found }];
    }),
  ];
}

/** As the agent signs its heartbeat. */
function agentVersion(node: Node): string | undefined {
  return /(?:^|; )agent (\S+), (?:nft|legacy), instance /.exec(heartbeatOf(node)?.message ?? "")?.[1];
}

const ACCESS_REVIEWS: ResourceType<KubeObject> = {
  group: "authorization.k8s.io",
  version: "v1",
  kind: "SelfSubjectAccessReview",
  plural: "selfsubjectaccessreviews",
  namespaced: false,
};
const CILIUM_POOLS: ResourceType<KubeObject> = {
  group: "cilium.io",
  version: "v2alpha1",
  kind: "CiliumLoadBalancerIPPool",
  plural: "ciliumloadbalancerippools",
  namespaced: false,
};
