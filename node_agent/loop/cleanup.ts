// `k3slb agent cleanup` and `--remove-rules`: takes away everything that the agent ever made, from the kernel first and then, if the API answers,
// from the node's objects. Safe to run twice.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isConflict, isNotFound } from "../../core/kube/errors.ts";
import { NODES, PODS } from "../../core/kube/resources.ts";
import { apiTime, type Clock } from "../../core/runtime/clock.ts";
import { SERVICE_NAME_LABEL } from "../../core/service/labels.ts";
import { heartbeatOf } from "../../core/service/node_report.ts";
import { errorMessage, isAbort, K3slbError } from "../../core/shared/errors.ts";
import type { Logger } from "../../core/shared/log.ts";
import type { Dataplane } from "../dataplane_contract.ts";
import { gateOf } from "./plan/load_balancer_pods.ts";
import { gatePatch } from "./report/desired_gate.ts";
import { heartbeatRemovalPatch } from "./report/heartbeat.ts";

/** What {@linkcode cleanUp} takes. */
export interface CleanUpOptions {
  /** The kernel's rules. */
  readonly dataplane: Dataplane;
  /** Absent: only the kernel is cleaned. */
  readonly cluster?: { readonly client: KubeClient; readonly nodeName: string };
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /** Ends the work when it is aborted. */
  readonly signal: AbortSignal;
}

/** What was done, one sentence each. */
export interface CleanUpReport {
  /** One line for each thing that is gone. */
  readonly removed: readonly string[];
  /** What could not be removed from the cluster; the kernel is clean nevertheless. */
  readonly warnings: readonly string[];
}

/**
 * Removes the rules, sets the gates of this node's pods to False and takes the heartbeat away.
 *
 * @throws {K3slbError} as {@linkcode Dataplane.remove}, after everything else was done
 */
export async function cleanUp(options: CleanUpOptions): Promise<CleanUpReport> {
  const [removal] = await Promise.allSettled([options.dataplane.remove(options.signal)]);
  options.signal.throwIfAborted();
  // Chains that can't go are empty by now: the node serves nothing any more, and its gates must not say that it does.
  const { removed, warnings } = await cleanUpCluster(options);
  if (removal.status === "rejected") throw removal.reason;
  return { removed: [...removal.value, ...removed], warnings };
}

/** What {@linkcode leaveNode} takes. */
export interface LeaveNodeOptions extends CleanUpOptions {
  readonly logger: Logger;
  /** Called when nothing is left. */
  readonly onDone: () => void;
}

/**
 * Cleans up and then waits for the signal, as a pod has to that is to be deleted later: nothing puts the rules back meanwhile.
 *
 * @throws {K3slbError} as {@linkcode cleanUp}, or code "clean-up" if something was left in the cluster; whoever starts it again tries again
 */
export async function leaveNode(options: LeaveNodeOptions): Promise<void> {
  const { logger, signal } = options;
  const { removed, warnings } = await cleanUp(options);
  for (const line of removed) logger.info(line);
  if (warnings.length > 0) {
    throw new K3slbError(
      `The rules are gone, but not all that was said of them in the cluster: ${warnings.join("; ")}`,
      {
        code: "clean-up",
        hint: "Check that the API server is reached, and start it again",
        retriable: true,
      },
    );
  }
  logger.info("Nothing of the agent is left on this node; waiting to be stopped");
  options.onDone();
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

async function cleanUpCluster(options: CleanUpOptions): Promise<CleanUpReport> {
  const removed: string[] = [];
  const warnings: string[] = [];
  const { cluster } = options;
  if (!cluster) return { removed, warnings };
  for (const step of [closeGates, removeHeartbeat]) {
    try {
      removed.push(...await step({ ...options, ...cluster }));
    } catch (error) {
      if (isAbort(error)) throw error;
      warnings.push(errorMessage(error));
    }
  }
  return { removed, warnings };
}

type Step = CleanUpOptions & NonNullable<CleanUpOptions["cluster"]>;

async function closeGates({ client, nodeName, clock, signal }: Step): Promise<readonly string[]> {
  const fieldSelector = `spec.nodeName=${nodeName}`;
  const { items } = await client.list(PODS, { fieldSelector, labelSelector: SERVICE_NAME_LABEL, signal });
  const done: string[] = [];
  for (const pod of items.filter((one) => gateOf(one)?.status === "True")) {
    const state = {
      status: "False",
      reason: "CleanedUp",
      message: "The agent's rules were removed from this node",
    } as const;
    const patch = gatePatch(pod, state, apiTime(clock.now()));
    if (!patch) continue;
    const { namespace = "", name = "" } = pod.metadata ?? {};
    try {
      await client.patch(PODS, { namespace, name }, patch, { subresource: "status", signal });
      done.push(`Set the gate of pod ${namespace}/${name} to False`);
    } catch (error) {
      // The pod is gone, or another one has its name and no gate of ours yet.
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }
  return done;
}

async function removeHeartbeat({ client, nodeName, signal }: Step): Promise<readonly string[]> {
  const { items: [node] } = await client.list(NODES, { fieldSelector: `metadata.name=${nodeName}`, signal });
  if (!heartbeatOf(node)) return [];
  await client.patch(NODES, { name: nodeName }, heartbeatRemovalPatch(), { subresource: "status", signal });
  return [`Removed the heartbeat from Node ${nodeName}`];
}
