// The packages on a fresh Debian with a real service manager: installed, configured, running, upgraded under traffic from a package of the version
// before, removed, purged. File trees before and after are compared.
import { deepEqual, equal, match, notEqual, ok } from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import process from "node:process";
import { writeDebianPackage } from "../../build/release/debian_package.ts";
import { releaseFiles } from "../../build/release/release_files.ts";
import { writeRpmPackage } from "../../build/release/rpm_package.ts";
import { debianRoot } from "../support/debian_root.ts";
import { enterWorld } from "../support/netns.ts";
import { programBefore } from "../support/program_before.ts";
import { SystemdMachine, systemdObstacle } from "../support/systemd_machine.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER } from "../support/world.ts";
import { programCommand } from "../support/world_node.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const EPOCH_SECONDS = 1_700_000_000;
const UNITS = ["k3slb-server", "k3slb-agent"] as const;

/** One kind of package and how it is handled. */
interface Kind {
  readonly name: "deb" | "rpm";
  readonly install: readonly string[];
  /** Steps after which nothing but {@linkcode Kind.leaves} is left. */
  readonly remove: readonly (readonly string[])[];
  /** What else the package manager writes. */
  readonly own: RegExp;
  /** Files that are there afterwards, and were not before. */
  readonly leaves: readonly string[];
}

const KINDS: readonly Kind[] = [
  {
    name: "deb",
    install: ["dpkg", "--install"],
    remove: [["dpkg", "--remove", "k3slb"], ["dpkg", "--purge", "k3slb"]],
    own: /^\/var\/(lib\/dpkg|log|cache)\//,
    leaves: [],
  },
  {
    name: "rpm",
    // Debian's rpm knows of no package of Debian's.
    install: ["rpm", "--upgrade", "--nodeps"],
    remove: [["rpm", "--erase", "k3slb"]],
    own: /^\/(var\/lib\/rpm|usr\/lib\/sysimage\/rpm|root\/\.rpmdb)\//,
    // Changed by the administrator.
    leaves: ["/etc/default/k3slb-agent.rpmsave", "/etc/default/k3slb-server.rpmsave"],
  },
];

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0 });
  const root = debianRoot();
  const obstacle = programCommand().length > 1
    ? "a binary is installed"
    : root === undefined
    ? "there is no fresh Debian: tests/run.ts with the suite real makes one, as root, from the Debian archive"
    : systemdObstacle();

  for (const kind of KINDS) {
    test(
      `${kind.name}: installed, configured, run, upgraded, removed; afterwards the files are as before`,
      (given) => lifeOfPackage(given, kind, root ?? ""),
      obstacle === undefined ? {} : { skip: obstacle },
    );
  }
}

async function lifeOfPackage({ world, ns }: WorldTest, kind: Kind, base: string): Promise<void> {
  const node = world.node("node1");
  await node.stopAgent();
  const dir = mkdtempSync(join(tmpdir(), "k3slb-packages-"));
  const [now = ""] = programCommand();
  const packages = [
    await writePackage(kind.name, "0.0.9", programBefore() ?? now),
    await writePackage(kind.name, "0.1.0", now),
  ] as const;
  const machine = await SystemdMachine.start({
    ns: node.ns,
    hostName: "node1",
    dir,
    base,
    files: {
      "/etc/kubernetes/kubelet.conf": readFileSync(await node.kubeconfig(), "utf8"),
      "/etc/kubernetes/admin.conf": readFileSync(await world.api.kubeconfig(SERVER_USER, ["system:masters"]), "utf8"),
    },
    programs: {
      "/opt/before": packages[0],
      "/opt/now": packages[1],
    },
  });
  const explain = (): Promise<string> => machine.logs();
  const run = async (...command: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await machine.run(command);
    equal(code, 0, `${command.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  };
  const files = async (): Promise<readonly string[]> => {
    const found = await run("find", "/", "-xdev", "(", "-type", "f", "-o", "-type", "l", ")");
    return found.trim().split("\n").filter((path) => !kind.own.test(path)).sort();
  };
  const chains = async (): Promise<number> => (await run("iptables-save")).match(/^:K3SLB/gm)?.length ?? 0;
  const pids = async (): Promise<readonly string[]> =>
    await Promise.all(UNITS.map(async (unit) => (await machine.show(unit))["MainPID"] ?? ""));
  const isWorking = async (): Promise<boolean> =>
    (await machine.run(["systemctl", "is-active", ...UNITS])).stdout.trim() === "active\nactive";
  try {
    const before = await files();
    await run(...kind.install, "/opt/before");
    deepEqual(await pids(), ["0", "0"], "an installation starts nothing");
    match((await machine.run(["systemctl", "is-enabled", ...UNITS])).stdout, /^disabled\ndisabled$/m);
    await machine.write("/etc/default/k3slb-agent", "K3SLB_LOG_LEVEL=debug\n");
    await machine.write("/etc/default/k3slb-server", "K3SLB_DISABLE=coredns,traefik,helm\n");
    await machine.systemctl("enable", "--now", ...UNITS);
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [port] });
    await waitUntil("the address in the status", async () => (await ns.ingress("web")).join() === node.ip4, {
      explain,
      deadlineMs: 40_000,
    });
    const request = { protocol: "tcp", ip: node.ip4, port, timeoutMs: 5_000 } as const;
    await world.waitForAnswer(world.client, request);

    const earlier = await pids();
    const flow = await world.client.ns.startFlow([request], 20);
    await run(...kind.install, "/opt/now");
    await waitUntil("both to work again", isWorking, { explain, deadlineMs: 30_000 });
    await waitUntil("traffic after the upgrade", async () => ((await flow.counts())[0]?.["answer"] ?? 0) > 300, {
      deadlineMs: 30_000,
    });
    const [counts = {}] = await flow.stop();
    deepEqual(Object.keys(counts), ["answer"], JSON.stringify(counts));
    for (const [i, pid] of (await pids()).entries()) notEqual(pid, earlier[i], "the new program runs");
    equal(await machine.read("/etc/default/k3slb-agent"), "K3SLB_LOG_LEVEL=debug\n");
    ok((await chains()) > 0);

    for (const [i, step] of kind.remove.entries()) {
      await run(...step);
      const isLast = i === kind.remove.length - 1;
      equal((await machine.run(["test", "-e", "/usr/bin/k3slb"])).code, 1);
      // What is only removed serves on.
      if (!isLast) equal((await world.client.ns.request(request)).outcome, "answer");
    }
    equal(await chains(), 0);
    const after = new Set(await files());
    // The server's data folder is the user's: manifests and charts (docs/removing.md).
    const left = [...after].filter((path) =>
      !before.includes(path) && !path.startsWith("/var/lib/rancher/k3s/server/")
    );
    deepEqual(left, kind.leaves);
    deepEqual(before.filter((path) => !path.startsWith("/opt/") && !after.has(path)), []);
  } finally {
    await machine.stop();
    for (const folder of [dir, ...packages.map((file) => join(file, ".."))]) {
      rmSync(folder, { recursive: true, force: true });
    }
    // The server that would take its finalizer off is gone.
    await ns.patchService("web", { metadata: { finalizers: null } }).then(() => ns.deleteService("web")).catch(
      () => {},
    );
  }
}

async function writePackage(kind: Kind["name"], version: string, binary: string): Promise<string> {
  const out = mkdtempSync(join(tmpdir(), "k3slb-package-"));
  const work = join(out, "work");
  mkdirSync(work);
  const notices = join(ROOT, "dist", "THIRD_PARTY_NOTICES.txt");
  const files = releaseFiles({ version, epochSeconds: EPOCH_SECONDS, root: ROOT.replace(/\/$/, ""), binary, notices });
  const arch = process.arch === "arm64" ? "arm64" : "x64";
  const options = { files, version, arch, out, work, epochSeconds: EPOCH_SECONDS, compress: false } as const;
  return kind === "deb" ? await writeDebianPackage(options) : await writeRpmPackage(options);
}
