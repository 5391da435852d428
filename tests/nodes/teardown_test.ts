// What a world of real nodes leaves behind: nothing, also when its first process is killed in the middle.
// Alone: `K3SLB_WORLD=nodes deno test -A tests/nodes/teardown_test.ts`, as root.
import { deepEqual, equal } from "node:assert/strict";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { enterWorld, WORLD_CGROUP_VARIABLE, worldCommand } from "../support/netns.ts";
import { runProgram } from "../support/programs.ts";

const WORLD_MODULE = new URL("../support/world.ts", import.meta.url).href;

/** Processes, links, namespaces and mounts that this process can see, and cgroups of worlds in this one. */
async function traces(): Promise<Record<string, readonly string[]>> {
  const list = (folder: string, pattern: RegExp): string[] => readdirSync(folder).filter((name) => pattern.test(name));
  return {
    processes: list("/proc", /^\d+$/),
    cgroups: ["/sys/fs/cgroup", ...list("/sys/fs/cgroup", /^/).map((name) => `/sys/fs/cgroup/${name}`)]
      .flatMap((folder) => {
        try {
          return list(folder, INNER_WORLD_REGEXP).map((name) => `${folder}/${name}`);
        } catch {
          return []; // A file.
        }
      }),
    links: list("/sys/class/net", /^/),
    namespaces: (await runProgram(["ip", "netns", "list"])).stdout.split("\n"),
    mounts: readFileSync("/proc/self/mounts", "utf8").split("\n"),
  };
}

const INNER_WORLD_REGEXP = new RegExp(`^${Deno.env.get(WORLD_CGROUP_VARIABLE)}-`);

/** Runs a world, then some code; temporary files go below `tmp`. */
async function runWorld(then: string, tmp: string): Promise<number> {
  const script = `const { startWorld } = await import(${JSON.stringify(WORLD_MODULE)});` +
    `const world = await startWorld({ server: "nodes", nodes: 1, servers: 0 }); ${then}`;
  const command = worldCommand([Deno.execPath(), "eval", script], { realNodes: true });
  return (await runProgram(command, { env: { TMPDIR: tmp } })).code;
}

if (await enterWorld(import.meta.url)) {
  const tmp = Deno.makeTempDirSync();

  Deno.test("nodes: a world that is stopped leaves nothing", async () => {
    const before = await traces();
    equal(await runWorld("await world.stop();", tmp), 0);
    deepEqual(await traces(), before);
    deepEqual(readdirSync(tmp), []);
  });

  Deno.test("nodes: a world that is killed leaves no process, cgroup, link, namespace or mount", async () => {
    const before = await traces();
    equal(await runWorld("process.kill(process.pid, 'SIGKILL');", tmp), 137);
    deepEqual(await traces(), before);
    rmSync(tmp, { recursive: true });
  });
}
