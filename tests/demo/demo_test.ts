// The demo as a user starts it: its exit code, its lines, and that nothing of it is left, whatever ends it.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { worldObstacle } from "../support/netns.ts";
import { worldKind } from "../support/world.ts";
import { waitUntil } from "../support/wait.ts";

const DEMO = fileURLToPath(new URL("./demo.ts", import.meta.url));
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
  /web-node1 +\d+ +172\.30\.0\.101 +the client$/m,
  /web-node1 +\d+ +172\.30\.0\.12 +node2$/m,
  /\[fd30::12\]:53\/UDP .*fd30::101 +the client$/m,
  /condition k3slb\.io\/Served +False +PortTaken +.*node1, node2, node3/m,
  /^ {3}Event +Warning +PortTaken/m,
  /^ {3}node2 +\d+ +\d+ +\d+ +0 +\d+ ms after the old one was deleted$/m,
  /^ {3}shop-copy .*True, Served +\d+ ms$/m,
  /^ {3}label off node3 +172\.30\.0\.12 +\d+ ms/m,
  /^ {3}label on node3 +172\.30\.0\.12 172\.30\.0\.13 +\d+ ms +answers: intranet-node1$/m,
  /ended by SIGKILL$/m,
  /50 of 50 new connections .* answered$/m,
  /-j DNAT --to-destination 10\.42\.\d\.\d+:8080$/m,
  /^Shown: \d+ scenes, 6 Services, \d+ answered connections, in [\d.]+ s; no process, namespace or file is left\.$/m,
];

const obstacle = await worldObstacle();
const options = { ignore: obstacle !== undefined, sanitizeOps: false, sanitizeResources: false } as const;
const because = obstacle === undefined ? "" : ` (skipped: ${obstacle})`;

Deno.test({
  ...options,
  name: `demo: shows its story to the end, in plain text that fits, and leaves nothing${because}`,
  fn: async () => {
    const before = leftovers();
    const { code, stdout, stderr } = await startDemo(worldKind() === "real" ? ["--real"] : []).output();
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
    deepEqual(leftovers(), before);
  },
});

/** Moments at which a signal comes, each known by what the demo has printed. */
const MOMENTS = [
  { moment: "during the build", args: [], cue: "k3slb:", code: 130, last: "before anything was started" },
  { moment: "while the world starts", args: [], cue: "binary built", code: 130, last: "is left" },
  { moment: "in a scene", args: [], cue: "\n3. ", code: 130, last: "is left" },
  { moment: "after the last scene", args: ["--keep"], cue: "To end it", code: 0, last: "is left" },
] as const;

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  for (const { moment, args, cue, code, last } of MOMENTS) {
    Deno.test({
      ...options,
      name: `demo: ${signal} ${moment} ends all of it${because}`,
      fn: async () => {
        const before = leftovers();
        const child = startDemo(args);
        const text = { seen: "" };
        const reading = readInto(child.stdout, text);
        await waitUntil(`the cue "${cue}"`, () => text.seen.includes(cue), { deadlineMs: 120_000 });
        child.kill(signal);
        const status = await child.status;
        await reading;
        await child.stderr.cancel();
        equal(status.code, code, text.seen);
        ok(text.seen.endsWith(`${last}.\n`), text.seen);
        deepEqual(leftovers(), before);
      },
    });
  }
}

Deno.test("demo: a flag that is not known is a usage error", async () => {
  const { code, stderr } = await startDemo(["--reel"]).output();
  equal(code, 2);
  match(new TextDecoder().decode(stderr), /--reel[\s\S]*usage: deno task demo/);
});

function startDemo(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", DEMO, ...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function readInto(stream: ReadableStream<Uint8Array>, text: { seen: string }): Promise<void> {
  for await (const part of stream.pipeThrough(new TextDecoderStream())) text.seen += part;
}

/** The demo's folders, and the processes that are in a PID namespace other than this one, as all of a demo's world are. */
function leftovers(): { readonly folders: readonly string[]; readonly processes: readonly string[] } {
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith("k3slb-demo-")).sort();
  const own = readlinkSync("/proc/self/ns/pid");
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) === own) return [];
      return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ")}`];
    } catch {
      return []; // It has ended meanwhile, or is another user's.
    }
  });
  return { folders, processes };
}
