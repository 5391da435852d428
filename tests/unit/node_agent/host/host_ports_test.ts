// Listening sockets: the kernel's tables as text, and a /proc made of files.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import { K3slbError } from "../../../../core/shared/errors.ts";
import type { Exec, ExecResult } from "../../../../node_agent/host/exec.ts";
import { createHostPorts } from "../../../../node_agent/host/host_ports.ts";
import { parseSocketTable, type SocketTable } from "../../../../node_agent/host/listening_sockets.ts";

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
    const hostPorts = createHostPorts(root, fakeSs(""));
    const found = await hostPorts.listeners([{ protocol: "TCP", port: 80 }, { protocol: "TCP", port: 82 }]);
    const ip = "0.0.0.0";
    const found6 = await hostPorts.listeners([{ protocol: "TCP", port: 1699 }]);
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

Deno.test("createHostPorts: while the counts of sockets stay, the tables are read every sixth time only", async () => {
  const root = await mkdtemp(join(tmpdir(), "k3slb-proc-"));
  try {
    await mkdir(join(root, "net"));
    const count = (tcp: number, tcp6: number): Promise<unknown> =>
      Promise.all([
        writeFile(join(root, "net/sockstat"), `sockets: used 9\nTCP: inuse ${tcp} orphan 0 tw 138 alloc 5 mem 8\n`),
        writeFile(join(root, "net/sockstat6"), `TCP6: inuse ${tcp6}\nUDP6: inuse 0\n`),
      ]);
    const hostPorts = createHostPorts(root, fakeSs(""));
    const find = async (port = 80): Promise<number> =>
      (await hostPorts.listeners([{ protocol: "TCP", port }, { protocol: "TCP", port: 81 }])).length;

    await count(5, 0);
    await writeProcTable(root, {});
    assert.equal(await find(), 0);
    await writeProcTable(root, { "00000000:0050": "11", "00000000:0051": "12" });
    const found: number[] = [];
    while (found.length < 6) found.push(await find());
    assert.deepEqual(found, [0, 0, 0, 0, 0, 2]);
    // Such a look waits for nobody: each step beside the loop is a wait for a processor.
    let isKnown = false;
    void find().then(() => isKnown = true);
    for (let i = 0; i < 5; i++) await Promise.resolve();
    assert.ok(isKnown);
    // Another count, of any kind of socket, or other ports: at once.
    await writeProcTable(root, { "00000000:0050": "11" });
    await count(5, 1);
    assert.equal(await find(), 1);
    await writeProcTable(root, {});
    assert.equal(await find(82), 0);
    // A kernel that counts nothing.
    await rm(join(root, "net/sockstat"));
    await rm(join(root, "net/sockstat6"));
    for (const inode of ["11", "12"]) {
      await writeProcTable(root, inode === "11" ? { "00000000:0050": inode } : {});
      assert.equal(await find(), inode === "11" ? 1 : 0);
    }
  } finally {
    await rm(root, { recursive: true });
  }
});

Deno.test("createHostPorts: many ports that are asked for one after the other cost one reading a second", async () => {
  await withProc(async (root) => {
    await writeFile(join(root, "net/sockstat"), "TCP: inuse 2 orphan 0 tw 0 alloc 2 mem 1\n");
    let nowMs = 0;
    const hostPorts = createHostPorts(root, { ...fakeSs(SS_TEXT), now: () => nowMs });
    const find = async (...ports: readonly number[]): Promise<readonly number[]> =>
      (await hostPorts.listeners(ports.map((port) => ({ protocol: "TCP", port })))).map(({ port }) => port);
    assert.deepEqual(await find(80), [80]);
    await writeProcTable(root, { "00000000:0051": "12", "00000000:0052": "13" });
    nowMs = 900;
    assert.deepEqual(await find(80, 81, 82), [80, 81], "as it was read");
    nowMs = 1_100;
    assert.deepEqual(await find(80, 81), [80, 81], "nothing new is asked for");
    assert.deepEqual(await find(80, 81, 82), [81, 82]);
  });
});

/** An `ss` that prints `text`, ends with a code, or fails; and how often it ran. */
function fakeSs(answer: string | number | Error): { readonly exec: Exec; readonly runs: string[] } {
  const runs: string[] = [];
  const run = (command: string, args: readonly string[], { timeoutMs }: { timeoutMs: number }): Promise<ExecResult> => {
    assert.ok(timeoutMs > 0 && timeoutMs <= 5000, "the loop waits for it");
    runs.push([command, ...args].join(" "));
    if (answer instanceof Error) return Promise.reject(answer);
    const isCode = typeof answer === "number";
    return Promise.resolve({ code: isCode ? answer : 0, stdout: isCode ? "" : answer, stderr: "" });
  };
  return { exec: { run }, runs };
}

/** A /proc whose process 812, nginx, has the socket 11 on port 80; nobody's descriptors show 12 on port 81. */
async function withProc(work: (root: string) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "k3slb-proc-"));
  try {
    await mkdir(join(root, "net"));
    await writeProcTable(root, { "00000000:0050": "11", "00000000:0051": "12" });
    await mkdir(join(root, "812/fd"), { recursive: true });
    await writeFile(join(root, "812/comm"), "nginx\n");
    await symlink("socket:[11]", join(root, "812/fd/3"));
    await work(root);
  } finally {
    await rm(root, { recursive: true });
  }
}

async function writeProcTable(root: string, inodes: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(inodes).map(([address, inode]) => line(address, "0A", inode));
  await writeFile(join(root, "net/tcp"), [HEADER, ...lines, ""].join("\n"));
}

const SS_TEXT = [
  "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:* ino:11 sk:1 cgroup:/system.slice/nginx.service <->",
  "tcp LISTEN 0 128 0.0.0.0:81 0.0.0.0:* ino:12 sk:2 cgroup:/system.slice/httpd.service <->",
  "tcp LISTEN 0 128 0.0.0.0:81 0.0.0.0:* ino:13 sk:3 cgroup:/system.slice/caddy.service <->",
].join("\n");
const PORT_80 = { protocol: "TCP", port: 80 } as const;
const PORT_81 = { protocol: "TCP", port: 81 } as const;

Deno.test("createHostPorts: a process that is seen is named as ever, and ss is not asked", async () => {
  await withProc(async (root) => {
    const { exec, runs } = fakeSs(SS_TEXT);
    const found = await createHostPorts(root, { exec }).listeners([PORT_80]);
    assert.deepEqual(found, [{ ...PORT_80, ip: "0.0.0.0", process: { name: "nginx", pid: 812 } }]);
    assert.deepEqual(runs, []);
  });
});

Deno.test("createHostPorts: ss names who has a socket whose process can't be seen, once for each that comes", async () => {
  await withProc(async (root) => {
    const { exec, runs } = fakeSs(SS_TEXT);
    const hostPorts = createHostPorts(root, { exec });
    const nginx = { ...PORT_80, ip: "0.0.0.0", process: { name: "nginx", pid: 812 } };
    for (let pass = 0; pass < 3; pass++) {
      assert.deepEqual(await hostPorts.listeners([PORT_80, PORT_81]), [
        nginx,
        { ...PORT_81, ip: "0.0.0.0", owner: "httpd.service" },
      ]);
    }
    assert.deepEqual(runs, ["ss -H -l -n -t -u -e --cgroup"]);
    await writeProcTable(root, { "00000000:0050": "11", "00000000:0051": "13" });
    for (let pass = 0; pass < 2; pass++) {
      assert.deepEqual(await hostPorts.listeners([PORT_80, PORT_81]), [
        nginx,
        { ...PORT_81, ip: "0.0.0.0", owner: "caddy.service" },
      ]);
    }
    assert.equal(runs.length, 2);
  });
});

const SILENT: Readonly<Record<string, string | number | Error>> = {
  "no ss": new K3slbError('Cannot start "ss": there is no such program', {
    code: "command-missing",
    hint: "Install it",
  }),
  "an ss that hangs": new K3slbError('"ss" did not end within 3000 ms', { code: "command-timeout", hint: "Wait" }),
  "an ss without the option": 255,
  "an ss that says nothing of the socket": "tcp LISTEN 0 128 0.0.0.0:81 0.0.0.0:* ino:12 sk:2 cgroup:/ <-> cgroup:/\n",
};

for (const [name, answer] of Object.entries(SILENT)) {
  Deno.test(`createHostPorts: with ${name} only the name is missing, and it is not asked again`, async () => {
    await withProc(async (root) => {
      const { exec, runs } = fakeSs(answer);
      const hostPorts = createHostPorts(root, { exec });
      for (let pass = 0; pass < 2; pass++) {
        assert.deepEqual(await hostPorts.listeners([PORT_81]), [{ ...PORT_81, ip: "0.0.0.0" }]);
      }
      assert.equal(runs.length, 1);
    });
  });
}

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
