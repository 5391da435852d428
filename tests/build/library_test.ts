// The library is imported, and used, by Deno, Bun and Node, and its declarations hold.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fetchBun } from "../../build/base_runtime.ts";
import { buildLibrary } from "../../build/library.ts";
import { bunPackage, hostTarget } from "../../build/targets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Needs each of the parts that a library user comes for; JavaScript and TypeScript at once. */
const CONSUMER = `
import { DEFAULT_MARK_BITS, desiredRuleSet, parseMarkBits, readService, renderRuleSet, runAgent, runServer } from "k3slb";
const reading = readService({ metadata: { name: "web" }, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } });
const { ruleSet } = desiredRuleSet({ podCidrs: [], ports: [] }, "IPv4", {
  marks: parseMarkBits(DEFAULT_MARK_BITS),
  features: { randomFully: true, sctp: true, recent: true, bridgeFilter: true },
});
console.log([reading.ports[0]?.protocol, renderRuleSet(ruleSet).includes("*nat"), typeof runServer, typeof runAgent].join(" "));
`;

/** Must not pass the types. */
const WRONG = `import { readService } from "k3slb"; export const port: string = readService({}).ports[0]!.port;\n`;

async function withLibrary(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "k3slb-library-" });
  try {
    await buildLibrary({ root: ROOT, out: `${folder}/node_modules/k3slb` });
    await Deno.writeTextFile(`${folder}/package.json`, '{ "type": "module", "dependencies": { "k3slb": "*" } }');
    await Deno.writeTextFile(`${folder}/use.mjs`, CONSUMER);
    await Deno.writeTextFile(`${folder}/use.ts`, CONSUMER);
    await Deno.writeTextFile(`${folder}/wrong.ts`, WRONG);
    await run(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function say(cwd: string, command: readonly string[]): string {
  const [program = "", ...args] = command;
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8", cwd });
  return status === 0 ? stdout.trim() : `${status}: ${stderr}`;
}

Deno.test("buildLibrary(): Deno, Bun and Node import it and get the same", async (t) => {
  await withLibrary(async (folder) => {
    const runtimes: Readonly<Record<string, readonly string[]>> = {
      deno: [Deno.execPath(), "run", "--no-config", "--no-lock", "--node-modules-dir=manual"],
      node: ["node"],
      bun: [await fetchBun(bunPackage(hostTarget()))],
    };
    for (const [name, command] of Object.entries(runtimes)) {
      await t.step(name, () => assert.equal(say(folder, [...command, "use.mjs"]), "TCP true function function"));
    }
    await t.step("its types are those of the sources", () => {
      const check = [Deno.execPath(), "check", "--no-config", "--no-lock", "--node-modules-dir=manual"];
      assert.equal(say(folder, [...check, "use.ts"]), "");
      assert.match(say(folder, [...check, "wrong.ts"]), /'number' is not assignable to type 'string'/);
    });
  });
});
