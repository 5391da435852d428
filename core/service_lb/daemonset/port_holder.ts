// Which pod of a node holds a host port that a Service wants. Pure.
// Facts: the scheduler's NodePorts plugin (host ports of all containers, and of init containers that go on running); the API server
// fills in `hostPort` for pods on the host's network.
import { isTrue } from "../../kube/conditions.ts";
import { objectKey } from "../../kube/request_path.ts";
import { pick } from "../../kube/trim.ts";
import type { Pod, Service } from "../../kube/types.ts";
import { hostPortIds, portIds } from "../../service/port_owners.ts";
import { readService } from "../../service/reading.ts";

/** A pod that keeps a Service's own pod from being scheduled. */
export interface PortHolder {
  /** `namespace/name`. */
  readonly pod: string;
  /** `80/TCP`. */
  readonly port: string;
  /** Whether it is a ready endpoint of the Service that listens on each of its ports: the node answers without our help. */
  readonly serves: boolean;
}

/** What was found out about pods that are missing, or can't be scheduled. */
export interface PodObstacles {
  /** Why the API server takes no pod, in its own words. */
  readonly refusal?: string;
  /** By node: who holds a port of the Service. */
  readonly holders: ReadonlyMap<string, PortHolder>;
}

/** The pod of `pods`, all of one node, that holds a port of `service`. */
export function portHolder(service: Service, pods: Iterable<Pod>): PortHolder | undefined {
  let found: PortHolder | undefined;
  for (const pod of pods) {
    const held = heldPorts(pod);
    const port = portIds(service).find((wanted) => held.has(wanted));
    if (port === undefined) continue;
    const holder = { pod: objectKey(pod), port, serves: isOwnEndpoint(service, pod) };
    if (holder.serves) return holder;
    found ??= holder;
  }
  return found;
}

/** A pod with what {@linkcode portHolder} reads; `undefined` if it holds no port. */
export function trimPortHolder(pod: Pod): Pod | undefined {
  if (heldPorts(pod).size === 0) return undefined;
  const { metadata, spec, status } = pod;
  return {
    metadata: pick(metadata, ["namespace", "name", "labels"]),
    spec: {
      ...pick(spec, ["hostNetwork"]),
      containers: containersOf(pod).map((container) => pick(container, ["name", "ports"])),
    },
    status: { conditions: (status?.conditions ?? []).filter(({ type }) => type === "Ready") },
  };
}

type Container = NonNullable<Pod["spec"]>["containers"][number];
type ContainerPort = NonNullable<Container["ports"]>[number];

function containersOf({ spec }: Pod): readonly Container[] {
  return [...spec?.containers ?? [], ...spec?.initContainers ?? []];
}

function containerPorts(pod: Pod): readonly ContainerPort[] {
  return containersOf(pod).flatMap(({ ports }) => ports ?? []);
}

function heldPorts(pod: Pod): ReadonlySet<string> {
  const { phase } = pod.status ?? {};
  if (phase === "Succeeded" || phase === "Failed") return NOTHING;
  return hostPortIds(containersOf(pod));
}

function isOwnEndpoint(service: Service, pod: Pod): boolean {
  const { namespace, selector, ports } = readService(service);
  if (selector === undefined || pod.metadata?.namespace !== namespace) return false;
  if (!Object.entries(selector).every(([name, value]) => pod.metadata?.labels?.[name] === value)) return false;
  return isTrue(pod, "Ready") && pod.spec?.hostNetwork === true &&
    ports.every(({ port, targetPort = port, protocol }) =>
      containerPorts(pod).some((each) =>
        each.hostPort === port && (each.protocol ?? "TCP") === protocol &&
        (targetPort === each.name || Number(targetPort) === port)
      )
    );
}

const NOTHING: ReadonlySet<string> = new Set();
