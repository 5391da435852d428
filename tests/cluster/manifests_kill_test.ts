// SIGKILL at any point of applying the manifests folder, many times over, while the folder's content goes on changing: the next start
// that is left alone ends where a server ends that was never disturbed. Real processes; the same law request by request is in
// tests/unit/core/manifests/interruption_test.ts.
import { deepEqual, equal, ok } from "node:assert/strict";
import { existsSync, renameSync } from "node:fs";
import process from "node:process";
import type { ResourceType } from "../../core/kube/contract.ts";
import { CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { ADD_ONS, checksumOf } from "../../core/manifests/record/addon.ts";
import { enterWorld } from "../support/netns.ts";
import { randomFrom } from "../support/random.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { type World, worldKind } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";
import { ServerFolder } from "./server_folder.ts";

/** Fewer where a start takes long: on the real control plane, and when the sources are run instead of the binary. */
const KILLS = worldKind() === "real" || process.env["K3SLB_PROGRAM"]?.includes(" ") ? 40 : 100;
/** Every so many kills a start is left alone and what it ends with is compared. */
const KILLS_A_LOOK = Math.ceil(KILLS / 4);
/** How much longer than a whole start with all its applying a server may live before it is killed. */
const LONGEST_LIFE = 1.1;

const GADGETS: ResourceType<KubeObject> = {
  group: "example.com",
  version: "v1",
  kind: "Gadget",
  plural: "gadgets",
  namespaced: true,
};
const OBJECT_TYPES: readonly ResourceType<KubeObject>[] = [CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS, SERVICES, GADGETS];
/** What Kubernetes itself puts into every namespace. */
const FOREIGN_NAMES: readonly string[] = ["kube-root-ca.crt", "default"];
const HISTORY_FIELDS: readonly string[] = [
  "creationTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "uid",
];

const ARGS = ["--no-leader-elect", "--node-name", "killed", "--disable=coredns,traefik,helm"];

/** Paths below the manifests folder and their texts. */
type Content = Readonly<Record<string, string>>;

function object(kind: string, place: string, rest: Readonly<Record<string, unknown>> = {}): string {
  const [namespace, name] = place.split("/");
  const apiVersion = kind === "Gadget" ? "example.com/v1" : "v1";
  return `${JSON.stringify({ apiVersion, kind, metadata: { namespace, name }, ...rest })}\n---\n`;
}

function settings(namespace: string, names: readonly string[], value: string): string {
  return names.map((name) => object("ConfigMap", `${namespace}/${name}`, { data: { value } })).join("");
}

/** What the folder holds in turn: objects come, change, go and move to another file; files come, go and get other names. */
function contents(namespace: string): readonly Content[] {
  const made = `${namespace}-made`;
  const crd = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gadgets.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { kind: "Gadget", plural: "gadgets", singular: "gadget" },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      }],
    },
  };
  const space = { apiVersion: "v1", kind: "Namespace", metadata: { name: made } };
  // Guarded kinds stay whatever happens, so they are in every content.
  const base = `${JSON.stringify(crd)}\n---\n${JSON.stringify(space)}\n---\n${settings(made, ["base"], "1")}`;
  const many = (count: number, value = "1"): string =>
    settings(namespace, Array.from({ length: count }, (_, index) => `many-${index + 1}`), value);
  const first = settings(namespace, ["a", "b"], "1") + object("Gadget", `${made}/g`, { spec: { size: 1 } }) +
    object("Secret", `${namespace}/hidden`, { stringData: { word: "one" } });
  const second = settings(namespace, ["a", "c"], "2") + object("Gadget", `${made}/g`, { spec: { size: 2 } }) +
    object("Service", `${namespace}/headless`, { spec: { clusterIP: "None", ports: [{ port: 80 }] } });
  const extra = settings(namespace, ["x"], "1") + object("ServiceAccount", `${made}/account`);
  return [
    { "base.yaml": base, "app.yaml": first, "many.yaml": many(12) },
    { "base.yaml": base, "app.yaml": second, "many.yaml": many(12, "2"), "extra.yaml": extra },
    // Under another name that makes the same AddOn, and under one that makes another.
    { "base.yaml": base, "app.yml": second, "renamed.yaml": many(12, "2"), "extra.yaml": extra },
    { "base.yaml": base, "sub/app.yaml": first, "renamed.yaml": many(4) },
    {
      "base.yaml": base,
      "app.yaml": second + settings(namespace, ["x"], "3"),
      "many.yaml": many(12),
      "extra.yaml": "",
    },
    // What one file had is in the other, both ways.
    { "base.yaml": base, "app.yaml": many(12), "many.yaml": first + extra },
  ];
}

function addOnName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1).split(".", 1)[0] ?? "";
}

function put(folder: ServerFolder, content: Content, known: readonly Content[]): void {
  const paths = [...new Set(known.flatMap((each) => Object.keys(each)))];
  const going = paths.filter((path) => !(path in content) && folder.has(path));
  for (const [path, text] of Object.entries(content)) {
    const old = folder.has(path)
      ? undefined
      : going.find((gone) => existsSync(folder.path(gone)) && folder.read(gone) === text);
    if (old !== undefined && !path.includes("/")) renameSync(folder.path(old), folder.path(path));
    else if (!folder.has(path) || folder.read(path) !== text) folder.write(path, text);
  }
  for (const path of going) if (folder.has(path)) folder.delete(path);
}

/** All objects that files can make, and the AddOns, without what tells how often and when they were written. */
async function stateOf(world: World, namespace: string): Promise<Readonly<Record<string, unknown>>> {
  const state: Record<string, unknown> = {};
  const lists = [
    ...[namespace, `${namespace}-made`].flatMap((each) => OBJECT_TYPES.map((type) => ({ type, namespace: each }))),
    { type: ADD_ONS, namespace: "kube-system" },
  ];
  for (const { type, ...place } of lists) {
    const { items } = await world.admin.list<KubeObject>(type, place);
    for (const { status: _, metadata = {}, ...rest } of items as readonly (KubeObject & { status?: unknown })[]) {
      if (FOREIGN_NAMES.includes(metadata.name ?? "")) continue;
      const kept = Object.entries(metadata).filter(([field]) => !HISTORY_FIELDS.includes(field));
      state[`${type.kind} ${metadata.namespace}/${metadata.name}`] = { ...rest, metadata: Object.fromEntries(kept) };
    }
  }
  return Object.fromEntries(Object.entries(state).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Names and sources and checksums of the AddOns that belong to `content`. */
function wantedAddOns(folder: ServerFolder, content: Content): readonly string[] {
  return Object.entries(content).map(([path, text]) => {
    return `${addOnName(path)} ${folder.path(path)} ${checksumOf(new TextEncoder().encode(text))}`;
  }).sort();
}

async function addOns(world: World): Promise<readonly string[]> {
  const { items } = await world.admin.list(ADD_ONS, { namespace: "kube-system" });
  return items.map(({ metadata, spec }) => `${metadata?.name} ${spec?.source} ${spec?.checksum ?? ""}`).sort();
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

async function pass(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0, agents: false });

  test(`${KILLS} times SIGKILL at any point of applying a changing folder: the next start ends as if nothing had been`, async ({ world, ns }) => {
    const seed = Number(process.env["K3SLB_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    print(`${KILLS} kills, seed ${seed}; the same again: K3SLB_SEED=${seed}`);
    const random = randomFrom(seed);
    const known = contents(ns.name);
    const pick = (): number => Math.floor(random() * known.length);
    const contentOf = (index: number): Content => known[index] ?? {};
    const folder = new ServerFolder(world);

    /** A start that is left alone until it has applied everything; the result is how long that took. */
    const undisturbed = async (content: Content): Promise<number> => {
      const startMs = performance.now();
      await folder.start(...ARGS, "--prune-deleted-manifests");
      const wanted = wantedAddOns(folder, content);
      await waitUntil("every file to be applied", async () => {
        const log = folder.log();
        return Object.keys(content).every((path) =>
          log.split("\n").some((line) => line.includes("Applied manifest") && line.includes(folder.path(path)))
        ) && JSON.stringify(await addOns(world)) === JSON.stringify(wanted);
      }, {
        deadlineMs: 30_000,
        explain: async () => `wanted ${wanted.join("\n")}\nseen ${(await addOns(world)).join("\n")}\n${folder.log()}`,
      });
      return performance.now() - startMs;
    };

    try {
      const ends: Readonly<Record<string, unknown>>[] = [];
      const timesMs: number[] = [];
      for (const content of known) {
        put(folder, content, known);
        timesMs.push(await undisturbed(content));
        await folder.stop();
        ends.push(await stateOf(world, ns.name));
      }
      // The undisturbed ends are what the contents say: one object of each name in them.
      for (const [index, end] of ends.entries()) {
        const documents = Object.values(contentOf(index)).flatMap((text) =>
          text.split("\n---\n").filter((each) => each !== "")
        );
        const wanted = documents.map((text): string => {
          const { kind, metadata } = JSON.parse(text) as {
            kind: string;
            metadata: { namespace?: string; name: string };
          };
          return `${kind} ${metadata.namespace}/${metadata.name}`;
        }).filter((name) => !name.includes("undefined/"));
        deepEqual(Object.keys(end).filter((name) => !name.startsWith("Addon ")), wanted.sort(), `content ${index}`);
      }
      const wholeMs = Math.max(...timesMs);

      let interrupted = 0;
      let current = pick();
      for (let kill = 1; kill <= KILLS; kill++) {
        put(folder, contentOf(current), known);
        const lifeMs = random() * wholeMs * LONGEST_LIFE;
        const server = await world.startServer([
          ...["--data-dir", folder.dataDir, ...ARGS],
          // Without the flag a file that is gone leaves everything to the next start that has it.
          ...(random() < 0.75 ? ["--prune-deleted-manifests"] : []),
        ]);
        if (random() < 0.25) {
          await pass(lifeMs / 2);
          current = pick();
          put(folder, contentOf(current), known);
          await pass(lifeMs / 2);
        } else {
          await pass(lifeMs);
        }
        equal(await server.kill(), "SIGKILL", `server ${kill} ended by itself: ${server.logTail()}`);
        if ((await addOns(world)).some((addOn) => addOn.endsWith(" "))) interrupted++;
        if (kill % KILLS_A_LOOK !== 0) {
          if (random() < 0.7) current = pick();
          continue;
        }
        if (kill === KILLS) put(folder, contentOf(current = pick()), known);
        await undisturbed(contentOf(current));
        deepEqual(
          await stateOf(world, ns.name),
          ends[current],
          `after ${kill} kills, content ${current}: ${folder.log()}`,
        );
        const seen = JSON.stringify(await stateOf(world, ns.name));
        await staysTrue(
          "nothing more happens",
          async () => JSON.stringify(await stateOf(world, ns.name)) === seen,
          300,
        );
        await folder.stop();
      }
      print(
        `a whole start took ${Math.round(wholeMs)} ms; ${interrupted} of ${KILLS} kills left an AddOn unfinished`,
      );
      ok(interrupted > 0, "no kill met the applying: this proves nothing");
    } finally {
      await folder.remove();
    }
  });
}
