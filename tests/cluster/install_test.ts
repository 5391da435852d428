// `k3slb install` and `k3slb uninstall` on a machine with a real service manager, systemd or OpenRC: one command a program, then traffic; again,
// nothing is started anew; uninstalled, the machine's files and rules are as they were.
import { deepEqual, equal, match } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findObject } from "../../core/kube/one_object.ts";
import { LEASES } from "../../core/kube/resources.ts";
import { ELECTION_LEASE_NAME } from "../../core/service/labels.ts";
import { debianRoot } from "../support/debian_root.ts";
import { enterWorld } from "../support/netns.ts";
import { SystemdMachine, systemdObstacle } from "../support/systemd_machine.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER } from "../support/world.ts";
import { programCommand } from "../support/world_node.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const DOWNLOADED = "/opt/k3slb";
const ROLES = ["server", "agent"] as const;
type Role = typeof ROLES[number];

/** A service manager, and how it is asked. */
interface Kind {
  readonly init: "systemd" | "openrc";
  /** Folder with the machine's files. */
  readonly base: string;
  readonly unit: (role: Role) => string;
  readonly environment: (role: Role) => string;
  readonly isEnabled: readonly string[];
  readonly isActive: (role: Role) => readonly string[];
  /** Prints something that another process has otherwise. */
  readonly pid: (role: Role) => readonly string[];
}

const KINDS: readonly Kind[] = [
  {
    init: "systemd",
    base: "/",
    unit: (role) => `/etc/systemd/system/k3slb-${role}.service`,
    environment: (role) => `/etc/default/k3slb-${role}`,
    isEnabled: ["systemctl", "is-enabled", "k3slb-agent"],
    isActive: (role) => ["systemctl", "is-active", `k3slb-${role}`],
    pid: (role) => ["systemctl", "show", "-P", "MainPID", `k3slb-${role}`],
  },
  {
    init: "openrc",
    base: debianRoot() ?? "",
    unit: (role) => `/etc/init.d/k3slb-${role}`,
    environment: (role) => `/etc/conf.d/k3slb-${role}`,
    isEnabled: ["test", "-L", "/etc/runlevels/default/k3slb-agent"],
    isActive: (role) => ["rc-service", `k3slb-${role}`, "status"],
    pid: (role) => ["cat", `/run/supervise-k3slb-${role}.pid`],
  },
];

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0 });
  for (const kind of KINDS) {
    const obstacle = programCommand().length > 1
      ? "a binary is installed"
      : kind.base === ""
      ? "there is no fresh Debian: tests/run.ts with the suite real makes one, as root, from the Debian archive"
      : systemdObstacle();
    test(
      `${kind.init}: install, install again, uninstall: a served Service in between, the machine as before afterwards`,
      (given) => lifeOnHost(given, kind),
      obstacle === undefined ? {} : { skip: obstacle },
    );
  }
}

async function lifeOnHost({ world, ns }: WorldTest, kind: Kind): Promise<void> {
  const node = world.node("node1");
  await node.stopAgent();
  const dir = mkdtempSync(join(tmpdir(), "k3slb-install-"));
  const [program = ""] = programCommand();
  const machine = await SystemdMachine.start({
    ns: node.ns,
    hostName: "node1",
    dir,
    init: kind.init,
    base: kind.base,
    files: {
      "/etc/kubernetes/kubelet.conf": readFileSync(await node.kubeconfig(), "utf8"),
      "/etc/kubernetes/admin.conf": readFileSync(await world.api.kubeconfig(SERVER_USER, ["system:masters"]), "utf8"),
    },
    programs: { [DOWNLOADED]: program },
  });
  const explain = (): Promise<string> => machine.logs();
  const k3slb = async (...words: readonly string[]): Promise<readonly string[]> => {
    const { code, stdout, stderr } = await machine.run([DOWNLOADED, ...words]);
    equal(code, 0, `${words.join(" ")}: ${stderr}`);
    return stdout.trimEnd().split("\n");
  };
  const files = async (): Promise<readonly string[]> => {
    const listed = await machine.run([
      "find",
      "/etc",
      "/usr/local",
      "-xdev",
      "(",
      "-type",
      "f",
      "-o",
      "-type",
      "l",
      ")",
    ]);
    return listed.stdout.trim().split("\n").sort();
  };
  const pids = async (): Promise<readonly string[]> =>
    await Promise.all(ROLES.map(async (role) => (await machine.run(kind.pid(role))).stdout));
  try {
    const before = await files();
    const planned = (await k3slb("install", "agent", "--dry-run")).join("\n");
    match(planned, new RegExp(`^write ${kind.unit("agent")}$`, "m"));
    deepEqual(await files(), before, "a dry run changes nothing");
    for (const role of ROLES) await k3slb("install", role);
    for (const role of ROLES) {
      await waitUntil(
        `k3slb-${role} to be active`,
        async () => (await machine.run(kind.isActive(role))).code === 0,
        { explain },
      );
    }
    equal((await machine.run(kind.isEnabled)).code, 0);
    equal((await machine.run(["stat", "-c", "%a", kind.environment("agent")])).stdout, "600\n");
    const request = { protocol: "tcp", ip: node.ip4, port: world.port() } as const;
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [request.port] });
    await waitUntil("an answer", async () => (await world.client.ns.request(request)).outcome === "answer", {
      explain,
    });

    const earlier = await pids();
    for (const role of ROLES) {
      deepEqual(await k3slb("install", role), [`k3slb-${role} is installed as it should be`]);
    }
    deepEqual(await pids(), earlier, "what has not changed is not started again");

    await machine.write("/etc/rancher/k3slb/config.yaml", "log-level: debug\n");
    await k3slb("uninstall", "agent");
    const told = await k3slb("uninstall", "server", "--cluster");
    const lease = { namespace: "kube-system", name: ELECTION_LEASE_NAME };
    equal(await findObject(world.admin, LEASES, { key: lease }), undefined);
    match(told.join("\n"), /^leave \/etc\/rancher\/k3slb\/config\.yaml: it was changed/m);
    const left = (await files()).filter((path) => !before.includes(path));
    deepEqual(left, ["/etc/rancher/k3slb/config.yaml"]);
    await machine.run(["rm", "/etc/rancher/k3slb/config.yaml"]);
    await k3slb("install", "agent", "--no-start");
    await k3slb("uninstall", "agent");
    equal((await machine.run(["test", "-e", "/etc/rancher/k3slb"])).code, 1, "its folder goes with the last file");
    equal((await machine.run(["sh", "-c", "ls /var/log/k3slb-*"])).stdout, "");
    for (const save of ["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save"]) {
      equal((await machine.run([save])).stdout.includes("K3SLB"), false, save);
    }
    await waitUntil("the Service to have no address", async () => {
      return ((await ns.service("web")).status?.loadBalancer?.ingress ?? []).length === 0;
    });
  } finally {
    await machine.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
