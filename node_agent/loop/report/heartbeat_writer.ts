// Writes the heartbeat and the report of all Services to the agent's own Node, in one request: at once when its state or the report changes,
// soon when its counts do, else every minute. Changes one by one are told at once; while they go on, several times a second, in a large cluster
// once. Also notices another live agent that signs the same Node's heartbeat.
import type { Surroundings } from "../../../core/kube/contract.ts";
import { NODES } from "../../../core/kube/resources.ts";
import type { Node } from "../../../core/kube/types.ts";
import { apiTime } from "../../../core/runtime/clock.ts";
import type { ObserveQueue } from "../../../core/runtime/queue_metrics.ts";
import { Pace } from "../../../core/runtime/pace.ts";
import { createWorkQueue, type WorkQueue } from "../../../core/runtime/work_queue.ts";
import { lastReport, type NodeReport, renderReport, withoutWords } from "../../../core/service/node_report.ts";
import { errorMessage } from "../../../core/shared/errors.ts";
import {
  type AgentSignature,
  type ForwardingHealth,
  HEARTBEAT_INTERVAL_MS,
  heartbeatNews,
  heartbeatPatch,
  heartbeatState,
  rivalInstance,
} from "./heartbeat.ts";

/** What {@linkcode createHeartbeatWriter} takes. */
export interface HeartbeatWriterOptions extends Surroundings {
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
  readonly nodeName: string;
  readonly signature: AgentSignature;
  /** The Node as last seen. */
  readonly node: () => Node | undefined;
  /** How many nodes have agents, 0 if that is not known. */
  readonly nodeCount: () => number;
}

/** Keeps the heartbeat fresh. */
export interface HeartbeatWriter {
  /**
   * Sets what the heartbeat says; written at once if status or reason change, within some seconds if the number of ports or Services or the
   * warnings do. Nothing is written before the first call.
   *
   * @param report What is said of Services; `undefined` where the pods decide
   */
  report(health: ForwardingHealth, report: NodeReport | undefined): void;
  /** The Node may have changed: checks who wrote its heartbeat. */
  notice(): void;
  /** Writes until the signal is aborted. Never rejects. */
  run(): Promise<void>;
}

/** A writer that has nothing to say yet. */
export function createHeartbeatWriter(options: HeartbeatWriterOptions): HeartbeatWriter {
  return new NodeHeartbeat(options);
}

class NodeHeartbeat implements HeartbeatWriter {
  readonly #options: HeartbeatWriterOptions;
  readonly #queue: WorkQueue;
  readonly #pace: Pace;
  #health: ForwardingHealth | undefined;
  #report: ReportText = {};
  #rivalId: string | undefined;
  #rivalSeenMs = -Infinity;
  #firstWrittenMs: number | undefined;
  #lastWrittenMs = -Infinity;
  #lastNews = "";
  #written: ReportText = {};
  /** Written last, or under way: a write that fails is tried again by itself. */
  #sent: ReportText = {};
  /** A write that failed may have arrived. */
  #isInDoubt = false;

  constructor(options: HeartbeatWriterOptions) {
    const { clock, nodeCount, observeQueue } = options;
    this.#options = options;
    this.#queue = createWorkQueue({ clock, maxBackoffMs: MAX_BACKOFF_MS, observer: observeQueue?.(KEY) });
    this.#pace = new Pace({ inARow: REPORTS_IN_A_ROW, intervalMs: () => reportIntervalMs(nodeCount()) });
  }

  report(next: ForwardingHealth, services: NodeReport | undefined): void {
    const { clock } = this.#options;
    const isNews = this.#health === undefined || reasonOf(this.#health) !== reasonOf(next);
    this.#health = next;
    const text = services && renderReport(services);
    if (text !== this.#report.text) {
      this.#report = services === undefined ? {} : { text, verdicts: renderReport(withoutWords(services)) };
    }
    if (isNews) return this.#queue.add(KEY);
    if (this.#report.verdicts !== this.#sent.verdicts) {
      this.#queue.addAfter(KEY, this.#pace.delayMs(clock.monotonicMs()));
    } else if (this.#report.text !== this.#sent.text) this.#queue.addAfter(KEY, NOTE_DELAY_MS);
    if (heartbeatNews(next) === this.#lastNews) return;
    const sinceMs = clock.monotonicMs() - this.#lastWrittenMs;
    this.#queue.addAfter(KEY, Math.max(NEWS_DELAY_MS, NEWS_INTERVAL_MS - sinceMs));
  }

  notice(): void {
    if (this.#firstWrittenMs === undefined) return;
    const { node, nodeName, signature, clock, logger } = this.#options;
    // Somebody took the report away.
    if (this.#written.text !== undefined && lastReport(node()) === undefined) {
      this.#queue.addAfter(KEY, RESTORE_DELAY_MS);
    }
    const found = rivalInstance(node(), signature.instanceId, this.#firstWrittenMs);
    if (found === undefined) return;
    this.#rivalSeenMs = clock.monotonicMs();
    if (found === this.#rivalId) return;
    this.#rivalId = found;
    logger.warn("Another agent runs under this node's name", {
      node: nodeName,
      instance: found,
      hint: "Give each machine its own name with --node-name, or stop one of the agents",
    });
    this.#queue.add(KEY);
  }

  async run(): Promise<void> {
    const { signal, logger } = this.#options;
    await this.#queue.run({
      signal,
      reconcile: () => this.#write(),
      onFailure: (_, error, failures) => {
        const level = failures === 1 ? "warn" : "debug";
        logger[level]("Cannot write the node's heartbeat; it is tried again", { error: errorMessage(error) });
      },
    });
  }

  async #write(): Promise<number | void> {
    if (!this.#health) return;
    const { client, nodeName, signature, clock, signal, node } = this.#options;
    this.#forgetRival();
    const nowMs = clock.now();
    const news = heartbeatNews(this.#health);
    const state = heartbeatState(this.#health, signature, this.#rivalId);
    const told = this.#report;
    this.#sent = told;
    const isWritten = !this.#isInDoubt && told.text === this.#written.text;
    const patch = heartbeatPatch(node(), { state, report: told.text, isWritten, now: apiTime(nowMs) });
    this.#isInDoubt = true;
    await client.patch(NODES, { name: nodeName }, patch, { subresource: "status", signal });
    this.#isInDoubt = false;
    this.#firstWrittenMs ??= nowMs;
    this.#lastWrittenMs = clock.monotonicMs();
    this.#lastNews = news;
    if (told.verdicts !== this.#written.verdicts) this.#pace.note(this.#lastWrittenMs);
    this.#written = told;
    return HEARTBEAT_INTERVAL_MS;
  }

  #forgetRival(): void {
    const { clock, logger, nodeName } = this.#options;
    if (this.#rivalId === undefined || clock.monotonicMs() - this.#rivalSeenMs <= RIVAL_MEMORY_MS) return;
    logger.info("The other agent under this node's name is gone", { node: nodeName, instance: this.#rivalId });
    this.#rivalId = undefined;
  }
}

const KEY = "heartbeat";

/** A report as it is written. */
interface ReportText {
  readonly text?: string | undefined;
  /** The same without texts for people. */
  readonly verdicts?: string;
}

/** From one report to the next while changes go on: all nodes together write some 50 a second, large clusters one for each node. */
export function reportIntervalMs(nodeCount: number): number {
  if (nodeCount === 0) return MAX_REPORT_INTERVAL_MS;
  return Math.min(MAX_REPORT_INTERVAL_MS, Math.max(MIN_REPORT_INTERVAL_MS, nodeCount * NODE_SHARE_MS));
}

const NODE_SHARE_MS = 20;
const MIN_REPORT_INTERVAL_MS = 200;
const MAX_REPORT_INTERVAL_MS = 1000;
/** After a calm time so many need not wait, so that Services made one by one don't. */
const REPORTS_IN_A_ROW = 6;
/** Whoever took the report away may do so again. */
const RESTORE_DELAY_MS = 1000;
/** For a change of words alone: whether there are endpoints, say, may change every second during a rollout. */
const NOTE_DELAY_MS = 3000;
/** Counts change often while many Services are made: they are told once things have calmed, and from thousands of nodes not at once for ever. */
const NEWS_DELAY_MS = 2000;
const NEWS_INTERVAL_MS = 10_000;
/** After an outage servers hear of this agent before they count it as silent. */
const MAX_BACKOFF_MS = 10_000;
/** A live agent signs every minute; one that was stopped is not spoken of for ever. */
const RIVAL_MEMORY_MS = 3 * HEARTBEAT_INTERVAL_MS;

function reasonOf(health: ForwardingHealth): string {
  return "reason" in health ? health.reason : "";
}
