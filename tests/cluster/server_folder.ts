// A data folder with a server on it, for tests of what stands in the manifests folder: started, stopped and started again.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { KubeClient, ObjectKey, ResourceType } from "../../core/kube/contract.ts";
import { isKindMissing, isNotFound } from "../../core/kube/errors.ts";
import { EVENTS } from "../../core/kube/resources.ts";
import type { KubeEvent, KubeObject } from "../../core/kube/types.ts";
import type { Program } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";

const LOG_LINES = 500;

/** A data folder and the server that runs on it. */
export class ServerFolder {
  readonly dataDir: string = mkdtempSync(join(tmpdir(), "k3slb-folder-"));
  readonly #world: World;
  #server: Program | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** Starts a server on the folder; nothing is disabled but what `args` say. */
  async start(...args: readonly string[]): Promise<void> {
    const disable = args.some((arg) => arg.startsWith("--disable")) ? [] : ["--disable="];
    this.#server = await this.#world.startServer(["--data-dir", this.dataDir, ...disable, ...args]);
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
    this.#server = undefined;
  }

  /** Stops the server and removes the folder. */
  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dataDir, { recursive: true });
  }

  /** Path of a manifest. */
  path(name: string): string {
    return join(this.dataDir, "server", "manifests", name);
  }

  has(name: string): boolean {
    return existsSync(this.path(name));
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  mode(name: string): number {
    return statSync(this.path(name)).mode & 0o777;
  }

  write(name: string, text: string): void {
    mkdirSync(dirname(this.path(name)), { recursive: true });
    writeFileSync(this.path(name), text);
  }

  delete(name: string): void {
    rmSync(this.path(name));
  }

  /** The end of the server's log. */
  log(): string {
    return this.#server?.logTail(LOG_LINES) ?? "";
  }

  async waitForLog(pattern: RegExp): Promise<void> {
    await waitUntil(`${pattern} in the log`, () => pattern.test(this.log()), { explain: () => this.log() });
  }

  async waitForFile(name: string, isThere: boolean): Promise<void> {
    const what = `file ${name} to ${isThere ? "be there" : "go"}`;
    await waitUntil(what, () => this.has(name) === isThere, { explain: () => this.log() });
  }

  /** The object once `accept` takes it. */
  async waitForObject<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    accept: (object: T) => boolean = () => true,
  ): Promise<T> {
    let last: T | undefined;
    return await waitUntil(`${type.kind} ${key.name}`, async () => {
      last = await find(this.#world.admin, type, key);
      return last !== undefined && accept(last) && last;
    }, { explain: () => `it is ${JSON.stringify(last)}\n${this.log()}` });
  }

  async waitUntilGone(type: ResourceType<KubeObject>, key: ObjectKey): Promise<void> {
    await waitUntil(
      `${type.kind} ${key.name} to be gone`,
      async () => await find(this.#world.admin, type, key) === undefined,
      { explain: () => this.log() },
    );
  }

  /** An Event about an object of that name. */
  async waitForEvent(place: ObjectKey, reason: string): Promise<KubeEvent> {
    return await waitUntil(`Event ${reason} about ${place.name}`, async () => {
      const { items } = await this.#world.admin.list(EVENTS, { namespace: place.namespace ?? "default" });
      return items.find((event) => event.reason === reason && event.involvedObject.name === place.name);
    }, { explain: () => this.log() });
  }
}

/** The object; `undefined` if it, or its kind, is not there. */
export async function find<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  key: ObjectKey,
): Promise<T | undefined> {
  try {
    return await client.get(type, key);
  } catch (error) {
    if (isNotFound(error) || isKindMissing(error)) return undefined;
    throw error;
  }
}
