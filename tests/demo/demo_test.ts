// The demo as a user starts it: its exit code, its lines, and that nothing of it is left, whatever ends it.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { worldObstacle } from "../support/netns.ts";
import { worldKind } from "../support/world.ts";
import { waitUntil } from "../support/wait.ts";
import { tryPlayground } from "./try_playground.ts";

const DEMO = fileURLToPath(new URL("./demo.ts", import.meta.url));
const BINARY = fileURLToPath(new URL("../../dist/k3slb", import.meta.url));
const MAX_WIDTH = 110;

/** What must be in the output, in this order. */
const STORY: readonly RegExp[] = [
  /^k3slb: LoadBalancer Services/m,
  /^ {3}node1 +172\.30\.0\.11 +10\.42\.1\.0\/24/m,
  /^ {3}web +80\/TCP +node1 node2 .*172\.30\.0\.11 172\.30\.0\.12 172\.30\.0\.13 +after \d+ ms$/m,
  /^ {3}dns +53\/UDP .*fd30::/m,
  /^ {3}files +2049\/TCP .*policy Local +172\.30\.0\.13 /m,
  /^ {3}intranet +443\/TCP .*pool "edge" +172\.30\.0\.12 172\.30\.0\.13 /m,
  /^ {3}shop-copy .*<pending>: PortTaken/m,
  /web-node1 +\d+ +172\.30\.0\.101 +client$/m,
  /web-node1 +\d+ +172\.30\.0\.12 +node2$/m,
  /^ +fd30::12 .*fd30::101 +client$/m,
  /condition k3slb\.io\/Served +False +PortTaken +.*node1, node2, node3/m,
  /^ {3}Event +Warning +PortTaken/m,
  /^ {3}node2 +\d+ +\d+ +\d+ +0 +\d+ ms after the old one was deleted$/m,
  /^ {3}shop-copy .*True, Served +\d+ ms$/m,
  /^ {3}label off node3 +172\.30\.0\.12 +\d+ ms/m,
  /^ {3}label on node3 +172\.30\.0\.12 172\.30\.0\.13 +\d+ ms +answers: intranet-node1$/m,
  /ended by SIGKILL$/m,
  /50 of 50 new connections .* answered$/m,
  /-j DNAT --to-destination 10\.42\.\d\.\d+:8080$/m,
  /^ {3}CoreDNS +the server's log +Deploying CoreDNS at 10\.43\.0\.10(, fd43::a)? \(.+\)$/m,
  /^ {12}Service +kube-dns at 10\.43\.0\.10/m,
  /^ {12}Deployment +coredns, image \S+coredns:\S+$/m,
  /^ {3}Traefik +the server's log +Deploying Traefik v3 \(chart \S+\): Kubernetes v1\.\d+\.\d+ is 1\.32 or later$/m,
  /^ {12}HelmCharts +traefik \d\S+$/m,
  /^ {12}Job +helm-install-traefik on node\d, image \S+klipper-helm:/m,
  /^ {3}# NodeHosts in ConfigMap kube-system\/coredns: .*$/m,
  /^ {3}172\.30\.0\.11 node1\n {3}172\.30\.0\.12 node2\n {3}172\.30\.0\.13 node3\n {3}fd30::11 node1$/m,
  /^ {3}coredns\.yaml +0600 +\d+ +coredns +[0-9a-f]{12} +ClusterRole, /m,
  /^ {3}site\.yaml +0644 +\d+ +site +[0-9a-f]{12} +ConfigMap, Service$/m,
  /^ {3}traefik\.yaml +0600 +\d+ +traefik +[0-9a-f]{12} +CustomResourceDefinition, HelmChart$/m,
  /^ {3}a Service and a ConfigMap +both are there +\d+ ms +from 3 nodes after \d+ ms +[0-9a-f]{12}$/m,
  /^ {3}port 8082 instead of 8081 +the Service has port 8082 +\d+ ms +from 3 nodes after \d+ ms +[0-9a-f]{12}$/m,
  /^ {3}no ConfigMap any more +ConfigMap gone, Service stays +\d+ ms +- +[0-9a-f]{12}$/m,
  /^Shown: \d+ scenes, 7 Services, \d+ answered connections, in [\d.]+ s; no process, namespace or file is left\.$/m,
];

const obstacle = await worldObstacle();
const options = { ignore: obstacle !== undefined, sanitizeOps: false, sanitizeResources: false } as const;
const because = obstacle === undefined ? "" : ` (skipped: ${obstacle})`;

Deno.test({
  ...options,
  name: `demo: shows its story to the end, in plain text that fits, and leaves nothing${because}`,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const { code, stdout, stderr } = await startDemo(worldKind() === "real" ? ["--real"] : [], folder).output();
    const text = new TextDecoder().decode(stdout);
    equal(code, 0, text + new TextDecoder().decode(stderr));
    let rest = text;
    for (const wanted of STORY) {
      const found = wanted.exec(rest);
      ok(found, `${wanted} is not in what follows:\n${rest}`);
      rest = rest.slice(found.index);
    }
    deepEqual(text.split("\n").filter((line) => line.length > MAX_WIDTH), []);
    equal(text.includes("\x1b"), false);
    deepEqual(leftovers(folder), NOTHING);
    await Deno.remove(folder, { recursive: true });
  },
});

const BOTH = ["SIGINT", "SIGTERM"] as const;

/** Moments at which a signal comes, each known by what the demo has printed. */
const MOMENTS = [
  { moment: "during the build", by: BOTH, args: [], cue: "k3slb:", code: 130, last: "before anything was started" },
  { moment: "while the world starts", by: ["SIGINT"], args: [], cue: "not built:", code: 130, last: "is left" },
  { moment: "in a scene", by: BOTH, args: [], cue: "\n3. ", code: 130, last: "is left" },
  { moment: "after the last scene", by: ["SIGTERM"], args: ["--keep"], cue: "To end it", code: 0, last: "is left" },
] as const;

for (const { moment, by, args, cue, code, last } of MOMENTS) {
  for (const signal of by) {
    Deno.test({
      ...options,
      name: `demo: ${signal} ${moment} ends all of it${because}`,
      fn: async () => {
        const folder = await Deno.makeTempDir();
        const child = startDemo(args, folder, { builds: moment === "during the build" });
        const text = { seen: "" };
        const reading = readInto(child.stdout, text);
        await waitUntil(`the cue "${cue}"`, () => text.seen.includes(cue), { deadlineMs: 120_000 });
        // What is looked for at the end is seen while it is there.
        if (moment === "after the last scene") await tryPlayground(text.seen);
        if (text.seen.includes("\n3. ")) ok(leftovers(folder).processes.length > 0, "no process of the world is seen");
        child.kill(signal);
        const status = await child.status;
        await reading;
        await child.stderr.cancel();
        equal(status.code, code, text.seen);
        ok(text.seen.endsWith(`${last}.\n`), text.seen);
        deepEqual(leftovers(folder), NOTHING);
        await Deno.remove(folder, { recursive: true });
      },
    });
  }
}

Deno.test("demo: a flag that is not known is a usage error", async () => {
  const { code, stderr } = await startDemo(["--reel"]).output();
  equal(code, 2);
  match(new TextDecoder().decode(stderr), /--reel[\s\S]*usage: deno task demo/);
});

/** Starts the demo; `folder` is where it makes its own one, and known to each of its processes. */
function startDemo(
  args: readonly string[],
  folder?: string,
  { builds = false }: { readonly builds?: boolean } = {},
): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", DEMO, ...args],
    env: { ...(folder === undefined ? {} : { TMPDIR: folder }), ...(builds ? {} : { K3SLB_PROGRAM: BINARY }) },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function readInto(stream: ReadableStream<Uint8Array>, text: { seen: string }): Promise<void> {
  for await (const part of stream.pipeThrough(new TextDecoderStream())) text.seen += part;
}

interface Leftovers {
  readonly folders: readonly string[];
  readonly processes: readonly string[];
}

const NOTHING: Leftovers = { folders: [], processes: [] };

/**
 * What is left of the demo that was started with `folder`: folders in it, and processes that know of it and are in a PID namespace
 * other than this one, as all of a demo's world are. Other worlds on this machine don't count.
 */
function leftovers(folder: string): Leftovers {
  const folders = readdirSync(folder).filter((name) => name.startsWith("k3slb-demo-")).sort();
  const own = readlinkSync("/proc/self/ns/pid");
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) === own) return [];
      if (!readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`TMPDIR=${folder}`)) return [];
      return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`];
    } catch {
      return []; // It has ended meanwhile, or is another user's.
    }
  });
  return { folders, processes };
}
