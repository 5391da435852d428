// Asks the cluster for what answers are made from: six lists, however many Services there are; where pods are missing, one more for all of
// them, and one for each of the first nodes on which another pod has a port.
import type { KubeClient } from "../../kube/contract.ts";
import { DAEMON_SETS, ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../../kube/resources.ts";
import type { EndpointSlice, KubeObject, Service } from "../../kube/types.ts";
import { trimForeign } from "../../service/foreign_ports.ts";
import { objectKey, type ServiceKey, sliceServiceKey } from "../../service/keys.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../service/labels.ts";
import type { Clock } from "../../runtime/clock.ts";
import { SILENT_LOGGER } from "../../shared/log.ts";
import { PodInquiry } from "../nodes/pod_inquiry.ts";
import type { Answers, ClusterSnapshot } from "./explain_service.ts";

/** What {@linkcode readSnapshot} takes. */
export interface ReadSnapshotOptions {
  readonly client: KubeClient;
  /** Namespace of the load balancer's pods. */
  readonly namespace: string;
  /** A Service that is wanted whatever its type; its slices and pods alone are read then. */
  readonly service?: Service;
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

/**
 * The cluster at this moment.
 * @throws {K3slbError} if one of the lists is refused
 */
export async function readSnapshot(options: ReadSnapshotOptions): Promise<ClusterSnapshot> {
  const { client, namespace, service, nowMs, signal } = options;
  const ours = { namespace, labelSelector: SERVICE_NAME_LABEL, signal };
  const foreign: Service[] = [];
  const key = service === undefined ? undefined : objectKey(service);
  const [services, nodes, pods, daemonSets, ownSlices] = await Promise.all([
    client.list(SERVICES, { fieldSelector: "spec.type=LoadBalancer", signal }),
    client.list(NODES, { signal }),
    client.list(PODS, { ...ours, labelSelector: podSelector(service) }),
    client.list(DAEMON_SETS, ours),
    key === undefined ? undefined : readSlices(options, new Set([key])),
    client.list(SERVICES, {
      fieldSelector: "spec.type!=LoadBalancer",
      signal,
      each: (item: KubeObject) => {
        const service = trimForeign(item as Service);
        if (service !== undefined) foreign.push(service);
      },
    }),
  ]);
  const others = services.items.filter((each) => objectKey(each) !== key);
  const all = service === undefined ? others : [...others, service];
  const slices = ownSlices ?? await readSlices(options, new Set(all.map(objectKey)));
  return { services: all, foreign, nodes: nodes.items, pods: pods.items, daemonSets: daemonSets.items, slices, nowMs };
}

/** Pods say nothing of any other Service, and are many. */
function podSelector(service: Service | undefined): string {
  const { namespace, name } = service?.metadata ?? {};
  return service === undefined
    ? SERVICE_NAME_LABEL
    : `${SERVICE_NAME_LABEL}=${name},${SERVICE_NAMESPACE_LABEL}=${namespace}`;
}

async function readSlices(
  { client, service, signal }: ReadSnapshotOptions,
  wanted: ReadonlySet<ServiceKey>,
): Promise<readonly EndpointSlice[]> {
  const slices: EndpointSlice[] = [];
  const { namespace, name } = service?.metadata ?? {};
  const scope = service === undefined
    ? {}
    : { namespace: namespace ?? "", labelSelector: `kubernetes.io/service-name=${name}` };
  await client.list(ENDPOINT_SLICES, {
    ...scope,
    signal,
    // Of all that a cluster has, only those of load balancers are kept.
    each: (item: KubeObject) => {
      const slice = item as EndpointSlice;
      if (wanted.has(sliceServiceKey(slice) ?? "")) slices.push(slice);
    },
  });
  return slices;
}

/** Asks why pods of `services` are missing or not placed, as the server does, and tells `answers`. What can't be read counts as not there. */
export async function readObstacles(
  answers: Answers,
  services: readonly Service[],
  options: Pick<ReadSnapshotOptions, "client" | "namespace" | "signal"> & { readonly clock: Clock },
): Promise<void> {
  const inquiry = new PodInquiry({ ...options, logger: SILENT_LOGGER, patienceMs: 0, maxNodes: MAX_NODES });
  await Promise.all(services.map(async (service) => {
    const question = answers.question(service);
    const obstacles = question === undefined ? undefined : (await inquiry.ask(question)).obstacles;
    if (obstacles !== undefined) answers.noteObstacles(service, obstacles);
  }));
}

/** Nodes whose pods are read for one Service; whatever holds its port on more nodes does so for the same reason. */
const MAX_NODES = 16;
