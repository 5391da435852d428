// What the tools' exit codes mean, and that a lock held by others hides no address family.
import assert from "node:assert/strict";
import { probeCapabilities } from "../../../../node_agent/host/capabilities.ts";
import type { Exec, ExecResult } from "../../../../node_agent/host/exec.ts";
import { type Backend, createIptables } from "../../../../node_agent/host/iptables.ts";

const LISTED: readonly { readonly name: string; readonly given: readonly [Backend, number]; readonly want: unknown }[] =
  [
    { name: "a chain", given: ["legacy", 0], want: ["-P INPUT ACCEPT"] },
    { name: "no chain", given: ["legacy", 1], want: undefined },
    { name: "a lock held by another program", given: ["legacy", 4], want: "iptables-locked" },
    { name: "a table that the kernel lacks", given: ["legacy", 3], want: "iptables-failed" },
    { name: "no chain", given: ["nft", 1], want: undefined },
    { name: "a kernel that refuses", given: ["nft", 4], want: "iptables-failed" },
  ];

for (const { name, given: [backend, code], want } of LISTED) {
  Deno.test(`listChain: ${name} (${backend})`, async () => {
    const exec = execOf(() => ({ code, stdout: code === 0 ? "-P INPUT ACCEPT\n" : "", stderr: "words" }));
    const listing = createIptables(exec, { family: "IPv4", backend, name: "iptables" }).listChain("filter", "INPUT");
    if (typeof want === "string") await assert.rejects(listing, { code: want });
    else assert.deepEqual(await listing, want);
  });
}

/** Legacy tools of both families, of which IPv4's find the lock held `times` times. */
function lockedTools(times: number): Exec {
  let left = times;
  return execOf((command, args) => {
    if (args.includes("--version")) return { code: 0, stdout: "iptables v1.8.9 (legacy)", stderr: "" };
    const isLocked = command === "iptables-legacy-restore" && left-- > 0;
    return { code: isLocked ? 4 : 0, stdout: "", stderr: "" };
  });
}

Deno.test("probeCapabilities: a family whose tools find a lock is tried again", async () => {
  const { families, missing } = await probeCapabilities(lockedTools(2), { mode: "legacy" });
  assert.deepEqual([Object.keys(families), missing], [["IPv4", "IPv6"], {}]);
});

Deno.test("probeCapabilities: a family behind a lock that stays is no missing family", async () => {
  await assert.rejects(probeCapabilities(lockedTools(Infinity), { mode: "legacy" }), { code: "iptables-locked" });
});

function execOf(run: (command: string, args: readonly string[]) => ExecResult): Exec {
  return { run: (command, args) => Promise.resolve(run(command, args)) };
}
