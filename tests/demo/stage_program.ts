// Runs inside the demo's world: builds the stage, plays the scenes, prints them. Started by demo.ts, never imported for its code.
// It ends when its standard input ends; all that runs in the world ends with it, as it is the first process of a PID namespace.
import { join } from "node:path";
import process from "node:process";
import { SERVICES } from "../../core/kube/resources.ts";
import type { Service } from "../../core/kube/types.ts";
import { DEFAULT_SERVICELB_NAMESPACE } from "../../core/service/labels.ts";
import type { Program } from "../support/programs.ts";
import { startWorld, type World } from "../support/world.ts";
import type { WorldKind } from "../support/world_api.ts";
import { TestNamespace } from "../support/world_objects.ts";
import { renderPlayground } from "./playground.ts";
import { type Page, renderBlocks, renderToned, wrapWords } from "./render_text.ts";
import { SCENES } from "./scenes.ts";
import { INGRESS_SCENE } from "./scenes/ingress.ts";
import { REAL_PODS_SCENE } from "./scenes/real_pods.ts";
import type { Stage } from "./stage.ts";

/** What demo.ts wants. */
export interface StageOrder {
  /** Folder for everything that is written; demo.ts removes it. */
  readonly dir: string;
  readonly page: Page;
  readonly kind: WorldKind;
  /** Archives of images for real nodes. */
  readonly images: readonly string[];
  /** Whether they have Traefik among them. */
  readonly hasTraefik: boolean;
  readonly keep: boolean;
  readonly isRoot: boolean;
}

/** What was shown; demo.ts tells it at the end. */
export interface Summary {
  readonly scenes: number;
  readonly services: number;
  readonly answers: number;
}

/** File in the demo's folder that has the {@linkcode Summary} once all scenes were played. */
export const SUMMARY_FILE = "summary.json";

/** File in the demo's folder that names the world's PID namespace. */
export const NAMESPACE_FILE = "pid_namespace";

const STARTED = {
  memory: "in-memory API server",
  real: "real control plane",
  nodes: "real control plane, three nodes with containerd, kubelet and kube-proxy",
} as const;

async function play(order: StageOrder): Promise<void> {
  const { dir, page } = order;
  const startMs = performance.now();
  await Deno.writeTextFile(join(dir, NAMESPACE_FILE), await Deno.readLink("/proc/self/ns/pid"));
  const world = await startWorld({ server: order.kind, dir, servers: 0, images: order.images });
  const server = await startServer(world);
  const ns = new TestNamespace(world.admin, {
    name: "demo",
    systemNamespace: DEFAULT_SERVICELB_NAMESPACE,
    explain: () => Promise.resolve(""),
  });
  await ns.create();
  print(
    renderToned(`   ${STARTED[order.kind]}, one server and three agents started in ${seconds(startMs)}`, "faint", page),
  );
  const manifestsDir = join(dir, server.name, "server", "manifests");
  const stage: Stage = { world, ns, manifestsDir, serviceNames: [], counts: { answers: 0 } };
  const onRealNodes = order.hasTraefik ? [REAL_PODS_SCENE, INGRESS_SCENE] : [REAL_PODS_SCENE];
  const scenes = order.kind === "nodes" ? [...SCENES, ...onRealNodes] : SCENES;
  for (const [index, { title, play }] of scenes.entries()) {
    const heading = wrapWords(`${index + 1}. ${title}`, page.width).map((line) => renderToned(line, "strong", page));
    print(`\n${heading.join("\n")}\n`);
    for (const line of renderBlocks(await play(stage), page)) print(line);
  }
  const summary: Summary = {
    scenes: scenes.length,
    services: stage.serviceNames.length,
    answers: stage.counts.answers,
  };
  await Deno.writeTextFile(join(dir, SUMMARY_FILE), JSON.stringify(summary));
  if (order.keep) {
    print("");
    for (const line of renderBlocks(await renderPlayground(order, world), page)) print(line);
    await new Promise(() => {}); // Until the life line is closed.
  }
  await world.stop();
}

/** Starts the server with its packaged parts, which a world's own servers go without. */
async function startServer(world: World): Promise<Program> {
  if (world.kind === "memory") {
    // What a real API server makes itself, and CoreDNS's address is found from.
    const spec = { clusterIP: "10.43.0.1", ports: [{ name: "https", port: 443, targetPort: 6443 }] };
    await world.admin.create(SERVICES, { metadata: { namespace: "default", name: "kubernetes" }, spec } as Service);
  }
  return await world.startServer(["--disable="]);
}

function seconds(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Resolves when nobody holds the other end of standard input any more. */
async function lifeLineClosed(): Promise<void> {
  for await (const _ of Deno.stdin.readable) {
    // Nothing is ever said on it.
  }
}

if (import.meta.main) {
  const order = JSON.parse(Deno.args[0] ?? "") as StageOrder;
  // demo.ts decides: it gets the same signal and closes the life line.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});
  let code = 0;
  const played = play(order).catch((error: unknown) => {
    if (isEnding) return;
    code = 1;
    process.stderr.write(`\nerror: ${error instanceof Error ? error.message : String(error)}\n`);
  });
  let isEnding = false;
  await Promise.race([played, lifeLineClosed().then(() => isEnding = true)]);
  process.exit(code);
}
