// A real control plane on this machine: etcd, kube-apiserver (Node authorizer, NodeRestriction, audit log), controller-manager
// and scheduler, with a certificate authority of its own. No kubelets: those are in kubelet.ts.
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import {
  type CertificateAuthority,
  createCertificateAuthority,
  createSigningKey,
  renderKubeconfig,
} from "./certificates.ts";
import { type ApiRequest, AUDIT_POLICY, readAuditLog } from "./control_plane_audit.ts";
import {
  type ControlPlaneProgramName,
  type ControlPlanePrograms,
  ensureControlPlaneProgram,
} from "./control_plane_program.ts";
import { type Program, startProgram } from "./programs.ts";
import { waitUntil } from "./wait.ts";

/** What {@linkcode startControlPlane} takes. */
export interface ControlPlaneOptions {
  /** Folder for data, certificates and logs; it must exist and be empty. */
  readonly dir: string;
  /**
   * Address of the API server in kubeconfigs and in `advertiseAddress`; it listens on every address.
   * @default {"127.0.0.1"}
   */
  readonly host?: string;
  /** Port of the API server; a free one if absent. */
  readonly port?: number;
  /** @default {["10.43.0.0/16"]} */
  readonly serviceCidrs?: readonly string[];
  /** Lift the request limits of controller-manager (20/s) and scheduler (50/s). */
  readonly liftClientLimits?: boolean;
  /**
   * Seconds without a heartbeat after which a node is Unknown.
   * @default {50}
   */
  readonly nodeMonitorGracePeriodSeconds?: number;
  /** More arguments, by program. */
  readonly extraArgs?: Partial<Readonly<Record<ControlPlaneProgramName, readonly string[]>>>;
}

/** A running control plane. */
export interface ControlPlane {
  readonly server: string;
  readonly dir: string;
  /** Certificate of the authority that signs every certificate. */
  readonly caFile: string;
  /** Kubeconfig file of a member of `system:masters`. */
  readonly adminKubeconfig: string;
  /** Writes the kubeconfig file of any user; the same file for the same user. */
  kubeconfigFor(user: string, groups?: readonly string[]): Promise<string>;
  /** Kubeconfig file of a kubelet. */
  nodeKubeconfig(nodeName: string): Promise<string>;
  /** Command of `kubectl` as administrator; empty if the programs come without it. */
  readonly kubectl: readonly string[];
  /** A place in the audit log, for {@linkcode requestsSince}. */
  auditMark(): number;
  /** Requests that ended (watches: started) since a mark. */
  requestsSince(mark: number): readonly ApiRequest[];
  /** The API server keeps its connections and answers nothing. */
  pauseApiServer(): void;
  resumeApiServer(): void;
  /** SIGKILL; connections are reset and refused. */
  killApiServer(): Promise<void>;
  /** Starts the API server again on the same port; resolves when it is ready. */
  restartApiServer(): Promise<void>;
  /** Controller-manager and scheduler. */
  controllers(): readonly Program[];
  /** Keeps a copy of etcd's data as it is now. */
  saveEtcd(): Promise<void>;
  /** Puts the copy in the place of etcd's data and starts all programs anew, as after a restore from a backup. */
  restoreEtcd(): Promise<void>;
  /** Last lines of each program's log. */
  logTails(lines?: number): string;
  stop(): Promise<void>;
}

/** Starts a control plane; resolves when all four programs are ready. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const programs = await ensureControlPlaneProgram();
  const files = await prepareFiles(options);
  const [etcdPort, peerPort, managerPort, schedulerPort, freePort] = await freePorts(5);
  const apiPort = options.port ?? freePort ?? 0;
  const host = options.host ?? "127.0.0.1";
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${apiPort}`;
  const kubeconfigs = createKubeconfigStore(files.authority, options.dir, server);
  const start = (name: ControlPlaneProgramName, args: readonly string[]): Program =>
    startProgram({
      name,
      command: [...programs(name), ...args, ...(options.extraArgs?.[name] ?? [])],
      logFile: join(options.dir, `${name}.log`),
      cwd: options.dir,
    });

  const etcdDir = join(options.dir, "etcd");
  const startEtcd = (): Program =>
    start("etcd", [
      `--data-dir=${etcdDir}`,
      `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
      `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
      `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peerPort}`,
      `--initial-cluster=default=http://127.0.0.1:${peerPort}`,
      "--unsafe-no-fsync",
      "--log-level=warn",
    ]);
  let etcd = startEtcd();
  const startApiServer = (): Program =>
    start("kube-apiserver", [
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      ...(host.startsWith("127.") ? [] : [`--advertise-address=${host}`]),
      `--secure-port=${apiPort}`,
      `--service-cluster-ip-range=${(options.serviceCidrs ?? ["10.43.0.0/16"]).join(",")}`,
      ...files.apiServerArgs,
    ]);
  let apiServer = startApiServer();
  const managerKubeconfig = await kubeconfigs.write("system:kube-controller-manager", []);
  const schedulerKubeconfig = await kubeconfigs.write("system:kube-scheduler", []);
  const adminKubeconfig = await kubeconfigs.write("admin", ["system:masters"]);
  const clients = await kubeconfigs.adminAgent();

  const ready = async (program: Program, url: string): Promise<void> => {
    await waitUntil(`${program.name} to be ready`, async () => {
      if (!program.running) return false;
      return (await getStatus(url, clients)) === 200;
    }, {
      deadlineMs: 90_000,
      intervalMs: 100,
      explain: () => `status ${program.exitStatus ?? "running"}\n${program.logTail(20)}`,
    });
  };
  let started: readonly Program[] = [];
  const stop = async (): Promise<void> => {
    apiServer.resume();
    // The API server goes before etcd, else it waits for it.
    await Promise.all(started.map((program) => program.kill()));
    await apiServer.kill();
    await etcd.kill();
    clients.destroy();
  };
  const startControllers = async (): Promise<void> => {
    await ready(apiServer, `${server}/readyz`);
    const manager = start("kube-controller-manager", [
      `--kubeconfig=${managerKubeconfig}`,
      ...files.managerArgs,
      `--secure-port=${managerPort}`,
      `--node-monitor-grace-period=${options.nodeMonitorGracePeriodSeconds ?? 50}s`,
      ...(options.liftClientLimits ? ["--kube-api-qps=2000", "--kube-api-burst=4000"] : []),
    ]);
    const schedulerConfig = join(options.dir, "scheduler.json");
    writeFileSync(schedulerConfig, renderSchedulerConfig(schedulerKubeconfig, options.liftClientLimits ?? false));
    const scheduler = start("kube-scheduler", [
      `--config=${schedulerConfig}`,
      `--secure-port=${schedulerPort}`,
      "--bind-address=127.0.0.1",
      "--authentication-skip-lookup",
    ]);
    started = [manager, scheduler];
    await ready(manager, `https://127.0.0.1:${managerPort}/healthz`);
    await ready(scheduler, `https://127.0.0.1:${schedulerPort}/healthz`);
  };
  try {
    await startControllers();
  } catch (error) {
    await stop();
    throw error;
  }
  const auditLog = join(options.dir, "audit.log");
  return {
    server,
    dir: options.dir,
    caFile: files.authority.caFile,
    adminKubeconfig,
    kubeconfigFor: (user, groups = []) => kubeconfigs.write(user, groups),
    nodeKubeconfig: (name) => kubeconfigs.write(`system:node:${name}`, ["system:nodes"]),
    kubectl: kubectlCommand(programs, adminKubeconfig),
    auditMark: () => readAuditLog(auditLog, 0).end,
    requestsSince: (mark) => readAuditLog(auditLog, mark).requests,
    pauseApiServer: () => apiServer.pause(),
    resumeApiServer: () => apiServer.resume(),
    killApiServer: async () => {
      await apiServer.kill();
    },
    restartApiServer: async () => {
      await apiServer.kill();
      apiServer = startApiServer();
      await ready(apiServer, `${server}/readyz`);
    },
    controllers: () => started,
    saveEtcd: async () => {
      await etcd.kill();
      cpSync(etcdDir, `${etcdDir}-saved`, { recursive: true });
      etcd = startEtcd();
      await ready(apiServer, `${server}/readyz`);
    },
    restoreEtcd: async () => {
      await Promise.all([...started, apiServer].map((program) => program.kill()));
      await etcd.kill();
      rmSync(etcdDir, { recursive: true });
      cpSync(`${etcdDir}-saved`, etcdDir, { recursive: true });
      etcd = startEtcd();
      apiServer = startApiServer();
      await startControllers();
    },
    logTails: (lines = 15) =>
      [apiServer, etcd, ...started].map((program) => `--- ${program.name}\n${program.logTail(lines)}`).join("\n"),
    stop,
  };
}

interface PreparedFiles {
  readonly authority: CertificateAuthority;
  readonly apiServerArgs: readonly string[];
  readonly managerArgs: readonly string[];
}

async function prepareFiles(options: ControlPlaneOptions): Promise<PreparedFiles> {
  const pki = join(options.dir, "pki");
  const authority = await createCertificateAuthority(pki);
  const serving = await authority.issue({
    file: "server",
    commonName: "kube-apiserver",
    hosts: [
      ...["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
      ...["kubernetes.default.svc.cluster.local", "10.43.0.1", ...(options.host ? [options.host] : [])],
    ],
  });
  // What kubelets ask for when the API server wants logs of them, or a command in a container.
  const toKubelets = await authority.issue({
    file: "kubelet-client",
    commonName: "kube-apiserver-kubelet-client",
    organizations: ["system:masters"],
  });
  const signing = await createSigningKey(pki);
  const auditPolicy = join(options.dir, "audit-policy.json");
  writeFileSync(auditPolicy, AUDIT_POLICY);
  return {
    authority,
    apiServerArgs: [
      `--tls-cert-file=${serving.certFile}`,
      `--tls-private-key-file=${serving.keyFile}`,
      `--client-ca-file=${authority.caFile}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${signing.publicFile}`,
      `--service-account-signing-key-file=${signing.privateFile}`,
      `--kubelet-client-certificate=${toKubelets.certFile}`,
      `--kubelet-client-key=${toKubelets.keyFile}`,
      "--kubelet-preferred-address-types=InternalIP",
      "--authorization-mode=Node,RBAC",
      "--enable-admission-plugins=NodeRestriction",
      "--allow-privileged=true",
      "--profiling=false",
      `--audit-policy-file=${auditPolicy}`,
      `--audit-log-path=${join(options.dir, "audit.log")}`,
    ],
    managerArgs: [
      `--service-account-private-key-file=${signing.privateFile}`,
      `--root-ca-file=${authority.caFile}`,
      "--use-service-account-credentials=true",
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      "--authentication-skip-lookup",
    ],
  };
}

function createKubeconfigStore(authority: CertificateAuthority, dir: string, server: string): {
  write(user: string, groups: readonly string[]): Promise<string>;
  adminAgent(): Promise<Agent>;
} {
  const written = new Map<string, Promise<string>>();
  const folder = join(dir, "kubeconfigs");
  mkdirSync(folder, { recursive: true });
  const make = async (user: string, groups: readonly string[]): Promise<string> => {
    const file = `${user}${groups.map((group) => `-${group}`).join("")}`.replaceAll(/[^\w.-]/g, "_");
    const client = await authority.issue({ file: `client-${file}`, commonName: user, organizations: groups });
    const path = join(folder, `${file}.yaml`);
    writeFileSync(path, renderKubeconfig(server, authority.ca, client), { mode: 0o600 });
    return path;
  };
  return {
    write: (user, groups) => {
      const key = JSON.stringify([user, groups]);
      const file = written.get(key) ?? make(user, groups);
      written.set(key, file);
      return file;
    },
    adminAgent: async () => {
      const client = await authority.issue({
        file: "client-readiness",
        commonName: "readiness",
        organizations: ["system:masters"],
      });
      // Controller-manager and scheduler serve with certificates that they signed themselves.
      return new Agent({ rejectUnauthorized: false, cert: client.cert, key: client.key, keepAlive: false });
    },
  };
}

function renderSchedulerConfig(kubeconfig: string, lifted: boolean): string {
  return JSON.stringify({
    apiVersion: "kubescheduler.config.k8s.io/v1",
    kind: "KubeSchedulerConfiguration",
    leaderElection: { leaderElect: false },
    clientConnection: { kubeconfig, ...(lifted ? { qps: 2000, burst: 4000 } : {}) },
  });
}

function kubectlCommand(programs: ControlPlanePrograms, kubeconfig: string): readonly string[] {
  return [...programs("kubectl"), `--kubeconfig=${kubeconfig}`];
}

/** HTTP status of a GET, `0` if there was no answer. */
function getStatus(url: string, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const call = request(url, { agent, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(0));
    call.end();
  });
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
        const server = createServer();
        server.once("error", reject);
        server.listen(0, "127.0.0.1", () => resolve(server));
      })),
  );
  return await Promise.all(servers.map((server) =>
    new Promise<number>((resolve) => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    })
  ));
}
