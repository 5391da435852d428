// What the agent knows of the cluster: its own pods and Node, Services of type LoadBalancer, what the server publishes, and the EndpointSlices of
// the Services that concern this node. Watches are narrow and objects trimmed; what to do with them is not decided here.
import type { Surroundings } from "../../../core/kube/contract.ts";
import { isForbidden } from "../../../core/kube/errors.ts";
import type { ObjectChange } from "../../../core/kube/object_store.ts";
import { type Reflector, startReflector } from "../../../core/kube/reflector.ts";
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../../../core/kube/resources.ts";
import type { EndpointSlice, KubeObject, Node, Pod, Service } from "../../../core/kube/types.ts";
import type { ClusterFacts } from "../../../core/service/cluster_facts.ts";
import {
  servedServiceKey,
  type ServiceKey,
  SLICE_SERVICE_LABEL,
  sliceServiceKey,
  splitKey,
} from "../../../core/service/keys.ts";
import { NODE_REPORT_ANNOTATION, PROBE_ANSWER_ANNOTATION, SERVICE_NAME_LABEL } from "../../../core/service/labels.ts";
import { keepLastGood } from "../../../core/service/last_good.ts";
import { lastReport, type NodeReport } from "../../../core/service/node_report.ts";
import { saysSame } from "../../../core/service/reading.ts";
import { trimEndpointSlice, trimService } from "../../../core/service/trim.ts";
import { errorMessage, isAbort } from "../../../core/shared/errors.ts";
import { FirstSlices } from "./first_slices.ts";
import type { DepartedService } from "../plan/contenders.ts";
import { type FactsWatch, startFactsWatch } from "./facts_watch.ts";
import { servedPorts } from "../plan/forwarding_plan.ts";
import { isLoadBalancerPod } from "../plan/load_balancer_pods.ts";
import { OwnServices } from "./own_services.ts";
import { servedBefore } from "../plan/served_before.ts";
import { HostPods } from "./host_pods.ts";
import { trimNode, trimPod } from "./trim_objects.ts";
import { sameContent } from "../../../core/kube/trim.ts";
import { WantedSlices } from "../../../core/kube/wanted_slices.ts";

/** What {@linkcode startAgentCaches} takes. */
export interface AgentCachesOptions extends Surroundings {
  readonly nodeName: string;
  /** Namespace of the load balancers' pods. */
  readonly servicelbNamespace: string;
  /** `portKey`s of the ports that the kernel has; `undefined` before that is known. */
  readonly programmed: () => ReadonlySet<string> | undefined;
  /** Told that something changed that may change the plan: in this namespace, or, if absent, of the node itself. */
  readonly onChange: (namespace?: string) => void;
  /** Told that a pod has changed that decides nothing, and is only told what is served. */
  readonly onPlaceholder: () => void;
  /** Told that the own Node was written, whoever did it. */
  readonly onNode: () => void;
  /**
   * Told why the caches can't be filled yet, each time it is tried.
   *
   * @param report What an earlier run served, and goes on serving meanwhile; `undefined` where the pods decide
   */
  readonly onBlocked: (error: unknown, report: NodeReport | undefined) => void;
}

/** The objects, as of now. They must not be changed. */
export interface AgentCaches extends Pick<FactsWatch, "probeRequest" | "onProbeRequest"> {
  readonly pods: Reflector<Pod>;
  readonly services: Reflector<Service>;
  readonly slices: Reflector<EndpointSlice>;
  readonly nodes: Reflector<Node>;
  /** What the server publishes; `undefined`: the pods decide. */
  readonly facts: () => ClusterFacts | undefined;
  /** `portKey`s of the ports that an earlier run of the agent served. */
  readonly servedBefore: ReadonlySet<string>;
  /** Whether the Service's EndpointSlices are complete; else neither it nor its pods are to be judged yet. */
  readonly isKnown: (service: string) => boolean;
  /** Services that were served here until now, and are still to be. */
  readonly departed: () => readonly DepartedService[];
  readonly hostPods: Pick<HostPods, "ports" | "uidOf">;
  /** Resolves when all watches have ended. */
  readonly done: Promise<unknown>;
}

/**
 * Starts the watches and resolves when all of them have been filled once. Waits for as long as that takes.
 *
 * @throws {DOMException} "AbortError" if the signal is aborted before
 */
export async function startAgentCaches(options: AgentCachesOptions): Promise<AgentCaches> {
  const { client, nodeName, servicelbNamespace, clock, logger, signal, onChange, onPlaceholder } = options;
  const common = { client, clock, logger, signal };
  const wanted = new WantedSlices({
    ...common,
    merge: (items) => slices.merge(items),
    onListed: () => onChange(),
  });
  let before: ReadonlySet<string> = new Set();
  const own = new OwnServices({
    ...common,
    nodeName,
    pods: () => pods.objects,
    services: () => services.objects,
    node: () => nodes.objects.get(nodeName),
    facts: () => facts.current(),
    served: (service) => servedPorts(options.programmed() ?? before)(service),
    onChosen: (service) => firstSlices.noteService(service),
    onChange: (service) => {
      wanted.replace(own.keys());
      if (!isAwaited(service)) onChange(namespaceOf(service));
    },
  });
  /** It is looked at as soon as its endpoints are known. */
  const isAwaited = (service: string | undefined): boolean => service !== undefined && firstSlices.isAwaited(service);
  const firstSlices = new FirstSlices({ clock, signal, onExpire: () => onChange() });
  const facts = startFactsWatch({
    ...common,
    servicelbNamespace,
    onChange: () => {
      own.refresh();
      onChange();
    },
  });

  const pods = startReflector({
    ...common,
    type: PODS,
    selection: {
      namespace: servicelbNamespace,
      fieldSelector: `spec.nodeName=${nodeName}`,
      labelSelector: SERVICE_NAME_LABEL,
    },
    keep: (pod) => isLoadBalancerPod(pod, servicelbNamespace) ? trimPod(pod) : undefined,
    onChange: (change) => {
      own.notePod(change);
      if (!isOther(change)) return;
      const pod = change.after ?? change.before ?? {};
      if (own.decides(pod)) onChange(namespaceOf(servedServiceKey(pod)));
      else onPlaceholder();
    },
  });
  const hostPods = new HostPods({
    ...common,
    nodeName,
    servicelbNamespace,
    onChange: (pod) => onChange(namespaceOf(pod)),
  });
  const services: Reflector<Service> = startReflector<Service>({
    ...common,
    type: SERVICES,
    selection: { fieldSelector: "spec.type=LoadBalancer" },
    keep: (service) => keepLastGood(trimService(service), services.objects),
    onChange: (change) => {
      if (!isOther(change)) return;
      own.noteService(change);
      // The server's own writes, a status and a finalizer for each Service, change no rule.
      if (changesPlan(change) && (change.after === undefined || !isAwaited(change.key))) {
        onChange(namespaceOf(change.key));
      }
    },
  });
  const nodes: Reflector<Node> = startReflector<Node>({
    ...common,
    type: NODES,
    selection: { fieldSelector: `metadata.name=${nodeName}` },
    keep: trimNode,
    onChange: ({ before, after }) => {
      if (!sameContent(choosingPart(before), choosingPart(after))) own.refresh();
      if (!sameContent(withoutOwnWords(before), withoutOwnWords(after))) onChange();
      options.onNode();
    },
  });

  // The slices come last: by then it is known whose are wanted, and the first list brings them all.
  await Promise.all([pods.synced, services.synced, nodes.synced, facts.ready]);
  before = servedBefore([...pods.objects.values()], [...services.objects.values()], nodes.objects.get(nodeName));
  if (facts.current() === undefined && before.size > 0 && lastReport(nodes.objects.get(nodeName)) !== undefined) {
    logger.info("An earlier run decided by what a server publishes; waiting for that", {
      namespace: servicelbNamespace,
    });
    await facts.waitForWord();
  }
  own.fill();
  wanted.replace(own.keys());
  await waitForSlicePermission({
    ...options,
    onBlocked: (error) =>
      options.onBlocked(error, facts.current() === undefined ? undefined : lastReport(nodes.objects.get(nodeName))),
  });
  const slices = startReflector({
    ...common,
    type: ENDPOINT_SLICES,
    keep: (slice) => wanted.keeps(sliceServiceKey(slice) ?? "") ? trimEndpointSlice(slice, nodeName) : undefined,
    onChange: (change) => {
      firstSlices.noteSlice(change);
      // Those of a Service that has gone go after it.
      if (isOther(change) && wanted.wants(serviceOf(change) ?? "")) onChange(namespaceOf(change.key));
    },
  });
  const listing = wanted.run();
  await Promise.all([slices.synced, hostPods.synced]);
  return {
    pods,
    services,
    nodes,
    slices,
    facts: () => facts.current(),
    probeRequest: () => facts.probeRequest(),
    onProbeRequest: (tell) => facts.onProbeRequest(tell),
    servedBefore: before,
    isKnown: (service) => wanted.isComplete(service) && !firstSlices.isAwaited(service),
    departed: () => own.departed(),
    hostPods,
    done: Promise.all([pods.done, hostPods.done, services.done, nodes.done, slices.done, facts.done, listing]),
  };
}

/** Whether anything that is kept of an object has changed: whoever writes the rest again and again makes no work. */
function isOther({ before, after }: ObjectChange<KubeObject>): boolean {
  return before === undefined || after === undefined || !sameContent(before, after);
}

/** What of the own Node decides which Services it is chosen for. */
function choosingPart(node: Node | undefined): object {
  return { there: node !== undefined, labels: node?.metadata?.labels, taints: node?.spec?.taints };
}

/** The namespace in an object's key. */
function namespaceOf(key: string | undefined): string | undefined {
  return key === undefined ? undefined : splitKey(key).namespace;
}

function serviceOf({ before, after }: ObjectChange<EndpointSlice>): ServiceKey | undefined {
  const slice = after ?? before;
  return slice && sliceServiceKey(slice);
}

function changesPlan({ before, after }: ObjectChange<Service>): boolean {
  return before === undefined || after === undefined || !saysSame(before, after);
}

/** All but what this agent writes itself: heartbeat, report, and answers to probes. */
function withoutOwnWords(node: Node | undefined): object | undefined {
  if (node === undefined) return undefined;
  const { metadata, spec, status } = node;
  const { [NODE_REPORT_ANNOTATION]: _, [PROBE_ANSWER_ANNOTATION]: __, ...annotations } = metadata?.annotations ?? {};
  return { labels: metadata?.labels, annotations, spec, addresses: status?.addresses };
}

/** A node's identity may not read EndpointSlices until the server has granted it: waits for that, without noise. */
async function waitForSlicePermission(
  { client, clock, logger, signal, onBlocked }: Pick<AgentCachesOptions, "client" | "clock" | "logger" | "signal"> & {
    readonly onBlocked: (error: unknown) => void;
  },
): Promise<void> {
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
