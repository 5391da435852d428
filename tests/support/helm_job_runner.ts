// A node that runs the pods of Helm Jobs as a kubelet would: status, restarts, logs over the kubelet's own API. The container's program is
// klipper-helm's script if it was given, else its imitation (see klipper_helm.ts), old or new by the tag of the pod's image, with the real
// `helm` of the major that this image has, under the pod's own ServiceAccount.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import type { KubeClient } from "../../core/kube/contract.ts";
import { isConflict, isNotFound } from "../../core/kube/errors.ts";
import { type Reflector, startReflector } from "../../core/kube/reflector.ts";
import { CONFIG_MAPS, NODES, PODS, SECRETS } from "../../core/kube/resources.ts";
import type { Node, Pod } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { createCertificateAuthority } from "./certificates.ts";
import { helmWithPlugins } from "./helm_container.ts";
import type { KlipperHelm } from "./helm_entry.ts";
import { ensureHelmProgram } from "./helm_program.ts";
import { entryOf } from "./klipper_helm.ts";

/** What {@linkcode startHelmJobRunner} takes. */
export interface HelmJobRunnerOptions {
  readonly client: KubeClient;
  /** URL of the API server. */
  readonly server: string;
  /** Empty folder for files of containers. */
  readonly dir: string;
  /** Milliseconds until a failed container is started again. @default {500} */
  readonly restartDelayMs?: number;
}

/** The running node. */
export interface HelmJobRunner {
  /** Everything that containers have printed, by `namespace/pod`. */
  readonly logs: ReadonlyMap<string, string>;
  stop(): Promise<void>;
}

const NODE_NAME = "helm-node";
const DEFAULT_RESTART_DELAY_MS = 500;
const LOG_PATH_REGEXP = /^\/containerLogs\/([^/]+)\/([^/]+)\/helm$/;

/** Starts the node; it is Ready when this resolves. */
export async function startHelmJobRunner(options: HelmJobRunnerOptions): Promise<HelmJobRunner> {
  const runner = new Runner(options, {
    old: helmWithPlugins(join(options.dir, "helm-3"), await ensureHelmProgram(3)),
    new: helmWithPlugins(join(options.dir, "helm-4"), await ensureHelmProgram(4)),
  });
  await runner.start();
  return runner;
}

class Runner implements HelmJobRunner {
  readonly logs = new Map<string, string>();
  readonly #options: HelmJobRunnerOptions;
  readonly #helm: Readonly<Record<KlipperHelm, string>>;
  readonly #ending = new AbortController();
  readonly #previous = new Map<string, string>();
  readonly #running = new Map<string, Promise<void>>();
  #server: Server | undefined;
  #pods: Reflector<Pod> | undefined;

  constructor(options: HelmJobRunnerOptions, helm: Readonly<Record<KlipperHelm, string>>) {
    this.#options = options;
    this.#helm = helm;
  }

  async start(): Promise<void> {
    const { client, dir } = this.#options;
    const pki = join(dir, "pki");
    mkdirSync(pki);
    const authority = await createCertificateAuthority(pki);
    const { cert, key } = await authority.issue({ file: "helm-node", commonName: NODE_NAME, hosts: ["127.0.0.1"] });
    this.#server = createServer({ cert, key }, (request, response) => {
      const url = new URL(request.url ?? "/", "https://node");
      const [, namespace, pod] = LOG_PATH_REGEXP.exec(url.pathname) ?? [];
      const logs = url.searchParams.get("previous") === "true" ? this.#previous : this.logs;
      response.writeHead(200, { "content-type": "text/plain" }).end(logs.get(`${namespace}/${pod}`) ?? "");
    });
    await new Promise<void>((resolve) => this.#server?.listen(0, "127.0.0.1", resolve));
    await this.#register((this.#server.address() as AddressInfo).port);
    this.#pods = startReflector<Pod>({
      client,
      type: PODS,
      selection: { fieldSelector: `spec.nodeName=${NODE_NAME}` },
      clock: SYSTEM_CLOCK,
      logger: SILENT_LOGGER,
      signal: this.#ending.signal,
      onChange: ({ after }) => {
        const uid = after?.metadata?.uid;
        if (after === undefined || uid === undefined || this.#running.has(uid)) return;
        this.#running.set(uid, this.#runPod(after));
      },
    });
    await this.#pods.synced;
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await Promise.all([...this.#running.values()]);
    await this.#pods?.done;
    this.#server?.closeAllConnections();
    await new Promise<void>((resolve) => this.#server?.close(() => resolve()));
  }

  async #register(port: number): Promise<void> {
    const { client } = this.#options;
    const node: Node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: NODE_NAME, labels: { "kubernetes.io/os": "linux" } },
    };
    await client.create(NODES, node);
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const capacity = { pods: "110", cpu: "8", memory: "8Gi" };
    const status = {
      addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
      capacity,
      allocatable: capacity,
      conditions: [{
        type: "Ready",
        status: "True",
        reason: "KubeletReady",
        lastHeartbeatTime: now,
        lastTransitionTime: now,
      }],
      daemonEndpoints: { kubeletEndpoint: { Port: port } },
    };
    await client.patch(NODES, { name: NODE_NAME }, { type: "merge", body: { status } }, { subresource: "status" });
  }

  /** From the first start to success, or until the pod is to go. */
  async #runPod(pod: Pod): Promise<void> {
    const { restartDelayMs = DEFAULT_RESTART_DELAY_MS } = this.#options;
    const { signal } = this.#ending;
    try {
      let lastState: object | undefined;
      for (let restarts = 0; !this.#isLeaving(pod); restarts++) {
        const common = { restartCount: restarts, ...(lastState === undefined ? {} : { lastState }) };
        const startedAt = timestamp();
        await this.#report(pod, "Running", { ...common, state: { running: { startedAt } } });
        const exitCode = await this.#runContainer(pod);
        const terminated = {
          exitCode,
          startedAt,
          finishedAt: timestamp(),
          reason: exitCode === 0 ? "Completed" : "Error",
        };
        if (exitCode === 0) return await this.#report(pod, "Succeeded", { ...common, state: { terminated } });
        lastState = { terminated };
        this.#previous.set(this.#key(pod), this.logs.get(this.#key(pod)) ?? "");
        await this.#report(pod, "Running", {
          ...common,
          lastState,
          state: { waiting: { reason: "CrashLoopBackOff" } },
        });
        await SYSTEM_CLOCK.sleep(restartDelayMs, signal);
      }
    } catch (error) {
      if (!signal.aborted && !isNotFound(error)) throw error;
    } finally {
      await this.#remove(pod);
    }
  }

  async #runContainer(pod: Pod): Promise<number> {
    const { server, dir } = this.#options;
    const [container] = pod.spec?.containers ?? [];
    const root = mkdtempSync(join(dir, "container-"));
    const key = this.#key(pod);
    this.logs.set(key, "");
    const log = (text: string): void => void this.logs.set(key, (this.logs.get(key) ?? "") + text);
    try {
      await this.#mount(pod, root);
      const { hostname: host, port } = new URL(server);
      // Images before v0.13.0 know no label.
      const version = /:v0\.(?:[0-9]|1[0-2])\./.test(container?.image ?? "") ? "old" : "new";
      return await entryOf(version)({
        helm: this.#helm[version],
        root,
        kubeconfig: await this.#kubeconfig(pod, root),
        apiServer: { host, port },
        args: container?.args ?? [],
        env: Object.fromEntries((container?.env ?? []).map(({ name, value }) => [name, value ?? ""])),
        log,
        signal: this.#ending.signal,
      });
    } catch (error) {
      log(`Error: ${errorMessage(error)}\n`);
      return 1;
    } finally {
      rmSync(root, { recursive: true });
    }
  }

  /** The files of `values`, `content` and `auth`, where the container looks for them. */
  async #mount(pod: Pod, root: string): Promise<void> {
    const namespace = pod.metadata?.namespace ?? "";
    const { client } = this.#options;
    for (const folder of ["config", "chart", "auth", "ca-files", "tmp"]) mkdirSync(join(root, folder));
    for (const { name, projected, configMap, secret } of pod.spec?.volumes ?? []) {
      if (name === "values") {
        for (const source of projected?.sources ?? []) {
          const { data = {} } = await client.get(SECRETS, { namespace, name: source.secret?.name ?? "" });
          const items = source.secret?.items ?? Object.keys(data).map((key) => ({ key, path: key }));
          for (const { key, path } of items) {
            writeFileSync(join(root, "config", path), Buffer.from(data[key] ?? "", "base64"));
          }
        }
      } else if (name === "content") {
        const { data = {} } = await client.get(CONFIG_MAPS, { namespace, name: configMap?.name ?? "" });
        for (const [key, text] of Object.entries(data)) writeFileSync(join(root, "chart", key), text);
      } else if (name === "auth") {
        const { data = {} } = await client.get(SECRETS, { namespace, name: secret?.secretName ?? "" });
        for (const [key, text] of Object.entries(data)) {
          writeFileSync(join(root, "auth", key), Buffer.from(text, "base64"));
        }
      }
    }
  }

  /** Credentials of the pod's ServiceAccount. */
  async #kubeconfig(pod: Pod, root: string): Promise<string> {
    const namespace = pod.metadata?.namespace ?? "";
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${pod.spec?.serviceAccountName}/token`;
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
    const { status } = await this.#options.client.raw<{ status: { token: string } }>("POST", path, { body });
    const file = join(root, "kubeconfig");
    const cluster = { server: this.#options.server, "insecure-skip-tls-verify": true };
    writeFileSync(
      file,
      JSON.stringify({
        apiVersion: "v1",
        kind: "Config",
        clusters: [{ name: "test", cluster }],
        users: [{ name: "pod", user: { token: status.token } }],
        contexts: [{ name: "test", context: { cluster: "test", user: "pod", namespace } }],
        "current-context": "test",
      }),
      { mode: 0o600 },
    );
    return file;
  }

  async #report(pod: Pod, phase: string, container: object): Promise<void> {
    const { namespace = "", name = "" } = pod.metadata ?? {};
    const containerStatuses = [{ name: "helm", image: "helm", imageID: "", ready: false, ...container }];
    const ready = { type: "Ready", status: "False", lastTransitionTime: timestamp() };
    const body = {
      status: { phase, containerStatuses, conditions: [ready], startTime: pod.metadata?.creationTimestamp },
    };
    await this.#options.client.patch(PODS, { namespace, name }, { type: "merge", body }, { subresource: "status" });
  }

  #isLeaving(pod: Pod): boolean {
    const now = this.#pods?.objects.get(this.#key(pod)) ?? pod;
    return this.#ending.signal.aborted || now.metadata?.uid !== pod.metadata?.uid ||
      now.metadata?.deletionTimestamp !== undefined;
  }

  /** A pod that is to go goes when its container has ended, as with kubelet. */
  async #remove(pod: Pod): Promise<void> {
    const { namespace = "", name = "", uid = "" } = pod.metadata ?? {};
    while (!this.#isLeaving(pod)) {
      try {
        await SYSTEM_CLOCK.sleep(50, this.#ending.signal);
      } catch {
        return;
      }
    }
    if (this.#ending.signal.aborted) return;
    try {
      await this.#options.client.delete(PODS, { namespace, name }, { uid, gracePeriodSeconds: 0 });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  }

  #key(pod: Pod): string {
    return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
  }
}

function timestamp(): string {
  return new Date().toISOString().replace(/\.\d+Z$/, "Z");
}
