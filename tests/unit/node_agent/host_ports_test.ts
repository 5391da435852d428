// Listening sockets: the kernel's tables as text, and a /proc made of files.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import { createHostPorts } from "../../../node_agent/host_ports.ts";
import { parseSocketTable, type SocketTable } from "../../../node_agent/listening_sockets.ts";

const HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

function line(address: string, state: string, inode = "4242"): string {
  return `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0`;
}

interface Case {
  readonly name: string;
  readonly table: Partial<SocketTable>;
  readonly given: string;
  /** `IP port` */
  readonly want: readonly string[];
}

const TCP4: SocketTable = { family: "IPv4", protocol: "TCP", littleEndian: true };

const CASES: readonly Case[] = [
  { name: "a listener on all addresses", table: {}, given: line("00000000:0050", "0A"), want: ["0.0.0.0 80"] },
  { name: "a listener on one address", table: {}, given: line("0100A8C0:01BB", "0A"), want: ["192.168.0.1 443"] },
  {
    name: "the same on a big-endian machine",
    table: { littleEndian: false },
    given: line("C0A80001:01BB", "0A"),
    want: ["192.168.0.1 443"],
  },
  { name: "a connection is no listener", table: {}, given: line("0100A8C0:01BB", "01"), want: [] },
  { name: "a closing connection is no listener", table: {}, given: line("0100A8C0:01BB", "06"), want: [] },
  {
    name: "UDP listens unconnected",
    table: { protocol: "UDP" },
    given: line("00000000:0035", "07"),
    want: ["0.0.0.0 53"],
  },
  { name: "connected UDP is none", table: { protocol: "UDP" }, given: line("00000000:0035", "01"), want: [] },
  { name: "UDP without a port is none", table: { protocol: "UDP" }, given: line("00000000:0000", "07"), want: [] },
  {
    name: "all IPv6 addresses",
    table: { family: "IPv6" },
    given: line(`${"0".repeat(32)}:0050`, "0A"),
    want: [":: 80"],
  },
  {
    name: "one IPv6 address",
    table: { family: "IPv6" },
    given: line("B80D0120000000000000000001000000:0050", "0A"),
    want: ["2001:db8::1 80"],
  },
  {
    name: "IPv4 on an IPv6 socket",
    table: { family: "IPv6" },
    given: line("0000000000000000FFFF00000100007F:0050", "0A"),
    want: ["127.0.0.1 80"],
  },
  { name: "lines that are none", table: {}, given: "nonsense\n\n", want: [] },
];

for (const { name, table, given, want } of CASES) {
  Deno.test(`parseSocketTable: ${name}`, () => {
    const sockets = parseSocketTable(`${HEADER}\n${given}\n`, { ...TCP4, ...table });
    assert.deepEqual(sockets.map((one) => `${one.ip} ${one.port}`), want);
  });
}

Deno.test("createHostPorts: finds wanted sockets and their processes, reads a long table only as far as sockets listen", async () => {
  const root = await mkdtemp(join(tmpdir(), "k3slb-proc-"));
  try {
    const lines = [
      line("00000000:0050", "0A", "11"),
      line("00000000:0051", "0A", "12"),
      line("00000000:0052", "0A", "13"),
      ...Array.from({ length: 2000 }, () => line("0100A8C0:01BB", "01", "0")),
      line("00000000:0052", "0A", "14"),
    ];
    await mkdir(join(root, "net"));
    await writeFile(join(root, "net/tcp"), [HEADER, ...lines, ""].join("\n"));
    // Lines of another length than the chunks that are read, so that chunks end inside of them.
    const lines6 = Array.from(
      { length: 700 },
      (_, i) => line(`${"0".repeat(32)}:${(1000 + i).toString(16)}`, "0A", `${100 + i}`),
    );
    await writeFile(join(root, "net/tcp6"), [HEADER, ...lines6, ""].join("\n"));
    await mkdir(join(root, "812/fd"), { recursive: true });
    await writeFile(join(root, "812/comm"), "nginx\n");
    await symlink("socket:[11]", join(root, "812/fd/3"));
    const found = await createHostPorts(root).listeners([{ protocol: "TCP", port: 80 }, { protocol: "TCP", port: 82 }]);
    const ip = "0.0.0.0";
    const found6 = await createHostPorts(root).listeners([{ protocol: "TCP", port: 1699 }]);
    assert.deepEqual(found6, [{ protocol: "TCP", ip: "::", port: 1699 }]);
    assert.equal(endianness(), "LE", "the table above is that of a little-endian machine");
    assert.deepEqual(found, [
      { protocol: "TCP", ip, port: 80, process: { name: "nginx", pid: 812 } },
      { protocol: "TCP", ip, port: 82 },
    ]);
  } finally {
    await rm(root, { recursive: true });
  }
});

Deno.test("createHostPorts: without tables nothing listens", async () => {
  assert.deepEqual(await createHostPorts("/nowhere").listeners([{ protocol: "TCP", port: 80 }]), []);
});

Deno.test({
  name: "createHostPorts: sees a real socket of this process",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = server.address();
      assert.ok(address !== null && typeof address === "object");
      const [found] = await createHostPorts().listeners([{ protocol: "TCP", port: address.port }]);
      assert.deepEqual([found?.ip, found?.process?.pid], ["127.0.0.1", Deno.pid]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  },
});
