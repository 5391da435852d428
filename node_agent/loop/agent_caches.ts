// What the agent knows of the cluster: its own pods and Node, Services of type LoadBalancer, and the EndpointSlices of the
// Services that its pods forward for. Watches are narrow and objects trimmed; what to do with them is not decided here.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isForbidden } from "../../core/kube/errors.ts";
import { type Reflector, startReflector } from "../../core/kube/reflector.ts";
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../../core/kube/resources.ts";
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { servedServiceKey, SLICE_SERVICE_LABEL, sliceServiceKey } from "../../core/service/keys.ts";
import { SERVICE_NAME_LABEL } from "../../core/service/labels.ts";
import { keepLastGood } from "../../core/service/last_good.ts";
import { servedAddressesOf, statusLists } from "../../core/service/node_addresses.ts";
import { trimEndpointSlice, trimService } from "../../core/service/trim.ts";
import { errorMessage, isAbort } from "../../core/shared/errors.ts";
import type { Logger } from "../../core/shared/log.ts";
import { DepartedPods } from "./departed_pods.ts";
import { podHolds } from "./forwarding_plan.ts";
import { isLoadBalancerPod } from "./load_balancer_pods.ts";
import { hostPortsOf, trimHostPod, trimNode, trimPod } from "./trim_objects.ts";
import { WantedSlices } from "../../core/kube/wanted_slices.ts";

/** What {@linkcode startAgentCaches} takes. */
export interface AgentCachesOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  /** Namespace of the load balancers' pods. */
  readonly servicelbNamespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Told that something changed which may change the plan. */
  readonly onChange: () => void;
  /** Told why the caches can't be filled yet, each time it is tried. */
  readonly onBlocked: (error: unknown) => void;
}

/** The objects, as of now. They must not be changed. */
export interface AgentCaches {
  readonly pods: Reflector<Pod>;
  readonly services: Reflector<Service>;
  readonly slices: Reflector<EndpointSlice>;
  readonly nodes: Reflector<Node>;
  /** Pods whose Service's EndpointSlices are complete; the others are not to be judged yet. */
  readonly knownPods: () => readonly Pod[];
  /** Pods that ended or went, whose Service has no other pod here yet and is still to be served. */
  readonly departedPods: () => readonly Pod[];
  /** `NAMESPACE/NAME` of the pods on this node that are in the host's network. */
  readonly hostPods: () => ReadonlyMap<string, readonly string[]>;
  /** Resolves when all watches have ended. */
  readonly done: Promise<unknown>;
}

/**
 * Starts the watches and resolves when all of them have been filled once. Waits for as long as that takes.
 *
 * @throws {DOMException} "AbortError" if the signal is aborted before
 */
export async function startAgentCaches(options: AgentCachesOptions): Promise<AgentCaches> {
  const { client, nodeName, servicelbNamespace, clock, logger, signal, onChange } = options;
  const common = { client, clock, logger, signal };
  let areSlicesListed = false;
  const wanted = new WantedSlices({
    ...common,
    merge: (items) => slices.merge(items),
    onListed: () => onChange(),
  });
  const departed = new DepartedPods({
    clock,
    signal,
    isCountedOn: (pod) =>
      statusLists(
        services.objects.get(servedServiceKey(pod) ?? ""),
        nodes.objects.get(nodeName),
        servedAddressesOf(pod),
      ),
    onExpire: () => {
      refreshWanted();
      onChange();
    },
  });
  const serviceOf = (pod: Pod | undefined): string | undefined =>
    pod !== undefined && podHolds(pod, nodeName) ? servedServiceKey(pod) : undefined;
  const refreshWanted = (): void => {
    const holding = [...pods.objects.values(), ...departed.list()];
    wanted.replace(new Set(holding.flatMap((pod) => serviceOf(pod) ?? [])), areSlicesListed);
  };

  const pods = startReflector({
    ...common,
    type: PODS,
    selection: {
      namespace: servicelbNamespace,
      fieldSelector: `spec.nodeName=${nodeName}`,
      labelSelector: SERVICE_NAME_LABEL,
    },
    keep: (pod) => isLoadBalancerPod(pod, servicelbNamespace) ? trimPod(pod) : undefined,
    onChange: ({ before, after }) => {
      // A pod ends before it goes, and one that the kubelet refuses never held anything.
      if (after !== undefined && podHolds(after, nodeName)) departed.replaceBy(after);
      else if (before !== undefined && podHolds(before, nodeName)) departed.add(before);
      if (serviceOf(before) !== serviceOf(after)) refreshWanted();
      onChange();
    },
  });
  const hostPods = startReflector({
    ...common,
    type: PODS,
    selection: { fieldSelector: `spec.nodeName=${nodeName}` },
    keep: (pod) => {
      if (!podHolds(pod, nodeName) || isLoadBalancerPod(pod, servicelbNamespace)) return undefined;
      return pod.spec?.hostNetwork || hostPortsOf(pod).length > 0 ? trimHostPod(pod) : undefined;
    },
    onChange: ({ before, after }) => {
      // Their statuses change all the time; what counts is that they are here.
      if ((before === undefined) !== (after === undefined)) onChange();
    },
  });
  const services: Reflector<Service> = startReflector<Service>({
    ...common,
    type: SERVICES,
    selection: { fieldSelector: "spec.type=LoadBalancer" },
    keep: (service) => keepLastGood(trimService(service), services.objects),
    onChange,
  });
  const nodes = startReflector({
    ...common,
    type: NODES,
    selection: { fieldSelector: `metadata.name=${nodeName}` },
    keep: trimNode,
    onChange,
  });

  // The slices come last: by then it is known whose are wanted, and the first list brings them all.
  await pods.synced;
  refreshWanted();
  await waitForSlicePermission(options);
  const slices = startReflector({
    ...common,
    type: ENDPOINT_SLICES,
    keep: (slice) => wanted.has(sliceServiceKey(slice) ?? "") ? trimEndpointSlice(slice, nodeName) : undefined,
    onChange,
  });
  areSlicesListed = true;
  const listing = wanted.run();
  await Promise.all([services.synced, nodes.synced, slices.synced, hostPods.synced]);
  return {
    pods,
    services,
    nodes,
    slices,
    knownPods: () => [...pods.objects.values()].filter((pod) => wanted.isComplete(servedServiceKey(pod) ?? "")),
    departedPods: () => departed.list(),
    hostPods: () => new Map([...hostPods.objects].map(([name, pod]) => [name, hostPortsOf(pod)])),
    done: Promise.all([pods.done, hostPods.done, services.done, nodes.done, slices.done, listing]),
  };
}

/** A node's identity may not read EndpointSlices until the server has granted it: waits for that, without noise. */
async function waitForSlicePermission({ client, clock, logger, signal, onBlocked }: AgentCachesOptions): Promise<void> {
  for (let isFirst = true;; isFirst = false) {
    try {
      const labelSelector = `${SLICE_SERVICE_LABEL}=${NO_SERVICE}`;
      await client.list(ENDPOINT_SLICES, { labelSelector, resourceVersion: "0", signal });
      if (!isFirst) logger.info("EndpointSlices can be read now");
      return;
    } catch (error) {
      if (isAbort(error) || signal.aborted) throw error;
      onBlocked(error);
      if (isFirst) {
        logger.warn("Cannot read EndpointSlices; waiting", {
          error: errorMessage(error),
          ...(isForbidden(error)
            ? {
              hint: "k3slb server grants it to nodes as soon as it runs; without it, apply the shipped RBAC manifest",
            }
            : {}),
        });
      }
      await clock.sleep(PERMISSION_RETRY_MS, signal);
    }
  }
}

/** A name that no Service can have for long: the list is asked for its permission, not for its items. */
const NO_SERVICE = "k3slb-no-service";
const PERMISSION_RETRY_MS = 3000;
