// Pods of this node in the host's network or with host ports, those of load balancers left out: which of the node's ports are theirs.
import type { Surroundings } from "../../../core/kube/contract.ts";
import { type Reflector, startReflector } from "../../../core/kube/reflector.ts";
import { PODS } from "../../../core/kube/resources.ts";
import { pick } from "../../../core/kube/trim.ts";
import type { Pod } from "../../../core/kube/types.ts";
import { portLabel } from "../../../core/service/port_owners.ts";
import type { Protocol } from "../../../core/shared/ip.ts";
import { isLoopback, parseIpRange } from "../../../core/shared/ip_ranges.ts";
import { podHolds } from "../plan/forwarding_plan.ts";
import { isLoadBalancerPod } from "../plan/load_balancer_pods.ts";

/** What {@linkcode HostPods} takes. */
export interface HostPodsOptions extends Surroundings {
  readonly nodeName: string;
  /** Namespace of the load balancers' pods. */
  readonly servicelbNamespace: string;
  /** Told which pod, as `NAMESPACE/NAME`, has come or gone. */
  readonly onChange: (pod: string) => void;
}

/** The pods, as of now. */
export class HostPods {
  readonly #pods: Reflector<Pod>;

  constructor({ nodeName, servicelbNamespace, onChange, ...common }: HostPodsOptions) {
    this.#pods = startReflector({
      ...common,
      type: PODS,
      selection: { fieldSelector: `spec.nodeName=${nodeName}` },
      keep: (pod) => {
        if (!podHolds(pod, nodeName) || isLoadBalancerPod(pod, servicelbNamespace)) return undefined;
        return pod.spec?.hostNetwork || hostPortsOf(pod).length > 0 ? trimHostPod(pod) : undefined;
      },
      onChange: ({ key, before, after }) => {
        // Their statuses change all the time; what counts is that they are here.
        if ((before === undefined) !== (after === undefined)) onChange(key);
      },
    });
  }

  /** Resolves when all are known; rejects with an `AbortError` if the signal is aborted before. */
  get synced(): Promise<void> {
    return this.#pods.synced;
  }

  /** Resolves when the watch has ended. Never rejects. */
  get done(): Promise<void> {
    return this.#pods.done;
  }

  /** By `NAMESPACE/NAME` the ports of the node that each declares ({@linkcode hostPortsOf}). */
  ports(): ReadonlyMap<string, readonly string[]> {
    return new Map([...this.#pods.objects].map(([name, pod]) => [name, hostPortsOf(pod)]));
  }

  /** Uid of the pod called `NAMESPACE/NAME`. */
  uidOf(name: string): string | undefined {
    return this.#pods.objects.get(name)?.metadata?.uid;
  }
}

/** A pod in the host's network or with host ports: which ports it declares is all that counts. */
export function trimHostPod(pod: Pod): Pod {
  return {
    metadata: pick(pod.metadata, ["name", "namespace", "uid", "resourceVersion"]),
    spec: {
      containers: allContainers(pod).map(({ name, ports }) => ({ name, ...(ports ? { ports } : {}) })),
    },
  };
}

/** Ports of its node that a pod declares as its own, as {@linkcode portLabel} calls them; in the host's network that is each. */
export function hostPortsOf(pod: Pod): readonly string[] {
  return allContainers(pod).flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, hostIP = "", protocol = "TCP" }) =>
      hostPort > 0 && !isLoopbackText(hostIP) ? [portLabel({ protocol: protocol as Protocol, port: hostPort })] : []
    )
  );
}

/** Init containers count too: some go on running. */
function allContainers({ spec }: Pod): readonly NonNullable<Pod["spec"]>["containers"][number][] {
  return [...spec?.containers ?? [], ...spec?.initContainers ?? []];
}

/** Nobody reaches a Service there. An empty address means all, and so do the unspecified ones. */
function isLoopbackText(hostIp: string): boolean {
  const range = ["", "0.0.0.0", "::"].includes(hostIp) ? undefined : parseIpRange(hostIp);
  return range !== undefined && isLoopback(range);
}
