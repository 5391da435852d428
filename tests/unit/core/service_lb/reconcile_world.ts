// What reconciling a Service works with, over the in-memory API server; it notes writes and Events.
import { DAEMON_SETS, SERVICES } from "../../../../core/kube/resources.ts";
import type { DaemonSet, Service } from "../../../../core/kube/types.ts";
import { LateReservations } from "../../../../core/service_lb/daemonset/late_reservations.ts";
import type { ReconcileContext } from "../../../../core/service_lb/reconcile_context.ts";
import type { ServiceEvent } from "../../../../core/service_lb/status/status_step.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { createInProcess, type Objects } from "../../../support/memory_api/in_process.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";

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
