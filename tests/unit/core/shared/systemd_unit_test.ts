// Unit files: what matters in them, and that systemd itself takes them. Where systemd is not installed, that test is skipped.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import {
  renderSystemdUnit,
  runtimeEnvironment,
  type SystemdUnitOptions,
  type UnitName,
} from "../../../../core/shared/systemd_unit.ts";

interface Case {
  readonly name: string;
  readonly given: readonly [UnitName, SystemdUnitOptions?];
  readonly want: Readonly<Record<string, readonly string[]>>;
}

const CASES: readonly Case[] = [
  {
    name: "the agent has the rights for iptables and no others",
    given: ["k3slb-agent"],
    want: {
      ExecStart: ["/usr/local/bin/k3slb agent"],
      CapabilityBoundingSet: ["CAP_NET_ADMIN CAP_NET_RAW"],
      AmbientCapabilities: [],
      NoNewPrivileges: ["yes"],
      ProtectSystem: ["strict"],
      ReadWritePaths: ["/run"],
    },
  },
  {
    name: "the server has no rights",
    given: ["k3slb-server"],
    want: {
      ExecStart: ["/usr/local/bin/k3slb server"],
      CapabilityBoundingSet: [""],
      RestrictAddressFamilies: ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"],
      StateDirectory: ["rancher"],
    },
  },
  {
    name: "a data folder elsewhere may be written",
    given: ["k3slb-server", { dataDir: "/srv/k3s data" }],
    want: { StateDirectory: [], ReadWritePaths: ['-"/srv/k3s data"'] },
  },
  {
    name: "words are quoted as systemd reads them",
    given: ["k3slb-agent", { program: '/opt/k3 "slb"/100%/$HOME' }],
    want: { ExecStart: ['"/opt/k3 \\"slb\\"/100%%/$$HOME" agent'] },
  },
  {
    name: "it is started as K3s's unit is",
    given: ["k3slb-agent"],
    want: {
      Type: ["notify"],
      Restart: ["always"],
      RestartSec: ["5s"],
      EnvironmentFile: ["-/etc/default/%N", "-/etc/sysconfig/%N", "-/etc/systemd/system/%N.service.env"],
    },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`renderSystemdUnit: ${name}`, () => {
    const lines = renderSystemdUnit(...given).split("\n");
    for (const [key, values] of Object.entries(want)) {
      const found = lines.filter((line) => line.startsWith(`${key}=`)).map((line) => line.slice(key.length + 1));
      assert.deepEqual(found, values, key);
    }
  });
}

Deno.test("runtimeEnvironment(): an agent gives memory back sooner than the server, and each unit says so", () => {
  const [agent, server] = (["agent", "server"] as const).map((role) => {
    const [name, ms = ""] = Object.entries(runtimeEnvironment(role)).find(([key]) => key.startsWith("MIMALLOC")) ?? [];
    assert.ok(renderSystemdUnit(`k3slb-${role}`).includes(`\nEnvironment=${name}=${ms}\n`));
    return Number(ms);
  });
  assert.ok((agent ?? 0) > 0 && (agent ?? 0) < (server ?? 0));
});

Deno.test("runtimeEnvironment(): a server looks for garbage when enough was made, in one go; an agent by the clock of the engine, too", () => {
  const settings = (role: "server" | "agent"): readonly string[] =>
    Object.keys(runtimeEnvironment(role)).filter((name) => /Timer$|ConcurrentGC/.test(name)).sort();
  assert.deepEqual(settings("agent"), []);
  assert.deepEqual(settings("server"), [
    "BUN_JSC_percentCPUPerMBForEdenTimer",
    "BUN_JSC_percentCPUPerMBForFullTimer",
    "BUN_JSC_useConcurrentGC",
  ]);
});

const VERSION = spawnSync("systemd-analyze", ["--version"]);
if (VERSION.status !== 0) {
  Deno.stderr.writeSync(new TextEncoder().encode("skipped: systemd-analyze is not installed\n"));
}

for (
  const given of [["k3slb-agent"], ["k3slb-server"], ["k3slb-server", {
    dataDir: "/srv/a b",
  }]] as const
) {
  const [name, options = {}] = given;
  Deno.test({
    name: `renderSystemdUnit: systemd-analyze verify has nothing to say about ${name} ${JSON.stringify(options)}`,
    ignore: VERSION.status !== 0,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        // A program that exists, as its absence would be what verify complains about.
        await Deno.writeTextFile(
          `${folder}/${name}.service`,
          renderSystemdUnit(name, { ...options, program: "/bin/true" }),
        );
        const result = spawnSync("systemd-analyze", ["verify", `${folder}/${name}.service`], { encoding: "utf8" });
        assert.deepEqual([result.status, result.stderr, result.stdout], [0, "", ""]);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

/** Part of what `systemd-analyze security --json=short` prints for each setting. */
interface Assessment {
  readonly set: boolean | null;
  readonly name: string;
  readonly exposure: string | null;
}

const SECURITY_PAGE = readFileSync(new URL("../../../../docs/security.md", import.meta.url), "utf8")
  .replaceAll("\\|", "|");

for (const name of ["k3slb-agent", "k3slb-server"] as const) {
  Deno.test({
    name:
      `renderSystemdUnit: ${name} is exposed below 2.5, and docs/security.md gives the reason for each missing point`,
    ignore: VERSION.status !== 0,
    fn: async () => {
      const folder = await Deno.makeTempDir();
      try {
        const file = `${folder}/${name}.service`;
        await Deno.writeTextFile(file, renderSystemdUnit(name, { program: "/bin/true" }));
        const analyze = (...args: readonly string[]): string =>
          spawnSync("systemd-analyze", ["security", "--offline=yes", "--no-pager", ...args, file], { encoding: "utf8" })
            .stdout;
        const overall = Number(/Overall exposure level for .*: (?<level>[\d.]+)/.exec(analyze())?.groups?.level);
        assert.ok(overall < 2.5, `exposure is ${overall}`);
        const missing = (JSON.parse(analyze("--json=short")) as readonly Assessment[]).filter(({ set }) =>
          set === false
        );
        assert.deepEqual(missing.filter((each) => !SECURITY_PAGE.includes(`\`${each.name}\``)), []);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}
