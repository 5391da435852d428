// A client for reconciling a Service: keeps Services and DaemonSets, counts writes, refuses everything else. Shows what a pass writes, not what an
// API server makes of it; that is tried against servers.
import type { KubeClient, KubeList, ResourceType } from "../../../../core/kube/contract.ts";
import type { DaemonSet, KubeObject, Service } from "../../../../core/kube/types.ts";
import type { ReconcileContext } from "../../../../core/service_lb/reconcile_context.ts";
import type { ServiceEvent } from "../../../../core/service_lb/status_step.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";

/** What was done and left. */
export interface ReconcileWorld {
  readonly context: ReconcileContext;
  readonly services: Map<string, Service>;
  readonly daemonSets: Map<string, DaemonSet>;
  /** `apply daemonsets`, in order. */
  readonly writes: string[];
  readonly events: ServiceEvent[];
  /** Time in milliseconds; tests move it. */
  clockMs: number;
  /** Thrown by the next apply of a DaemonSet. */
  refusal: Error | undefined;
}

/** An empty world. */
export function reconcileWorld(overrides: Partial<ReconcileContext["options"]> = {}): ReconcileWorld {
  const services = new Map<string, Service>();
  const daemonSets = new Map<string, DaemonSet>();
  const writes: string[] = [];
  const events: ServiceEvent[] = [];
  const note = (verb: string, type: ResourceType<KubeObject>, rest: string): void => {
    writes.push(`${verb} ${type.plural}${rest}`);
  };
  const client: Partial<KubeClient> = {
    apply: (type, object, options) => {
      note("apply", type, options?.subresource === undefined ? "" : `/${options.subresource}`);
      const name = object.metadata?.name ?? "";
      if (type.plural === "daemonsets") {
        if (world.refusal !== undefined) return Promise.reject(world.refusal);
        daemonSets.set(name, structuredClone(object) as DaemonSet);
        return Promise.resolve(object);
      }
      const present = services.get(name) ?? {};
      const { status = {} } = object as Service;
      const written = { ...present, status: structuredClone(status) };
      services.set(name, written);
      return Promise.resolve(written as unknown as typeof object);
    },
    patch: <T extends KubeObject>(
      type: ResourceType<T>,
      key: { name: string },
      patch: { body: object },
    ): Promise<T> => {
      note("patch", type, "");
      const present = services.get(key.name) ?? {};
      const { metadata } = patch.body as Service;
      const written = { ...present, metadata: { ...present.metadata, ...metadata } };
      services.set(key.name, written as Service);
      return Promise.resolve(written as unknown as T);
    },
    list: <T extends KubeObject>(): Promise<KubeList<T>> =>
      Promise.resolve({ items: [...daemonSets.values()] as unknown as T[], resourceVersion: "1" }),
    delete: (type, key) => {
      note("delete", type, "");
      daemonSets.delete(key.name);
      return Promise.resolve();
    },
  };
  const world: ReconcileWorld = {
    services,
    daemonSets,
    writes,
    events,
    clockMs: 1_000_000,
    refusal: undefined,
    context: {
      logger: SILENT_LOGGER,
      inquiry: { ask: () => Promise.resolve({}), forget: () => {} },
      client: client as KubeClient,
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
