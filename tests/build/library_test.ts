// The library is imported, and used, by Deno, Bun and Node, and its declarations hold.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { fetchBun } from "../../build/base_runtime.ts";
import { bundleLibrary } from "../../build/bundle.ts";
import { buildLibrary } from "../../build/library.ts";
import { mapGroupBy, objectGroupBy, promiseWithResolvers } from "../../build/node_20.ts";
import { bunPackage, hostTarget } from "../../build/targets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Needs each of the parts that a library user comes for; JavaScript and TypeScript at once. */
const CONSUMER = `
import {
  createKubeClient, DEFAULT_MARK_BITS, desiredRuleSet, K3slbError, parseMarkBits, readService, renderRuleSet, runAgent, runServer, SYSTEM_CLOCK,
} from "k3slb";
const reading = readService({ metadata: { name: "web" }, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } });
const { ruleSet } = desiredRuleSet({ podCidrs: [], ports: [] }, "IPv4", {
  marks: parseMarkBits(DEFAULT_MARK_BITS),
  features: { randomFully: true, sctp: true, recent: true, bridgeFilter: true },
});
const access = {
  source: "test", server: "http://127.0.0.1:1", insecureSkipTlsVerify: false, namespace: "default", impersonationHeaders: [], credentials: async () => ({}),
};
const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
const nodes = { group: "", version: "v1", kind: "Node", plural: "nodes", namespaced: false };
const failure = await client.list(nodes).then(() => undefined, (error) => error);
client.close();
console.log([reading.ports[0]?.protocol, renderRuleSet(ruleSet).includes("*nat"), typeof runServer, typeof runAgent, failure instanceof K3slbError && failure.code].join(" "));
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
      await t.step(
        name,
        () => assert.equal(say(folder, [...command, "use.mjs"]), "TCP true function function kube-unreachable"),
      );
    }
    await t.step("its types are those of the sources", () => {
      const check = [Deno.execPath(), "check", "--no-config", "--no-lock", "--node-modules-dir=manual"];
      assert.equal(say(folder, [...check, "use.ts"]), "");
      assert.match(say(folder, [...check, "wrong.ts"]), /'number' is not assignable to type 'string'/);
    });
  });
});

Deno.test("buildLibrary(): what Node 20 has not is put in, and does as the runtime's own", async () => {
  const { files } = await bundleLibrary(ROOT);
  const text = files.map(({ code }) => new TextDecoder().decode(code)).join("");
  assert.doesNotMatch(text, /\b(?:Promise\.withResolvers|(?:Map|Object)\.groupBy)\b/);
  const isOdd = (value: number, index: number): string => `${value % 2 === 1} ${index > 2}`;
  const values = [3, 1, 2, 5, 4];
  assert.deepEqual(mapGroupBy(values, isOdd), Map.groupBy(values, isOdd));
  assert.deepEqual(objectGroupBy(values, isOdd), Object.groupBy(values, isOdd));
  const [kept, broken] = [promiseWithResolvers<number>(), promiseWithResolvers<number>()];
  kept.resolve(1);
  broken.reject(new Error("2"));
  assert.equal(await kept.promise, 1);
  await assert.rejects(broken.promise, /^Error: 2$/);
});
