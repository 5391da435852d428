// What reconciling a Service works with, over the in-memory API server; it notes writes and Events.
import assert from "node:assert/strict";
import { DAEMON_SETS, SERVICES } from "../../../../core/kube/resources.ts";
import type { DaemonSet, Node, Pod, Service } from "../../../../core/kube/types.ts";
import { LateReservations } from "../../../../core/service_lb/daemonset/late_reservations.ts";
import type { Reported } from "../../../../core/service_lb/nodes/node_reports.ts";
import type { ReconcileContext, ServiceMemory } from "../../../../core/service_lb/reconcile_context.ts";
import { reconcileService } from "../../../../core/service_lb/reconcile_service.ts";
import type { ServiceEvent } from "../../../../core/service_lb/status/status_step.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { createInProcess, type Objects } from "../../../support/memory_api/in_process.ts";
import { node, SERVICE_OPTIONS } from "./fixtures.ts";

/** What was done and left. */
export interface ReconcileWorld {
  readonly context: ReconcileContext;
  readonly services: Objects<Service>;
  readonly daemonSets: Objects<DaemonSet>;
  /** Requests in order, such as `apply services/status`. */
  readonly writes: string[];
  readonly events: ServiceEvent[];
  /** Lines of the log, without time. */
  readonly log: string[];
  clockMs: number;
  /** Thrown in the place of each apply of a DaemonSet. */
  refusal: Error | undefined;
}

/** An empty world. */
export function reconcileWorld(overrides: Partial<ReconcileContext["options"]> = {}): ReconcileWorld {
  const writes: string[] = [];
  const events: ServiceEvent[] = [];
  const log: string[] = [];
  const { client, objects } = createInProcess({
    onRequest: ({ verb, resource }) => {
      if (verb === "get" || verb === "list") return;
      writes.push(`${verb} ${resource}`);
      if (world.refusal !== undefined && verb === "apply" && resource === "daemonsets") throw world.refusal;
    },
  });
  const world: ReconcileWorld = {
    services: objects(SERVICES),
    daemonSets: objects(DAEMON_SETS),
    writes,
    events,
    log,
    clockMs: 1_000_000,
    refusal: undefined,
    context: {
      logger: createLogger({
        level: "info",
        format: "text",
        write: (line) => void log.push(line.slice(line.indexOf(" ") + 1)),
        now: () => 0,
      }),
      inquiry: { ask: () => Promise.resolve({}), forget: () => {} },
      reservations: new LateReservations(() => {}),
      client,
      clock: {
        now: () => world.clockMs,
        monotonicMs: () => world.clockMs,
        sleep: () => Promise.resolve(),
        setTimer: () => () => {},
        random: () => 0,
      },
      events: { record: (_target, event) => void events.push(event) },
      signal: new AbortController().signal,
      options: { ...SERVICE_OPTIONS, lbClass: "k3slb.io/node-addresses", lbDefault: true, ...overrides },
      written: { service: () => {}, daemonSet: () => {} },
    },
  };
  return world;
}

/** Two nodes. */
export const TWO_NODES: readonly Node[] = [
  node("a", { internal: ["10.0.0.1"] }),
  node("b", { internal: ["10.0.0.2"] }),
];

/** What the cluster says, {@linkcode TWO_NODES} unless told otherwise. */
export interface ReconcileFacts {
  readonly nodes?: readonly Node[];
  readonly pods?: readonly Pod[];
  readonly silent?: readonly string[];
  /** Whether `enablelb` is in use. */
  readonly allowList?: boolean;
  /** What agents report, by node; absent: the pods decide. */
  readonly said?: Readonly<Record<string, Reported>>;
}

/** Reconciles the Service `web` of `world`. */
export async function reconcile(
  world: ReconcileWorld,
  memory: ServiceMemory,
  { nodes = TWO_NODES, pods = [], silent = [], allowList = false, said }: ReconcileFacts = {},
): Promise<number | undefined> {
  const present = world.services.get("web");
  assert.ok(present);
  return await reconcileService(world.context, {
    service: present,
    daemonSets: world.daemonSets.values(),
    memory,
    facts: () => ({
      nodes: new Map(nodes.map((each) => [each.metadata?.name ?? "", each])),
      allowList,
      pods,
      slices: [],
      conflicts: new Map(),
      silentNodes: new Set(silent),
      ...(said === undefined ? {} : { reported: (name) => said[name] }),
    }),
  });
}
