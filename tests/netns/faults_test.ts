// Tools that are missing, fail, hang or wait for a lock; what the kernel then has, and what the operator is told.
import assert from "node:assert/strict";
import type { K3slbError } from "../../core/shared/errors.ts";
import { isK3slbError } from "../../core/shared/errors.ts";
import { createLogger } from "../../core/shared/log.ts";
import { desiredRuleSet } from "../../node_agent/rules/desired_ruleset.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import { createIptables } from "../../node_agent/host/iptables.ts";
import { parseSave } from "../../node_agent/rules/parse_save.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../node_agent/rules/parse_mark_bits.ts";
import { renderRestore, renderRuleSet } from "../../node_agent/rules/render_restore.ts";
import { RuleSetWriter } from "../../node_agent/rules/ruleset_writer.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { dataplaneOf, hostOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld, Netns } from "../support/netns.ts";
import { EVERY_KIND } from "../support/plans.ts";
import { waitUntil } from "../support/wait.ts";

const PLAN = {
  podCidrs: [],
  ports: [
    portOf({ endpoints: [{ ip: "10.42.1.10", port: 1, local: true }, { ip: "fd42:1::10", port: 1, local: true }] }),
  ],
};

/** A folder with all tools of the machine that matter here, some of them replaced by scripts; a script of "" leaves the tool out. */
async function toolsWith(scripts: Readonly<Record<string, string>>): Promise<string> {
  const folder = await Deno.makeTempDir({ dir: "/run", prefix: "k3slb-tools-" });
  const tools = ["iptables", "ip6tables"].flatMap((name) =>
    ["", "-nft", "-legacy"].flatMap((kind) => ["", "-save", "-restore"].map((suffix) => `${name}${kind}${suffix}`))
  );
  for (const tool of [...tools, "conntrack", "nft"]) {
    const script = scripts[tool] ??
      Object.entries(scripts).find(([key]) => key.endsWith("*") && tool.startsWith(key.slice(0, -1)))?.[1];
    if (script === "") continue;
    const path =
      (await new Deno.Command("sh", { args: ["-c", `command -v /usr/sbin/${tool} || command -v ${tool}`] }).output())
        .stdout;
    await Deno.writeTextFile(
      `${folder}/${tool}`,
      `#!/bin/sh\n${script ?? `exec ${new TextDecoder().decode(path).trim()} "$@"`}\n`,
      { mode: 0o755 },
    );
  }
  await Deno.writeTextFile(`${folder}/sh`, '#!/bin/sh\nexec /bin/sh "$@"\n', { mode: 0o755 });
  return folder;
}

/** Runs tools of `folder` inside the namespace; `nsenter` finds no tool by itself, so a missing one looks as it does on a real host. */
function faultyHost(ns: Netns, folder: string): ReturnType<typeof hostOf> {
  const inner = createExec({ prefix: ns.command([]) });
  const plain = createExec({ path: folder });
  return {
    ...hostOf(ns),
    exec: {
      run: async (command, args, options) => {
        try {
          await Deno.stat(`${folder}/${command}`);
        } catch {
          return await plain.run(command, args, options);
        }
        return await inner.run(`${folder}/${command}`, args, options);
      },
    },
  };
}

if (await enterWorld(import.meta.url)) {
  const broken: readonly { name: string; scripts: Readonly<Record<string, string>>; mode?: "legacy"; want: string }[] =
    [
      { name: "no tools at all", scripts: { "iptables*": "", "ip6tables*": "" }, want: "iptables-missing" },
      {
        name: "tools that fail",
        scripts: { "iptables-nft-restore": "echo no module >&2; exit 1", "ip6tables-nft-restore": "exit 2" },
        want: "iptables-failed",
      },
      {
        name: "tools that hang",
        scripts: { "iptables-nft-restore": "sleep 60", "ip6tables-nft-restore": "exec sleep 60" },
        want: "iptables-timeout",
      },
      {
        name: "a lock that others hold",
        scripts: { "iptables-legacy-restore": "exit 4", "ip6tables-legacy-restore": "exit 4" },
        mode: "legacy",
        want: "iptables-locked",
      },
    ];
  for (const { name, scripts, mode, want } of broken) {
    Deno.test(`createDataplane with ${name} says ${want} and what to do`, async () => {
      await using ns = await Netns.create("node");
      const host = faultyHost(ns, await toolsWith(scripts));
      const creating = dataplaneOf(ns, { host, timeoutMs: 700, iptablesMode: mode ?? "auto" });
      await assert.rejects(creating, (error: K3slbError) => isK3slbError(error, want) && (error.hint ?? "") !== "");
    });

    Deno.test(`apply survives ${name} that come later, and writes everything when they are gone`, async () => {
      await using ns = await Netns.create("node");
      const folder = await toolsWith({});
      const dataplane = await dataplaneOf(ns, {
        host: faultyHost(ns, folder),
        timeoutMs: 700,
        iptablesMode: mode ?? "nft",
      });
      await dataplane.apply(PLAN);
      const rules = async (): Promise<string> => (await ns.run(`iptables-${mode ?? "nft"}`, ["-t", "nat", "-S"]));
      const before = await rules();
      const faulty = await toolsWith(scripts);
      await new Deno.Command("sh", { args: ["-c", `mv ${folder} ${folder}.good && mv ${faulty} ${folder}`] }).output();
      await assert.rejects(dataplane.apply({ podCidrs: [], ports: [] }), { code: want });
      assert.equal(await rules(), before);
      await new Deno.Command("sh", { args: ["-c", `rm -r ${folder} && mv ${folder}.good ${folder}`] }).output();
      assert.ok((await dataplane.repair()).repairs.length > 0);
      assert.ok(!(await rules()).includes("K3SLB-S-"));
    });
  }

  Deno.test("createDataplane without IPv6 tools serves IPv4 and says why not IPv6", async () => {
    await using ns = await Netns.create("node");
    const lines: string[] = [];
    const log = createLogger({ level: "warn", format: "text", write: (line) => lines.push(line), now: () => 0 });
    const dataplane = await dataplaneOf(ns, { host: faultyHost(ns, await toolsWith({ "ip6tables*": "" })), log });
    const report = await dataplane.apply(PLAN);
    assert.deepEqual([report.families, report.failures], [["IPv4"], []]);
    assert.match(lines.join("\n"), /No IPv6 forwarding/);
    const only6 = await dataplane.apply({ podCidrs: [], ports: [portOf({ families: ["IPv6"] })] });
    assert.deepEqual(only6.failures.map((failure) => failure.family), ["IPv6"]);
  });

  Deno.test("apply in one family goes on when the other fails, and reports the ports", async () => {
    await using ns = await Netns.create("node");
    const folder = await toolsWith({});
    const dataplane = await dataplaneOf(ns, { host: faultyHost(ns, folder) });
    await Deno.writeTextFile(`${folder}/iptables-nft-restore`, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
    const report = await dataplane.apply(PLAN);
    assert.deepEqual(report.families, ["IPv6"]);
    assert.deepEqual(report.failures.map((failure) => failure.family), ["IPv4"]);
    assert.match((await dataplane.repair()).warnings.join(), /IPv4/);
  });

  const hints = [
    { name: "the kubelet's hint in legacy", given: "iptables-legacy -t mangle -N KUBE-IPTABLES-HINT", want: "legacy" },
    {
      name: "the kubelet's canary in nft",
      given: "iptables-nft -t mangle -N KUBE-KUBELET-CANARY; iptables-legacy -A INPUT -s 1.1.1.1",
      want: "nft",
    },
    { name: "the hint of IPv6 alone", given: "ip6tables-legacy -t mangle -N KUBE-IPTABLES-HINT", want: "legacy" },
    { name: "most rules in legacy", given: "iptables-legacy -A INPUT -s 1.1.1.1", want: "legacy" },
    { name: "nothing", given: "true", want: "nft" },
  ];
  for (const { name, given, want } of hints) {
    Deno.test(`createDataplane chooses the backend by ${name}`, async () => {
      await using ns = await Netns.create("node");
      await ns.run("sh", ["-c", given]);
      assert.equal((await dataplaneOf(ns)).backend, want);
    });
  }

  Deno.test("remove cleans all it can where somebody else's rule jumps to a chain of ours", async () => {
    await using ns = await Netns.create("node");
    const dataplane = await dataplaneOf(ns);
    await dataplane.apply(PLAN);
    const foreign = ["-N FOREIGN", "-A FOREIGN -j K3SLB-FORWARD"];
    await ns.run("sh", ["-c", foreign.map((args) => `iptables ${args}`).join(" && ")]);
    await ns.run("iptables-legacy", ["-t", "nat", "-N", "K3SLB-OLD"]);
    await assert.rejects(dataplane.remove(), { code: "iptables-failed" });
    const programs = ["iptables-save", "ip6tables-save", "iptables-legacy-save"];
    const texts = await Promise.all(programs.map((name) => ns.run(name)));
    assert.deepEqual(texts.join("\n").match(/^-A .*K3SLB.*$/gm), ["-A FOREIGN -j K3SLB-FORWARD"]);
    assert.deepEqual(texts.join("\n").match(/^:K3SLB\S+/gm), [":K3SLB-FORWARD", ":K3SLB-INPUT"]);
    await ns.run("iptables", ["-F", "FOREIGN"]);
    await dataplane.remove();
    assert.ok(!(await ns.run("iptables-save")).includes("K3SLB"));
  });

  Deno.test("createDataplane changes nothing, and asks the legacy tools for no table", async () => {
    await using ns = await Netns.create("node");
    await dataplaneOf(ns);
    assert.equal((await ns.run("cat", ["/proc/net/ip_tables_names"])).trim(), "");
    assert.ok(!(await ns.run("iptables-nft-save")).includes("K3SLB"));
  });

  Deno.test("apply without the conntrack tool works and repair says what is missing", async () => {
    await using ns = await Netns.create("node");
    const dataplane = await dataplaneOf(ns, { host: faultyHost(ns, await toolsWith({ conntrack: "" })) });
    await dataplane.apply(PLAN);
    await dataplane.apply({ podCidrs: [], ports: [] });
    await waitUntil(
      "the warning",
      async () => (await dataplane.repair()).warnings.join().includes('"conntrack" tool is missing'),
    );
  });

  Deno.test("what an earlier run left in the other backend is looked for until the look succeeds", async () => {
    await using ns = await Netns.create("node");
    await (await dataplaneOf(ns, { iptablesMode: "legacy" })).apply(PLAN);
    const flag = "/run/k3slb-sweep-fails";
    await Deno.writeTextFile(flag, "");
    const folder = await toolsWith({
      "iptables-legacy-save": `if [ -e ${flag} ]; then kill -9 $$; fi; exec /usr/sbin/iptables-legacy-save "$@"`,
    });
    const dataplane = await dataplaneOf(ns, { host: faultyHost(ns, folder), iptablesMode: "nft" });
    await dataplane.apply(PLAN);
    const left = async (): Promise<boolean> => (await ns.run("iptables-legacy-save")).includes("K3SLB-SERVICES");
    assert.ok(await left());
    await Deno.remove(flag);
    await waitUntil("the other backend to be clean", async () => {
      await dataplane.repair();
      return !await left();
    });
  });

  for (const backend of ["nft", "legacy"] as const) {
    Deno.test(`what iptables prints is what was written, rule by rule (${backend})`, async () => {
      await using ns = await Netns.create("node");
      for (const family of ["IPv4", "IPv6"] as const) {
        const features = { randomFully: true, sctp: true, recent: true, bridgeFilter: true };
        const { ruleSet } = desiredRuleSet(EVERY_KIND, family, { marks: parseMarkBits(DEFAULT_MARK_BITS), features });
        const name = `${family === "IPv4" ? "iptables" : "ip6tables"}-${backend}`;
        await new RuleSetWriter(createIptables(hostOf(ns).exec, { family, backend, name }), SILENT_LOGGER).write(
          ruleSet,
        );
        const saved = parseSave(await ns.run(`${name}-save`), "K3SLB-");
        const byName = (tables: typeof saved): unknown =>
          Object.values(tables).map((chains) => [...chains].sort((a, b) => (a.name < b.name ? -1 : 1)));
        assert.deepEqual(byName(saved), byName(parseSave(renderRuleSet(ruleSet), "K3SLB-")));
        assert.equal(renderRestore([], family), "");
      }
    });
  }
}
