// An iptables that fails on one node: the reason reaches the Service in the tool's own words, the other nodes serve, what was
// served before stays served, and all is well when the tool works again.
import { deepEqual, match } from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { worldSuite } from "../support/world_suite.ts";

const TOOLS = ["iptables-restore", "iptables-nft-restore", "ip6tables-restore", "ip6tables-nft-restore"];

/** A folder of tools that do as the real ones until `fail` is called. */
class FailingTools {
  readonly folder = mkdtempSync(join(tmpdir(), "failing-iptables-"));
  readonly #flag = join(this.folder, "failing");

  constructor() {
    for (const tool of TOOLS) {
      const path = join(this.folder, tool);
      const words = [
        "#!/bin/sh",
        `if [ -e ${this.#flag} ]; then cat > /dev/null; echo "${tool}: line 7 failed" >&2; exit 1; fi`,
        `PATH=/usr/sbin:/sbin:/usr/bin:/bin exec ${tool} "$@"`,
      ];
      writeFileSync(path, `${words.join("\n")}\n`);
      chmodSync(path, 0o755);
    }
  }

  fail(): void {
    writeFileSync(this.#flag, "");
  }

  work(): void {
    rmSync(this.#flag);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  test("an iptables that fails: the Service says where and why, the other node serves, and it heals", async ({ world, ns }) => {
    const tools = new FailingTools();
    const node = world.node("node1");
    try {
      await node.killAgent();
      await node.startAgent({ env: { PATH: `${tools.folder}:${process.env["PATH"] ?? ""}` } });
      await ns.createApp({ name: "echo", nodes: ["node1"] });
      const before = world.port();
      await ns.createService({ name: "before", app: "echo", ports: [before] });
      await ns.waitForIngress("before", world.nodeIps);
      tools.fail();
      await ns.createService({ name: "after", app: "echo", ports: [world.port()] });
      const condition = await waitUntil("the reason on the Service", async () => {
        const found = await ns.condition("after");
        return /node1: rules are not programmed: .*"iptables-nft-restore" exits with 1/.test(found?.message ?? "") &&
          found;
      }, {
        deadlineMs: 60_000,
        explain: async () => `it is ${JSON.stringify(await ns.condition("after"))}\n${world.logs()}`,
      });
      match(condition.message ?? "", /Served by 1 node: node2/);
      await ns.waitForIngress("after", [world.node("node2").ip4]);
      // What was in the kernel before stays there, and stays listed.
      await world.waitForAnswer(world.client, { protocol: "tcp", ip: node.ip4, port: before });
      deepEqual(await ns.ingress("before"), world.nodeIps);
      tools.work();
      await ns.waitForIngress("after", world.nodeIps, 60_000);
      await ns.waitForIngress("before", world.nodeIps);
    } finally {
      await node.killAgent();
      tools.remove();
    }
  });
}
