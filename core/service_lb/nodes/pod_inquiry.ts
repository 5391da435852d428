// Finds out why a Service's pods are missing or not scheduled, where no watched object says it: the DaemonSet controller tells in
// Events only, and the scheduler names no pod. Adapter; asks seldom, for Services that wait, and one answer serves them all.
import type { KubeList, Surroundings } from "../../kube/contract.ts";
import { EVENTS, PODS } from "../../kube/resources.ts";
import type { DaemonSet, KubeEvent, KubeObject, Pod, Service } from "../../kube/types.ts";
import { compareText } from "../../shared/compare_text.ts";
import { errorMessage } from "../../shared/errors.ts";
import type { ServiceKey } from "../../service/keys.ts";
import type { NodeVerdict } from "./node_verdicts.ts";
import { type PodObstacles, type PortHolder, portHolder, trimPortHolder } from "../daemonset/port_holder.ts";

/** The answer, and when to ask again. */
export interface PodAnswer {
  readonly obstacles?: PodObstacles;
  readonly againMs?: number;
}

/** What {@linkcode PodInquiry} takes. */
export interface PodInquiryOptions extends Surroundings {
  /** Where the DaemonSets are. */
  readonly namespace: string;
  /**
   * Milliseconds for which a pod may be missing before anybody is asked why.
   * @default {5000}
   */
  readonly patienceMs?: number;
  /**
   * Nodes whose pods are read for one Service.
   * @default {Infinity}
   */
  readonly maxNodes?: number;
}

/** What is asked. */
export interface PodQuestion {
  readonly key: ServiceKey;
  readonly service: Service;
  readonly daemonSet: DaemonSet | undefined;
  readonly verdicts: readonly NodeVerdict[];
}

interface Kept<T> {
  readonly atMs: number;
  readonly value: T;
}

/** Asks the API server, and remembers what it said for some seconds. */
export class PodInquiry {
  readonly #options: PodInquiryOptions;
  /** Since when a Service has nodes without a pod. */
  readonly #missingSinceMs = new Map<ServiceKey, number>();
  /** By uid of the DaemonSet. */
  #refusals: Kept<Promise<ReadonlyMap<string, string>>> | undefined;
  readonly #holders = new Map<string, Kept<Promise<readonly Pod[]>>>();

  constructor(options: PodInquiryOptions) {
    this.#options = options;
  }

  /** The Service is gone. */
  forget(key: ServiceKey): void {
    this.#missingSinceMs.delete(key);
  }

  /** Finds out what is in the way of pods; costs nothing while none is missing. What can't be read counts as not there. */
  async ask(question: PodQuestion): Promise<PodAnswer> {
    const blocked = question.verdicts.filter((verdict) => {
      const { reason, message } = podProblem(verdict) ?? {};
      return reason === "NotScheduled" && NO_FREE_PORT_REGEXP.test(message ?? "");
    }).map(({ node }) => node);
    const holders = new Map<string, PortHolder>();
    await Promise.all(
      blocked.slice(0, this.#options.maxNodes).map(async (node) => {
        const holder = portHolder(question.service, await this.#podsOn(node));
        if (holder !== undefined) holders.set(node, holder);
      }),
    );
    const { refusal, againMs } = await this.#refusalOf(question);
    const obstacles = { holders, ...(refusal === undefined ? {} : { refusal }) };
    if (blocked.length > 0) return { obstacles, againMs: HOLDERS_KEPT_MS };
    return { ...(refusal === undefined ? {} : { obstacles }), ...(againMs === undefined ? {} : { againMs }) };
  }

  async #refusalOf(question: PodQuestion): Promise<{ refusal?: string; againMs?: number }> {
    const { key, daemonSet, verdicts } = question;
    const isMissing = verdicts.some((verdict) => podProblem(verdict)?.reason === "NoPod");
    if (!isMissing || daemonSet === undefined) {
      this.#missingSinceMs.delete(key);
      return {};
    }
    const nowMs = this.#options.clock.monotonicMs();
    const sinceMs = this.#missingSinceMs.get(key) ?? nowMs;
    this.#missingSinceMs.set(key, sinceMs);
    // The cluster's own controller is slow in a burst.
    const patienceMs = sinceMs + (this.#options.patienceMs ?? MISSING_PATIENCE_MS) - nowMs;
    if (patienceMs > 0) return { againMs: patienceMs };
    const refusal = (await this.#readRefusals()).get(daemonSet.metadata?.uid ?? "");
    return { ...(refusal === undefined ? {} : { refusal }), againMs: MISSING_AGAIN_MS };
  }

  #readRefusals(): Promise<ReadonlyMap<string, string>> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#refusals === undefined || nowMs - this.#refusals.atMs >= REFUSALS_KEPT_MS) {
      this.#refusals = { atMs: nowMs, value: this.#listRefusals() };
    }
    return this.#refusals.value;
  }

  async #listRefusals(): Promise<ReadonlyMap<string, string>> {
    const { client, namespace, signal } = this.#options;
    const fieldSelector = "involvedObject.kind=DaemonSet,reason=FailedCreate";
    const failure = "Cannot read Events of DaemonSets, so what keeps pods from being made is not told";
    const events = await this.#read(failure, () => client.list(EVENTS, { namespace, fieldSelector, signal }));
    const timeOf = ({ lastTimestamp }: KubeEvent): string => String(lastTimestamp ?? "");
    const inOrder = events.toSorted((a, b) => compareText(timeOf(a), timeOf(b)));
    return new Map(
      inOrder.map(({ involvedObject, message = "" }) => [
        involvedObject.uid ?? "",
        message.replace(REFUSAL_PREFIX_REGEXP, ""),
      ]),
    );
  }

  #podsOn(node: string): Promise<readonly Pod[]> {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [name, { atMs }] of this.#holders) if (nowMs - atMs >= HOLDERS_KEPT_MS) this.#holders.delete(name);
    const kept = this.#holders.get(node) ?? { atMs: nowMs, value: this.#listPods(node) };
    this.#holders.set(node, kept);
    return kept.value;
  }

  async #listPods(node: string): Promise<readonly Pod[]> {
    const { client, signal } = this.#options;
    const failure = "Cannot read a node's pods, so who holds its ports is not told";
    const pods = await this.#read(
      failure,
      () => client.list(PODS, { fieldSelector: `spec.nodeName=${node}`, signal }),
    );
    return pods.flatMap((pod) => trimPortHolder(pod) ?? []);
  }

  async #read<T extends KubeObject>(failure: string, list: () => Promise<KubeList<T>>): Promise<readonly T[]> {
    const { signal, logger } = this.#options;
    try {
      return (await list()).items;
    } catch (error) {
      if (signal.aborted) throw error;
      logger.debug(failure, { error: errorMessage(error) });
      return [];
    }
  }
}

/** What a node's pod lacks: it may be why the node does not serve, or change nothing but what is kept for it. */
function podProblem(verdict: NodeVerdict): { readonly reason: string; readonly message: string } | undefined {
  return verdict.unreserved ?? (verdict.serves ? undefined : verdict);
}

/** What the Event says of itself, and of the pod, whose name is another one each time. */
const REFUSAL_PREFIX_REGEXP =
  /^(?:\(combined from similar events\): )?Error creating: (?:[Pp]ods? "[^"]*" is (?:forbidden|invalid): )?/;
const NO_FREE_PORT_REGEXP = /free ports/;
const MISSING_PATIENCE_MS = 5_000;
const MISSING_AGAIN_MS = 30_000;
const REFUSALS_KEPT_MS = 5_000;
const HOLDERS_KEPT_MS = 15_000;
