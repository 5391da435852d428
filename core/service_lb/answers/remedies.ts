// What to do about each reason for which a node, or a Service, is left out: one line that can be typed or done. Pure.
import { ENABLE_LABEL, EXCLUDE_NODE_LABEL, POOL_LABEL } from "../../service/labels.ts";
import type { ServiceClaim } from "../../service/claim.ts";
import { OS_LABEL, type Taint } from "../../service/node_selection.ts";
import type { PortConflict } from "../../service/port_owners.ts";
import type { ServiceReading } from "../../service/reading.ts";
import { WISHES } from "../../service/wishes.ts";
import type { PortHolder } from "../daemonset/port_holder.ts";
import type { VerdictReason } from "../nodes/node_verdicts.ts";

/** What a remedy may name. */
export interface RemedyFacts {
  readonly node: string;
  readonly reading: ServiceReading;
  /** Who has a port of the Service there. */
  readonly conflict?: PortConflict;
  /** The pod that has a port of the Service there. */
  readonly holder?: PortHolder;
  /** What keeps its pods away. */
  readonly taint?: Taint;
  /** Namespace of the load balancer's pods. */
  readonly servicelbNamespace: string;
  readonly daemonSet: string;
}

/** What to do so that `facts.node` serves. */
export function nodeRemedy(reason: VerdictReason, facts: RemedyFacts): string {
  return NODE_REMEDIES[reason](facts);
}

/** Typed by the reason: a new reason without a remedy does not compile. */
const NODE_REMEDIES: Readonly<Record<VerdictReason, (facts: RemedyFacts) => string>> = {
  NotLinux: ({ node }) =>
    `Nothing, if it runs another system; else: kubectl label --overwrite node ${node} ${OS_LABEL}=linux`,
  NotEnabled: ({ node }) => `kubectl label --overwrite node ${node} ${ENABLE_LABEL}=true`,
  NotInPool: ({ node, reading }) => `kubectl label --overwrite node ${node} ${POOL_LABEL}=${reading.pool ?? "POOL"}`,
  Excluded: ({ node }) => `kubectl label node ${node} ${EXCLUDE_NODE_LABEL}-`,
  Tainted: ({ node, taint }) => {
    const { key = "KEY", effect = "EFFECT" } = taint ?? {};
    return `Tolerate it by the annotation ${WISHES.tolerations.name}, or: kubectl taint node ${node} ${key}:${effect}-`;
  },
  PortTaken: ({ conflict }) =>
    conflict === undefined
      ? "Choose another port for one of the two"
      : conflict.owner === ""
      ? "Choose a port that is not kept for node ports, or another --service-node-port-range"
      : `Choose another port, or delete Service ${kubectlName(conflict.owner)}: the oldest Service has a port`,
  NoLocalEndpoint: ({ node, reading }) =>
    `Run a pod of it on ${node}, or: ${patch(reading, '{"spec":{"externalTrafficPolicy":"Cluster"}}')}`,
  NoPod: ({ servicelbNamespace, daemonSet }) =>
    `Look at the DaemonSet's Events: kubectl describe daemonset -n ${servicelbNamespace} ${daemonSet}`,
  FailedCreate: ({ servicelbNamespace, daemonSet }) =>
    `Loosen what refuses it (policy, quota, webhook): kubectl describe daemonset -n ${servicelbNamespace} ${daemonSet}`,
  AgentMissing: ({ node }) => `Run k3slb agent on ${node}: k3slb install agent`,
  NodeNotReady: ({ node }) => `See why: kubectl describe node ${node}`,
  NodeSilent: ({ node }) => `See whether ${node} runs and has its network: ping it, kubectl describe node ${node}`,
  AgentSilent: ({ node }) => `On ${node}: systemctl status k3slb-agent; journalctl -u k3slb-agent`,
  NoAddress: ({ node, reading }) => {
    const { name } = WISHES.matchAddresses;
    return reading.matchAddresses === undefined
      ? `Give ${node} an address of the Service's families, or change the Service's families`
      : `Give ${node} an address that the annotation names, or take that off: ${annotate(reading, `${name}-`)}`;
  },
  PodEnding: () => "Wait: its next pod comes",
  PodFailed: ({ servicelbNamespace, daemonSet }) =>
    `See why: kubectl get pods -n ${servicelbNamespace} -l app=${daemonSet} -o wide`,
  PodOutdated: ({ servicelbNamespace, daemonSet }) =>
    `Wait: its next pod comes; if not: kubectl describe daemonset -n ${servicelbNamespace} ${daemonSet}`,
  NotScheduled: ({ node, holder }) =>
    holder === undefined
      ? `Free what the scheduler names on ${node}: another pod's hostPort, cpu, memory or its pods' limit`
      : `Choose another port, or delete pod ${kubectlName(holder.pod)}, and what makes it anew`,
  WaitingForScheduler: () => "Wait; if it stays so, see whether kube-scheduler runs",
  WaitingForAgent: ({ node }) => `Wait; if it stays so, on ${node}: journalctl -u k3slb-agent`,
  NotProgrammed: ({ node }) => `Fix what the agent names; more on ${node}: journalctl -u k3slb-agent`,
  PodNotReady: ({ servicelbNamespace, daemonSet }) =>
    `See why: kubectl describe pods -n ${servicelbNamespace} -l app=${daemonSet}`,
};

/** Every reason for which a node can be left out. */
export const VERDICT_REASONS = Object.keys(NODE_REMEDIES) as readonly VerdictReason[];

/** What to do so that a Service becomes one that is served. */
export function claimRemedy(
  reason: Exclude<ServiceClaim, { readonly ours: true }>["reason"],
  { reading, lbClass }: { readonly reading: ServiceReading; readonly lbClass: string },
): string {
  switch (reason) {
    case "Deleted":
      return "Nothing: it goes when its DaemonSet is gone";
    case "NotLoadBalancer":
      return patch(reading, '{"spec":{"type":"LoadBalancer"}}');
    case "OtherClass":
    case "NoClass":
      return `Make it anew with loadBalancerClass: ${lbClass} (the class of a Service can't be changed)`;
    case "OptedOut":
      return annotate(reading, `${WISHES.enabled.name}-`);
  }
}

function patch({ namespace, name }: ServiceReading, body: string): string {
  return `kubectl patch service -n ${namespace} ${name} -p '${body}'`;
}

function annotate({ namespace, name }: ServiceReading, words: string): string {
  return `kubectl annotate service -n ${namespace} ${name} ${words}`;
}

function kubectlName(key: string): string {
  const [namespace = "", name = ""] = key.split("/");
  return `${name} in namespace ${namespace}`;
}
