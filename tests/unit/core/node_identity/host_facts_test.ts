// Facts of a machine, read from a folder that stands for its root.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readHostFacts } from "../../../../core/node_identity/host_facts.ts";

interface Case {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly kernelName: string;
  readonly want: { readonly hostName: string; readonly machineId: string; readonly systemUuid: string };
}

const CASES: readonly Case[] = [
  {
    name: "all files",
    files: { "etc/machine-id": "abc\n", "sys/class/dmi/id/product_uuid": "UUID-1\n", "etc/hostname": "file\n" },
    kernelName: "kernel",
    want: { hostName: "kernel", machineId: "abc", systemUuid: "UUID-1" },
  },
  {
    name: "no file",
    files: {},
    kernelName: "kernel",
    want: { hostName: "kernel", machineId: "", systemUuid: "" },
  },
  {
    name: "a kernel without a name takes the file's, comments cut",
    files: { "etc/hostname": "# a comment\n\n file \n", "var/lib/dbus/machine-id": "dbus\n" },
    kernelName: "(none)",
    want: { hostName: "file", machineId: "dbus", systemUuid: "" },
  },
];

for (const { name, files, kernelName, want } of CASES) {
  Deno.test(`readHostFacts: ${name}`, async () => {
    const root = await mkdtemp(join(tmpdir(), "k3slb-host-"));
    try {
      for (const [path, text] of Object.entries(files)) {
        await mkdir(dirname(join(root, path)), { recursive: true });
        await writeFile(join(root, path), text);
      }
      const facts = await readHostFacts({
        root,
        hostName: () => kernelName,
        interfaces: () => [
          { name: "lo", addresses: ["127.0.0.1", "::1"] },
          { name: "eth0", addresses: ["192.0.2.1", "fe80::1", "fd00::1"] },
        ],
      });
      assert.deepEqual(facts, { ...want, addresses: ["192.0.2.1", "fd00::1"] });
    } finally {
      await rm(root, { recursive: true });
    }
  });
}

Deno.test("readHostFacts: interfaces that a sandbox hides leave the addresses empty", async () => {
  const interfaces = (): never => {
    throw new Error("getifaddrs returned an error");
  };
  const facts = await readHostFacts({ root: "/nonexistent", hostName: () => "kernel", interfaces });
  assert.deepEqual(facts, { hostName: "kernel", machineId: "", systemUuid: "", addresses: [] });
});
