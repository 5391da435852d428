// A real control plane with the binary as server and agents, and what is timed on it: Services until their status, until they answer, until
// they are gone; requests from the audit log; memory from /proc. Kubelets are simulated, agents and packets are real.
import type { KubeClient } from "../../core/kube/contract.ts";
import { PODS, SERVICES } from "../../core/kube/resources.ts";
import type { Pod, Service } from "../../core/kube/types.ts";
import { SERVICE_NAME_LABEL } from "../../core/service/labels.ts";
import { SERVER_USER, startWorld, type World } from "../support/world.ts";
import type { RequestCount } from "../support/world_api.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { waitUntil } from "../support/wait.ts";
import { type LoadClient, startLoadClient, startLoadServer } from "./load_peer_client.ts";
import { cpuOf } from "./process_cost.ts";

/** Limits of controller-manager (20 requests/s) and scheduler (50/s): as they are by default, as in K3s, or lifted. */
export type Profile = "default limits" | "limits lifted";

/** What {@linkcode startBenchWorld} takes. */
export interface BenchWorldOptions {
  readonly profile: Profile;
  readonly nodes: number;
  /** Real agents; else kubelets say True to the gates themselves. */
  readonly agents: boolean;
  /**
   * Real kubelets, containers and kube-proxy.
   * @default {false}
   */
  readonly realNodes?: boolean;
  /** Flags of the server beside those of every bench. */
  readonly serverArgs?: readonly string[];
}

/** What a batch of Services took. */
export interface BatchResult extends Omit<BatchOptions, "answers"> {
  /** Milliseconds from the request that creates a Service to a status with every node, one for each Service. */
  readonly statusMs: readonly number[];
  /** The same to the first answered connection at the last node, from the first create of those made at once; empty unless asked for. */
  readonly answerMs: readonly number[];
  /** Connections that failed right after the status named their address. */
  readonly failedAtOnce: number;
  /** Requests by the server, watches and its election apart. */
  readonly requests: readonly RequestCount[];
  /**
   * Requests by whoever is part of the cluster: server, agents, kubelets, controllers; watches, Leases, reviews of rights, and what the API
   * server asks itself while it makes a Service apart.
   */
  readonly clusterRequests: readonly RequestCount[];
  /** Processor time of the server in milliseconds, until it made no more requests. */
  readonly serverMs: number;
  readonly names: readonly string[];
}

/** What a batch is. */
export interface BatchOptions {
  readonly count: number;
  /** All at once, or each when the one before is done. */
  readonly atOnce: boolean;
  /** Look for the first answer; it takes a processor, so not in large batches. */
  readonly answers: boolean;
}

/** What has been seen of one Service. */
interface SeenStatus {
  ips: string;
  atMs: number;
}

/** A Service to make. */
interface ServiceWish {
  readonly name: string;
  readonly port: number;
}

const APP = "app";
const CREATES_AT_ONCE = 16;
/** Above the ports that are kept for the nodes themselves, below those of other tests. */
const FIRST_PORT = 11_000;
const READY_DEADLINE_MS = 300_000;

/** A world with an app of two pods that every Service selects. */
export class BenchWorld implements AsyncDisposable {
  readonly world: World;
  readonly ns: TestNamespace;
  readonly client: LoadClient;
  readonly agents: boolean;
  readonly #seen = new Map<string, SeenStatus>();
  readonly #restMs: number;
  readonly #end = new AbortController();
  #waiters: (() => void)[] = [];
  /** Services that stay have ports from here on. */
  readonly firstMeasuredPort = FIRST_PORT + 1;
  #nextPort = FIRST_PORT;
  #nextName = 1;

  /** @param parts.restMs From one Service to the next of those that are made one by one: containers of the one before have started by then. */
  constructor(parts: { world: World; ns: TestNamespace; client: LoadClient; agents: boolean; restMs: number }) {
    this.#restMs = parts.restMs;
    this.world = parts.world;
    this.ns = parts.ns;
    this.client = parts.client;
    this.agents = parts.agents;
  }

  /** Makes Services and waits for their status. */
  async createBatch({ count, atOnce, answers }: BatchOptions): Promise<BatchResult> {
    const finishCount = this.countRequests();
    const countAll = this.world.api.countRequests();
    const server = this.world.servers.at(-1)?.pid ?? 0;
    const fromMs = cpuOf(server);
    const wishes = Array.from({ length: count }, () => ({ name: `s${this.#nextName++}`, port: this.#nextPort++ }));
    const statusMs: number[] = [];
    const answerMs: number[] = [];
    let failedAtOnce = 0;
    const waitForStatus = async ({ name }: ServiceWish, createdAtMs: number): Promise<void> => {
      statusMs.push(await this.waitForIngress(name, this.world.nodeIps) - createdAtMs);
    };
    if (atOnce) {
      const targets = wishes.map(({ port }) => ({ ip: this.world.nodeIps.at(-1) ?? "", port }));
      const answered = answers ? this.client.waitForAnswers({ targets, deadlineMs: READY_DEADLINE_MS }) : undefined;
      const startMs = nowMs();
      await this.#createAll(wishes, waitForStatus);
      answerMs.push(...((await answered)?.answeredAtMs ?? []).map((at) => at - startMs));
      if (this.agents) { for (const { port } of wishes) failedAtOnce += await this.#failuresAt(port); }
    } else {
      for (const wish of wishes) {
        const target = { ip: this.world.nodeIps.at(-1) ?? "", port: wish.port };
        const answered = answers
          ? this.client.waitForAnswers({ targets: [target], deadlineMs: READY_DEADLINE_MS })
          : undefined;
        const startMs = nowMs();
        await this.#create(wish);
        await waitForStatus(wish, startMs);
        const at = (await answered)?.answeredAtMs[0];
        if (at !== undefined) answerMs.push(at - startMs);
        if (this.agents) failedAtOnce += await this.#failuresAt(wish.port);
        await new Promise((resolve) => setTimeout(resolve, this.#restMs));
      }
    }
    const requests = await finishCount();
    return {
      count,
      atOnce,
      clusterRequests: countAll().filter(isOfCluster),
      serverMs: cpuOf(server) - fromMs,
      statusMs,
      answerMs,
      failedAtOnce,
      requests,
      names: wishes.map(({ name }) => name),
    };
  }

  /** Starts to count the server's requests; the returned function waits until it makes no more. */
  countRequests(): () => Promise<readonly RequestCount[]> {
    const count = this.world.api.countRequests();
    const own = (): readonly RequestCount[] =>
      count().filter(({ user, verb, resource }) => user === SERVER_USER && verb !== "watch" && resource !== "leases");
    return async () => {
      let last = -1;
      let quietSinceMs = nowMs();
      return await waitUntil("the server to be quiet", () => {
        const found = own();
        const total = sum(found);
        if (total !== last) quietSinceMs = nowMs();
        last = total;
        return nowMs() - quietSinceMs > 3_000 && found;
      }, { deadlineMs: 60_000, intervalMs: 500 });
    };
  }

  /** Waits until a Service has exactly these addresses; milliseconds since 1970 when that was seen. */
  async waitForIngress(name: string, ips: readonly string[]): Promise<number> {
    const wanted = keyOf(ips);
    const endMs = nowMs() + READY_DEADLINE_MS;
    while (true) {
      const seen = this.#seen.get(name);
      if (seen?.ips === wanted) return seen.atMs;
      if (nowMs() > endMs) throw new Error(`Service ${name} has "${seen?.ips}", not "${wanted}"\n${this.world.logs()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Does something and waits until each Service has these addresses; milliseconds, one for each Service. */
  async timeChange(
    names: readonly string[],
    { change, ips = this.world.nodeIps }: { change: () => Promise<void>; ips?: readonly string[] },
  ): Promise<readonly number[]> {
    const startMs = nowMs();
    await change();
    return (await Promise.all(names.map((name) => this.waitForIngress(name, ips)))).map((at) => at - startMs);
  }

  /** Deletes Services at once; milliseconds until each is gone. Waits for their pods too, as nobody else's figures are to have them. */
  async deleteAll(names: readonly string[]): Promise<readonly number[]> {
    const startMs = nowMs();
    const queue = [...names];
    const worker = async (): Promise<void> => {
      for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
        await this.world.admin.delete(SERVICES, { namespace: this.ns.name, name });
      }
    };
    await Promise.all(Array.from({ length: CREATES_AT_ONCE }, worker));
    const gone: number[] = [];
    const left = new Set(names);
    while (left.size > 0) {
      for (const name of left) {
        if (this.#seen.has(name)) continue;
        left.delete(name);
        gone.push(nowMs() - startMs);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const isDeleted = ({ metadata }: Pod): boolean => names.includes(metadata?.labels?.[SERVICE_NAME_LABEL] ?? "");
    await waitUntil("the pods to be gone", async () => {
      return !(await this.world.admin.list(PODS, { labelSelector: SERVICE_NAME_LABEL })).items.some(isDeleted);
    }, { deadlineMs: 120_000, intervalMs: 500 });
    return gone;
  }

  /** No more than {@linkcode CREATES_AT_ONCE} requests at a time, as a busy client has; the waits for statuses overlap. */
  async #createAll(
    wishes: readonly ServiceWish[],
    wait: (wish: ServiceWish, createdAtMs: number) => Promise<void>,
  ): Promise<void> {
    const waits: Promise<void>[] = [];
    const queue = [...wishes];
    const worker = async (): Promise<void> => {
      for (let wish = queue.shift(); wish !== undefined; wish = queue.shift()) {
        const startMs = nowMs();
        await this.#create(wish);
        waits.push(wait(wish, startMs));
      }
    };
    await Promise.all(Array.from({ length: CREATES_AT_ONCE }, worker));
    await Promise.all(waits);
  }

  async #create({ name, port }: ServiceWish): Promise<void> {
    await this.ns.createService({ name, ports: [port], app: APP });
  }

  async #failuresAt(port: number): Promise<number> {
    let failed = 0;
    for (const ip of this.world.nodeIps) {
      failed += (await this.client.load({ kind: "connect", target: { ip, port }, durationMs: 1 })).failed;
    }
    return failed;
  }

  /** Follows the Services; resolves when it does. */
  async watch(): Promise<void> {
    const { admin } = this.world;
    const selection = { namespace: this.ns.name };
    const { resourceVersion } = await admin.list(SERVICES, selection);
    void this.#follow(admin, resourceVersion);
  }

  async #follow(admin: KubeClient, from: string): Promise<void> {
    const { signal } = this.#end;
    let resourceVersion = from;
    while (!signal.aborted) {
      try {
        const selection = { namespace: this.ns.name, resourceVersion, timeoutSeconds: 1_800, signal };
        for await (const { type, object } of admin.watch(SERVICES, selection)) {
          resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
          if (type !== "BOOKMARK") this.#note(object, type === "DELETED");
        }
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }

  #note(service: Service, deleted: boolean): void {
    const name = service.metadata?.name ?? "";
    if (deleted) this.#seen.delete(name);
    else {
      const ips = keyOf((service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? ""));
      const known = this.#seen.get(name);
      if (known?.ips !== ips) this.#seen.set(name, { ips, atMs: nowMs() });
    }
    for (const wake of this.#waiters.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.client.stop();
    await this.world.stop();
  }
}

/** Starts a world for a benchmark; nodes are Ready, the server has made one Service. */
export async function startBenchWorld(options: BenchWorldOptions): Promise<BenchWorld> {
  const world = await startWorld({
    server: options.realNodes ? "nodes" : "real",
    nodes: options.nodes,
    dualStack: false,
    agents: options.agents,
    liftClientLimits: options.profile === "limits lifted",
    serverArgs: ["--log-level", "info", ...options.serverArgs ?? []],
  });
  const ns = await world.namespace("bench");
  const client = await startLoadClient(world.client.ns);
  const bench = new BenchWorld({ world, ns, client, agents: options.agents, restMs: options.realNodes ? 3_000 : 0 });
  await bench.watch();
  // Servers of its own, on the port that Services mean: the ones of tests end when a connection is cut by a reset.
  for (const node of world.nodes.slice(0, 2)) {
    const [name = ""] = await ns.createApp({ name: APP, nodes: [node.name], serve: ["tcp/9"] });
    const pod = await node.pod(ns.name, name);
    if (pod) await startLoadServer(pod.ns);
  }
  // The first one takes the way that everything takes the first time: it is not measured.
  const { names } = await bench.createBatch({ count: 1, atOnce: false, answers: options.agents });
  await bench.deleteAll(names);
  return bench;
}

function isOfCluster({ user, verb, resource }: RequestCount): boolean {
  const isPart = user === SERVER_USER || (user.startsWith("system:") && user !== "system:apiserver");
  return isPart && verb !== "watch" && resource !== "leases" && !resource.endsWith("reviews");
}

/** Sum of counts. */
export function sum(requests: readonly RequestCount[]): number {
  return requests.reduce((total, { count }) => total + count, 0);
}

/** Milliseconds since 1970, with fractions, the same clock in every process. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

function keyOf(ips: readonly string[]): string {
  return [...ips].sort().join(" ");
}
