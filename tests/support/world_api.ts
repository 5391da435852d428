// The API server of a test world: the in-memory one or a real control plane, behind one face.
// Users get client certificates from one authority in both, so that authorization is the same.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createCertificateAuthority, renderKubeconfig } from "./certificates.ts";
import { startControlPlane } from "./control_plane.ts";
import type { ApiRequest } from "./control_plane_audit.ts";
import { type Fault, type FaultEffect } from "./memory_api/faults.ts";
import { SERVICE_RANGES } from "./node_machine_config.ts";
import { startMemoryApi } from "./memory_api/memory_api.ts";

/** What a world is made of: an API server in memory, a real control plane, or that with real nodes too. */
export type WorldKind = "memory" | "real" | "nodes";

/** Requests of one kind by one user. */
export interface RequestCount {
  readonly user: string;
  readonly verb: string;
  /** Plural name with the subresource, such as `pods/status`. */
  readonly resource: string;
  readonly count: number;
}

/** An API server with everything that turns DaemonSets into pods. */
export interface WorldApi {
  readonly kind: WorldKind;
  readonly url: string;
  /** Certificate of the authority that signs every certificate. */
  readonly caFile: string;
  /** Command of `kubectl` as administrator; empty if the world comes without it. */
  readonly kubectl: readonly string[];
  /** Kubeconfig file for a user. */
  kubeconfig(user: string, groups: readonly string[]): Promise<string>;
  /** Starts to count; the returned function says what was asked since. */
  countRequests(): () => readonly RequestCount[];
  /** Starts to read the audit log; the returned function gives every request since. Only the real server has one. */
  audit(): () => readonly ApiRequest[];
  /** No answers at all (`hang`), or connections refused or cut (`refuse`); the returned function ends the outage. */
  breakDown(how: "hang" | "refuse"): Promise<() => Promise<void>>;
  /** Freezes one of the control plane's own loops; the returned function lets it go on. Only the real one has them as programs. */
  pauseController(name: "kube-controller-manager" | "kube-scheduler"): () => void;
  /** Backs up etcd; the returned function restores it. Only the real control plane can. */
  backUp(): Promise<() => Promise<void>>;
  /** Orders a fault; only the in-memory server can. The returned function takes it back. */
  addFault(fault: Fault): () => void;
  /** Ends every watch with 410 Gone; only the in-memory server can. */
  expireWatches(): void;
  logTails(): string;
  stop(): Promise<void>;
}

/** What {@linkcode startWorldApi} takes. */
export interface WorldApiOptions {
  readonly kind: WorldKind;
  readonly dir: string;
  /** Address that every node can reach. */
  readonly host: string;
  readonly dualStack: boolean;
  readonly liftClientLimits?: boolean;
  readonly nodeGraceSeconds?: number;
}

/** Starts the API server; resolves when it is ready. */
export function startWorldApi(options: WorldApiOptions): Promise<WorldApi> {
  return options.kind === "memory" ? startInMemoryApi(options) : startRealApi(options);
}

async function startRealApi(options: WorldApiOptions): Promise<WorldApi> {
  const plane = await startControlPlane({
    dir: options.dir,
    host: options.host,
    port: 6443,
    serviceCidrs: [SERVICE_RANGES.IPv4, ...(options.dualStack ? [SERVICE_RANGES.IPv6] : [])],
    liftClientLimits: options.liftClientLimits ?? true,
    ...(options.nodeGraceSeconds === undefined ? {} : { nodeMonitorGracePeriodSeconds: options.nodeGraceSeconds }),
  });
  const needsMemory = (): never => {
    throw new Error('Only the in-memory API server has faults on order: run with K3SLB_WORLD="memory"');
  };
  return {
    kind: options.kind,
    url: plane.server,
    caFile: plane.caFile,
    kubectl: plane.kubectl,
    kubeconfig: plane.kubeconfigFor,
    countRequests: () => {
      const mark = plane.auditMark();
      return () => {
        const counts = new Map<string, RequestCount>();
        for (const { user, verb, resource, subresource } of plane.requestsSince(mark)) {
          const full = subresource === "" ? resource : `${resource}/${subresource}`;
          const key = `${user} ${verb} ${full}`;
          counts.set(key, { user, verb, resource: full, count: (counts.get(key)?.count ?? 0) + 1 });
        }
        return [...counts.values()];
      };
    },
    audit: () => {
      const mark = plane.auditMark();
      return () => plane.requestsSince(mark);
    },
    breakDown: async (how) => {
      if (how === "hang") {
        plane.pauseApiServer();
        return () => Promise.resolve(plane.resumeApiServer());
      }
      await plane.killApiServer();
      return plane.restartApiServer;
    },
    pauseController: (name) => {
      const program = plane.controllers().find((one) => one.name === name);
      program?.pause();
      return () => program?.resume();
    },
    backUp: async () => {
      await plane.saveEtcd();
      return plane.restoreEtcd;
    },
    addFault: needsMemory,
    expireWatches: needsMemory,
    logTails: () => plane.logTails(),
    stop: plane.stop,
  };
}

async function startInMemoryApi(options: WorldApiOptions): Promise<WorldApi> {
  const authority = await createCertificateAuthority(join(options.dir, "pki"));
  const api = await startMemoryApi({
    host: options.host,
    port: 6443,
    authority,
    ...(options.nodeGraceSeconds === undefined ? {} : { nodeGraceMs: options.nodeGraceSeconds * 1000 }),
  });
  const kubeconfigs = join(options.dir, "kubeconfigs");
  mkdirSync(kubeconfigs, { recursive: true });
  return {
    kind: "memory",
    url: api.url,
    caFile: authority.caFile,
    kubectl: [],
    kubeconfig: async (user, groups) => {
      const name = user.replaceAll(/[^\w.-]/g, "_");
      const client = await authority.issue({ file: `client-${name}`, commonName: user, organizations: groups });
      const file = join(kubeconfigs, `${name}.yaml`);
      writeFileSync(file, renderKubeconfig(api.url, authority.ca, client), { mode: 0o600 });
      return file;
    },
    countRequests: () => {
      const keyOf = (line: RequestCount): string => `${line.user} ${line.verb} ${line.resource}`;
      const before = new Map(api.requests.list().map((line) => [keyOf(line), line.count]));
      return () =>
        api.requests.list()
          .map((line) => ({ ...line, count: line.count - (before.get(keyOf(line)) ?? 0) }))
          .filter((line) => line.count > 0);
    },
    audit: () => {
      throw new Error('Only the real API server writes an audit log: run with K3SLB_WORLD="real"');
    },
    breakDown: (how) => {
      const effect: FaultEffect = how === "hang" ? { type: "hang" } : { type: "close" };
      const end = api.faults.add({ effect });
      if (how === "refuse") api.closeConnections();
      return Promise.resolve(() => {
        end();
        // What hangs would hang for ever: a server that comes back after SIGCONT answers, this one cuts.
        api.closeConnections();
        return Promise.resolve();
      });
    },
    pauseController: () => {
      throw new Error('Only the real control plane has programs to freeze: run with K3SLB_WORLD="real"');
    },
    backUp: () => {
      throw new Error('Only the real control plane has an etcd to restore: run with K3SLB_WORLD="real"');
    },
    addFault: (fault) => api.faults.add(fault),
    expireWatches: api.expireWatches,
    logTails: () => "",
    stop: api.stop,
  };
}
