// A control plane and a data folder for the benchmark of manifests: servers that start and stop on the folder, files that are saved in it, a
// watch that sees when their objects change. What is measured and printed is in manifests_bench.ts.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ResourceType } from "../../core/kube/contract.ts";
import { CONFIG_MAPS, SERVICE_ACCOUNTS } from "../../core/kube/resources.ts";
import type { ConfigMap, KubeObject } from "../../core/kube/types.ts";
import type { Program } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, startWorld, type World } from "../support/world.ts";
import type { RequestCount } from "../support/world_api.ts";
import { nowMs, sum } from "./bench_world.ts";
import { cpuOf, memoryOf } from "./process_cost.ts";

const ADD_ONS: ResourceType<KubeObject> = {
  group: "k3s.cattle.io",
  version: "v1",
  kind: "Addon",
  plural: "addons",
  namespaced: true,
};
const QUIET_MS = 1_500;
const DEADLINE_MS = 60_000;

/** What a start took. */
export interface StartResult {
  /** Milliseconds from the start of the program until the first file is done, which has the program's own start in it. */
  readonly firstMs: number;
  /** The same until a watch has seen every object. */
  readonly objectsMs: number;
  /** The same until every file is done. */
  readonly recordsMs: number;
  /** Processor time of the server until then. */
  readonly cpuMs: number;
  readonly requests: readonly RequestCount[];
  readonly memory: { readonly now: number; readonly peak: number };
}

/** A control plane, a data folder that outlives its servers, and a watch on what its files make. */
export class ManifestsBench implements AsyncDisposable {
  readonly #world: World;
  readonly #namespace: string;
  readonly #dataDir = mkdtempSync(join(tmpdir(), "k3slb-bench-data-"));
  readonly #end = new AbortController();
  readonly #seen = new Map<string, { readonly value: string; readonly atMs: number }>();
  #waiters: (() => void)[] = [];
  #server: Program | undefined;

  constructor(world: World, namespace: string) {
    this.#world = world;
    this.#namespace = namespace;
    mkdirSync(this.#folder, { recursive: true });
  }

  get #folder(): string {
    return join(this.#dataDir, "server", "manifests");
  }

  write(name: string, value: string): void {
    const metadata = `metadata: {name: ${name}, namespace: ${this.#namespace}}`;
    const configMap = `apiVersion: v1\nkind: ConfigMap\n${metadata}\ndata:\n  value: "${value}"\n`;
    const account = `apiVersion: v1\nkind: ServiceAccount\n${metadata}\n`;
    writeFileSync(join(this.#folder, `${name}.yaml`), `${configMap}---\n${account}`);
  }

  /** One name for every server: to the records they are the same one, started again. */
  async start(): Promise<Program> {
    const own = ["--data-dir", this.#dataDir, "--node-name", "bench", "--disable=coredns,traefik"];
    this.#server = await this.#world.startServer([...own, "--log-level", "info"]);
    return this.#server;
  }

  /** Ends the server when it has nothing left to do: a file of which the record is not written is not known at the next start. */
  async stop(): Promise<void> {
    await untilQuiet(this.#world.api.countRequests());
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** Starts a server and waits until every file's end is in its log. */
  async timeStart(waitForObjects: () => Promise<number | void>, files: number): Promise<StartResult> {
    const count = this.#world.api.countRequests();
    const startMs = nowMs();
    const server = await this.start();
    const lines = (): number => server.logTail(10 * files).split("Applied manifest").length - 1;
    const untilApplied = async (wanted: number): Promise<number> => {
      return await waitUntil(`${wanted} files to be applied`, () => lines() >= wanted && nowMs() - startMs, {
        deadlineMs: DEADLINE_MS,
        intervalMs: 20,
        explain: () => `${lines()} are\n${server.logTail()}`,
      });
    };
    const firstMs = await untilApplied(1);
    const objectsAtMs = await waitForObjects();
    const recordsMs = await untilApplied(files);
    const cpuMs = cpuOf(server.pid);
    const requests = await untilQuiet(count);
    const objectsMs = (objectsAtMs ?? nowMs()) - startMs;
    return { firstMs, objectsMs, recordsMs, cpuMs, requests, memory: memoryOf(server.pid) };
  }

  /** Saves a file again and again; milliseconds until each change was seen. */
  async timeSaves(name: string, count: number): Promise<readonly number[]> {
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      // Not in step with anything that the server does.
      await pause(50 + Math.random() * 200);
      const startMs = nowMs();
      this.write(name, `save ${i}`);
      times.push(await this.waitFor(name, `save ${i}`) - startMs);
    }
    return times;
  }

  /** Waits until the object of a file has this value; milliseconds since 1970 when that was seen. */
  async waitFor(name: string, value: string): Promise<number> {
    const endMs = nowMs() + DEADLINE_MS;
    while (true) {
      const seen = this.#seen.get(name);
      if (seen?.value === value) return seen.atMs;
      if (nowMs() > endMs) throw new Error(`${name} has "${seen?.value}", not "${value}"\n${this.#world.logs()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 1_000);
        this.#waiters.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** The same for many; when the last one was seen. */
  async waitForAll(names: readonly string[], value: string): Promise<number> {
    let last = 0;
    for (const name of names) last = Math.max(last, await this.waitFor(name, value));
    return last;
  }

  /** What the server asks and computes while nobody saves anything. */
  async timeIdle(seconds: number): Promise<{ readonly requests: number; readonly cpuMs: number }> {
    await untilQuiet(this.#world.api.countRequests());
    const pid = this.#server?.pid ?? 0;
    const [count, cpuMs] = [this.#world.api.countRequests(), cpuOf(pid)];
    await pause(seconds * 1000);
    return { requests: sum(ownRequests(count())), cpuMs: cpuOf(pid) - cpuMs };
  }

  /** Version of every object that the files make, AddOns among them. */
  async versions(): Promise<ReadonlyMap<string, string>> {
    const { admin } = this.#world;
    const lists = await Promise.all([
      admin.list<KubeObject>(CONFIG_MAPS, { namespace: this.#namespace }),
      admin.list<KubeObject>(SERVICE_ACCOUNTS, { namespace: this.#namespace }),
      admin.list(ADD_ONS, { namespace: "kube-system" }),
    ]);
    return new Map(
      lists.flatMap(({ items }) =>
        items.map(({ metadata }) => [metadata?.uid ?? "", metadata?.resourceVersion ?? ""] as const)
      ),
    );
  }

  /** Follows the ConfigMaps; resolves when it does. */
  async watch(): Promise<void> {
    const { resourceVersion } = await this.#world.admin.list(CONFIG_MAPS, { namespace: this.#namespace });
    void this.#follow(resourceVersion);
  }

  async #follow(from: string): Promise<void> {
    const { signal } = this.#end;
    const selection = { namespace: this.#namespace, resourceVersion: from, timeoutSeconds: 1_800, signal };
    try {
      for await (const { type, object } of this.#world.admin.watch(CONFIG_MAPS, selection)) {
        if (type !== "BOOKMARK") this.#note(object);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  #note({ metadata, data }: ConfigMap): void {
    const [name, value] = [metadata?.name ?? "", data?.["value"] ?? ""];
    if (this.#seen.get(name)?.value !== value) this.#seen.set(name, { value, atMs: nowMs() });
    for (const wake of this.#waiters.splice(0)) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#world.stop();
    rmSync(this.#dataDir, { recursive: true, force: true });
  }
}

/** Starts a world for the benchmark; nothing is in the folder and no server runs. */
export async function startManifestsBench(): Promise<ManifestsBench> {
  const world = await startWorld({ server: "real", nodes: 1, dualStack: false, agents: false, servers: 0 });
  const bench = new ManifestsBench(world, (await world.namespace("bench")).name);
  await bench.watch();
  return bench;
}

/** Requests by the server, watches and its election apart. */
function ownRequests(requests: readonly RequestCount[]): readonly RequestCount[] {
  return requests.filter(({ user, verb, resource }) =>
    user === SERVER_USER && verb !== "watch" && resource !== "leases"
  );
}

/** Requests since `count` was made, once the server makes no more. */
async function untilQuiet(count: () => readonly RequestCount[]): Promise<readonly RequestCount[]> {
  let [last, sinceMs] = [-1, nowMs()];
  return await waitUntil("the server to be quiet", () => {
    const found = ownRequests(count());
    if (sum(found) !== last) [last, sinceMs] = [sum(found), nowMs()];
    return nowMs() - sinceMs > QUIET_MS && found;
  }, { deadlineMs: DEADLINE_MS, intervalMs: 500 });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
