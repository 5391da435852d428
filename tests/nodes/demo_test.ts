// The demo on real nodes, as a user starts it: its story to the end, and nothing left.
// Alone: `K3SLB_WORLD=nodes deno test -A tests/nodes/demo_test.ts`, as root.
import { deepEqual, equal, match } from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { goProgramFile, TRAEFIK } from "../packaged/go_programs.ts";
import { tryPlayground } from "../demo/try_playground.ts";
import { enterWorld } from "../support/netns.ts";

const DEMO = fileURLToPath(new URL("../demo/demo.ts", import.meta.url));
/** After it the demo only waits to be ended. */
const KEPT = "To end it";

if (await enterWorld(import.meta.url)) {
  Deno.test("demo on real nodes: pages of real pods, CoreDNS answers one, Traefik routes an Ingress if it is there, each command to play with works, and nothing is left", async () => {
    const tmp = await Deno.makeTempDir();
    const env = { TMPDIR: tmp, K3SLB_WORLD: "" };
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", DEMO, "--nodes", "--keep"],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    let stdout = "";
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      const isReady = !stdout.includes(KEPT) && (stdout + part).includes(KEPT);
      stdout += part;
      if (!isReady) continue;
      await tryPlayground(stdout);
      child.kill("SIGTERM");
    }
    equal((await child.status).code, 0, stdout);
    match(stdout, /^ {3}http:\/\/172\.30\.0\.13\/ +web-node[12] +172\.30\.0\.13$/m);
    match(stdout, /^ {3}web-node1 +web\.demo\.svc\.cluster\.local +10\.43\.\d+\.\d+$/m);
    const ingress = existsSync(await goProgramFile(TRAEFIK))
      ? /^ {3}http:\/\/172\.30\.0\.13:8088\/ +www\.example\.com +web-node[12] +10\.42\./m
      : /no Ingress is shown, as Traefik is not built/;
    match(stdout, ingress);
    match(stdout, /no process, namespace or file is left\.$/m);
    deepEqual(readdirSync(tmp), []);
    await Deno.remove(tmp);
  });
}
