// Both programs as services of real nodes' hosts: installed by the version before, upgraded by this one's `install`, the server first or the agents
// first, under traffic; and taken off again. Registered by in_cluster_test.ts, whose world they share.
import { deepEqual, equal } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { programBefore } from "../support/program_before.ts";
import { SystemdMachine, systemdObstacle } from "../support/systemd_machine.ts";
import { upgradeUnderTraffic } from "../support/upgrade_traffic.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { programCommand } from "../support/world_node.ts";
import type { RegisterWorldTest, WorldTest } from "../support/world_suite.ts";

const BEFORE = "/opt/k3slb-before";
const NOW = "/opt/k3slb-now";

/** The hosts of all nodes; the server is on the first. */
class Hosts {
  readonly #machines: SystemdMachine[] = [];
  readonly #dir = mkdtempSync(join(tmpdir(), "k3slb-hosts-"));

  async start(world: World): Promise<void> {
    const [now = ""] = programCommand();
    const admin = readFileSync(await world.api.kubeconfig(SERVER_USER, ["system:masters"]), "utf8");
    for (const node of world.nodes) {
      this.#machines.push(
        await SystemdMachine.start({
          ns: node.ns,
          hostName: node.name,
          dir: mkdtempSync(join(this.#dir, node.name)),
          files: {
            "/etc/kubernetes/kubelet.conf": readFileSync(await node.kubeconfig(), "utf8"),
            "/etc/kubernetes/admin.conf": admin,
            "/etc/default/k3slb-server": "K3SLB_DISABLE=coredns,traefik,helm\n",
          },
          programs: { [BEFORE]: programBefore() ?? now, [NOW]: now },
        }),
      );
    }
  }

  async server(program: string, ...words: readonly string[]): Promise<void> {
    await this.#run(this.#machines.slice(0, 1), [program, ...words, "server"]);
  }

  async agents(program: string, ...words: readonly string[]): Promise<void> {
    await this.#run(this.#machines, [program, ...words, "agent"]);
  }

  async #run(machines: readonly SystemdMachine[], command: readonly string[]): Promise<void> {
    const role = command.at(-1);
    for (const machine of machines) {
      const pid = async (): Promise<string> => {
        const { ActiveState, MainPID = "" } = await machine.show(`k3slb-${role}`);
        return ActiveState === "active" ? MainPID : "";
      };
      const earlier = await pid();
      const { code, stdout, stderr } = await machine.run(command);
      equal(code, 0, `${command.join(" ")}: ${stderr}${stdout}`);
      if (!command.includes("install")) continue;
      await waitUntil(`another k3slb-${role} to be active`, async () => ![earlier, ""].includes(await pid()), {
        explain: () => machine.logs(),
        deadlineMs: 60_000,
      });
    }
  }

  async stop(): Promise<void> {
    for (const machine of this.#machines) await machine.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

async function upgrade(given: WorldTest, order: readonly ("server" | "agents")[]): Promise<void> {
  const { world, ns } = given;
  const hosts = new Hosts();
  try {
    await hosts.start(world);
    await hosts.server(BEFORE, "install");
    await hosts.agents(BEFORE, "install");
    await upgradeUnderTraffic(given, order.map((which) => () => hosts[which](NOW, "install")));
    await hosts.agents(NOW, "uninstall");
    await hosts.server(NOW, "uninstall", "--cluster");
    deepEqual(await chains(world), []);
    deepEqual(await ns.ingress("web"), []);
  } finally {
    await hosts.stop();
  }
}

/** Lines about our chains in the rules of all nodes. */
export async function chains(world: World): Promise<readonly string[]> {
  const lines = await Promise.all(world.nodes.map(async ({ name, ns }) => {
    const saved = await Promise.all(["iptables-save", "ip6tables-save"].map((tool) => ns.exec(tool, [])));
    return saved.flatMap(({ stdout }) => stdout.split("\n")).filter((line) => line.includes("K3SLB-"))
      .map((line) => `${name} ${line}`);
  }));
  return lines.flat();
}

/** Registers the tests. */
export function hostUpgradeTests(test: RegisterWorldTest): void {
  const obstacle = programCommand().length > 1
    ? "a binary is installed"
    : programBefore() === undefined
    ? "there is no version before: tests/run.ts with the suite nodes builds it, or K3SLB_PROGRAM_BEFORE names one"
    : systemdObstacle();
  for (const order of [["server", "agents"], ["agents", "server"]] as const) {
    test(
      `hosts: upgraded by install, the ${
        order[0]
      } first: 0 failed connections, addresses stay; uninstalled, nothing is left`,
      (given) => upgrade(given, order),
      obstacle === undefined ? {} : { skip: obstacle },
    );
  }
}
