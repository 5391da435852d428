// Several servers, each with a manifests folder of its own under the same path, as on several machines: one works, another takes
// over, and what their files differ in is told and applied once. Each server sees its own folder through a mount namespace.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONFIG_MAPS, EVENTS, LEASES } from "../../core/kube/resources.ts";
import type { ConfigMap, Lease } from "../../core/kube/types.ts";
import { ADD_ONS, type AddOn, SERVER_ANNOTATION } from "../../core/manifests/record/addon.ts";
import { enterWorld } from "../support/netns.ts";
import { type Program, startProgram } from "../support/programs.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { cleanEnvironment, programCommand } from "../support/world_node.ts";
import { worldSuite } from "../support/world_suite.ts";

const LEASE = { namespace: "kube-system", name: "k3slb-server" };
/** What a takeover may take, from the last renewal by the one that died. */
const TAKEOVER_MS = 20_000;
/** What a machine that does other things as well may add to it before the test gives up. */
const TAKEOVER_WAIT_MS = 25_000;
const LOG_LINES = 300;
const IN_OWN_FOLDER = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';

/** Machines with one server each, and the same path on all of them. */
class Machines {
  readonly #world: World;
  readonly #dir: string = mkdtempSync(join(tmpdir(), "k3slb-machines-"));
  readonly #dataDir: string = join(this.#dir, "data");
  readonly #servers = new Map<string, Program>();

  constructor(world: World) {
    this.#world = world;
    mkdirSync(this.#dataDir);
  }

  write(machine: string, name: string, text: string): void {
    const folder = join(this.#dir, machine, "server", "manifests");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), text);
  }

  async start(machine: string, ...args: readonly string[]): Promise<Program> {
    const own = join(this.#dir, machine);
    mkdirSync(own, { recursive: true });
    const server = startProgram({
      name: machine,
      command: [
        ...["unshare", "--mount", "sh", "-c", IN_OWN_FOLDER, "sh", own, this.#dataDir],
        ...[...programCommand(), "server", "--node-name", machine, "--data-dir", this.#dataDir],
        ...["--kubeconfig", await this.#world.api.kubeconfig(SERVER_USER, ["system:masters"])],
        ...["--metrics-address", "127.0.0.1:0", "--disable=coredns,traefik,helm", ...args],
      ],
      logFile: join(this.#dir, `${machine}.log`),
      env: cleanEnvironment(),
    });
    this.#servers.set(machine, server);
    return server;
  }

  log(machine: string): string {
    return this.#servers.get(machine)?.logTail(LOG_LINES) ?? "";
  }

  /** Waits until `count` lines of a machine's log match. */
  async waitForLog(machine: string, pattern: RegExp, count = 1): Promise<void> {
    const found = (): number => this.log(machine).split("\n").filter((line) => pattern.test(line)).length;
    await waitUntil(`${pattern} in the log of ${machine}`, () => found() >= count, {
      explain: () => this.log(machine),
    });
  }

  async waitForLeader(machine: string): Promise<Lease> {
    return await waitUntil(`${machine} to lead`, async () => {
      const lease = await this.#world.admin.get(LEASES, LEASE);
      return lease.spec?.holderIdentity?.startsWith(`${machine}_`) && lease;
    }, {
      deadlineMs: TAKEOVER_WAIT_MS,
      explain: () => [...this.#servers.keys()].map((each) => this.log(each)).join("\n"),
    });
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
    rmSync(this.#dir, { recursive: true });
  }
}

function settings(namespace: string, names: readonly string[], value: string): string {
  return names.map((name) =>
    `${JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace, name }, data: { value } })}\n---\n`
  ).join("");
}

async function configMaps(world: World, namespace: string): Promise<readonly ConfigMap[]> {
  const { items } = await world.admin.list(CONFIG_MAPS, { namespace });
  return items.filter(({ metadata }) => metadata?.name !== "kube-root-ca.crt");
}

async function addOns(world: World): Promise<readonly AddOn[]> {
  return (await world.admin.list(ADD_ONS, { namespace: "kube-system" })).items;
}

/** Names and versions of all that files made; equal texts mean that nothing was written in between. */
async function versions(world: World, namespace: string): Promise<string> {
  const seen = [...await configMaps(world, namespace), ...await addOns(world)];
  return seen.map(({ metadata }) => `${metadata?.name} ${metadata?.uid} ${metadata?.resourceVersion}`).sort().join(
    "\n",
  );
}

async function staysWritten(world: World, namespace: string, durationMs: number): Promise<void> {
  const before = await versions(world, namespace);
  await staysTrue("nobody writes", async () => await versions(world, namespace) === before, durationMs);
}

/** `name=value` of all ConfigMaps. */
async function values(world: World, namespace: string): Promise<readonly string[]> {
  return (await configMaps(world, namespace)).map(({ metadata, data }) => `${metadata?.name}=${data?.["value"]}`)
    .sort();
}

async function differences(world: World): Promise<readonly string[]> {
  const { items } = await world.admin.list(EVENTS, { namespace: "kube-system" });
  return items.filter(({ reason }) => reason === "ManifestsDiffer").map(({ message = "" }) => message);
}

/** The Lease's own account of a takeover: when the dead one last renewed, when the next one took it. */
function checkTakeover(before: Lease, after: Lease): void {
  const renewedMs = Date.parse(before.spec?.renewTime ?? "");
  const acquiredMs = Date.parse(after.spec?.acquireTime ?? "");
  ok(acquiredMs - renewedMs <= TAKEOVER_MS, `taken over ${acquiredMs - renewedMs} ms after the last renewal`);
  equal(after.spec?.leaseTransitions, (before.spec?.leaseTransitions ?? 0) + 1);
}

async function withMachines(world: World, body: (machines: Machines) => Promise<void>): Promise<void> {
  const machines = new Machines(world);
  try {
    await body(machines);
  } finally {
    await machines.remove();
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0, agents: false });

  test("two servers with the same files: the second takes over within 20 s of a SIGKILL and writes no object", async ({ world, ns }) => {
    await withMachines(world, async (machines) => {
      for (const machine of ["one", "two"]) {
        machines.write(machine, "same.yaml", settings(ns.name, ["a", "b"], "1"));
        machines.write(machine, "also.yaml", settings(ns.name, ["c"], "1"));
      }
      const first = await machines.start("one");
      await machines.waitForLog("one", /Applied manifest/, 2);
      await machines.start("two");
      await machines.waitForLog("two", /Another server is the active one/);
      await staysWritten(world, ns.name, 1000);
      const [objects, records] = [await configMaps(world, ns.name), await addOns(world)];
      const lease = await machines.waitForLeader("one");
      await first.kill();
      const killedLease = await world.admin.get(LEASES, LEASE);
      checkTakeover(
        killedLease.spec?.holderIdentity === lease.spec?.holderIdentity ? killedLease : lease,
        await machines.waitForLeader("two"),
      );
      await machines.waitForLog("two", /Applied manifest/, 2);
      deepEqual(await configMaps(world, ns.name), objects);
      const recordOf = ({ metadata, spec }: AddOn): object => ({ name: metadata?.name, uid: metadata?.uid, ...spec });
      deepEqual((await addOns(world)).map(recordOf), records.map(recordOf));
      deepEqual((await addOns(world)).map(({ metadata }) => metadata?.annotations?.[SERVER_ANNOTATION]), [
        "two",
        "two",
      ]);
      deepEqual(await differences(world), []);
      await staysWritten(world, ns.name, 1000);
    });
  });

  test("two servers with different files: the next one says so, its files are applied once, and they stay", async ({ world, ns }) => {
    await withMachines(world, async (machines) => {
      machines.write("one", "differs.yaml", settings(ns.name, ["shared", "of-one"], "1"));
      machines.write("one", "file-of-one.yaml", settings(ns.name, ["beside-one"], "1"));
      machines.write("two", "differs.yaml", settings(ns.name, ["shared", "of-two"], "2"));
      machines.write("two", "file-of-two.yaml", settings(ns.name, ["beside-two"], "2"));
      const ofOne = ["beside-one=1", "of-one=1", "shared=1"];
      // What another server's file had stays when the file is missing here, as with every file that goes.
      const ofTwo = ["beside-one=1", "beside-two=2", "of-two=2", "shared=2"];

      const first = await machines.start("one");
      await machines.waitForLog("one", /Applied manifest/, 2);
      await machines.start("two");
      await machines.waitForLog("two", /Another server is the active one/);
      await staysWritten(world, ns.name, 2000);
      deepEqual(await values(world, ns.name), ofOne);

      await first.kill();
      const lease = await world.admin.get(LEASES, LEASE);
      checkTakeover(lease, await machines.waitForLeader("two"));
      await machines.waitForLog("two", /Applied manifest/, 2);
      deepEqual(await values(world, ns.name), ofTwo);
      await machines.waitForLog("two", /Server "one" applied another content .* keep the file the same on all servers/);
      const [message = ""] = await waitUntil("the Event", async () => {
        const said = await differences(world);
        return said.length > 0 && said;
      });
      match(
        message,
        /Server "one" applied another content for ".*differs\.yaml" \(SHA-256 \w+\) than server "two" has now/,
      );
      const applied = (await configMaps(world, ns.name)).find(({ metadata }) => metadata?.name === "shared");

      await machines.start("one");
      await machines.waitForLog("one", /Another server is the active one/, 1);
      await staysWritten(world, ns.name, 2000);
      machines.write("one", "differs.yaml", settings(ns.name, ["shared", "of-one"], "3"));
      await staysWritten(world, ns.name, 1000);
      deepEqual(await values(world, ns.name), ofTwo);
      const now = (await configMaps(world, ns.name)).find(({ metadata }) => metadata?.name === "shared");
      equal(now?.metadata?.resourceVersion, applied?.metadata?.resourceVersion);
      equal((await differences(world)).length, 1);
    });
  });

  test("--prune-deleted-manifests on the next server leaves what only the other one's folder has", async ({ world, ns }) => {
    await withMachines(world, async (machines) => {
      machines.write("one", "only-one.yaml", settings(ns.name, ["only-one"], "1"));
      machines.write("two", "only-two.yaml", settings(ns.name, ["only-two"], "1"));
      const first = await machines.start("one", "--prune-deleted-manifests");
      await machines.waitForLeader("one");
      await machines.waitForLog("one", /Applied manifest/);
      await machines.start("two", "--prune-deleted-manifests");
      await machines.waitForLog("two", /Another server is the active one/);
      equal(await first.stop(), 0);
      await machines.waitForLog("two", /Applied manifest/);
      await staysWritten(world, ns.name, 1000);
      deepEqual(await values(world, ns.name), ["only-one=1", "only-two=1"]);
    });
  });
}
