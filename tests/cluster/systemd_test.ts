// The units as they are shipped, under a real service manager on a machine of its own: they start with the rights that they ask for and
// no others, say when they are ready and when they stop, and their sandbox leaves iptables alone.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderSystemdUnit } from "../../core/shared/systemd_unit.ts";
import { enterWorld } from "../support/netns.ts";
import { SystemdMachine, systemdObstacle } from "../support/systemd_machine.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER, type World } from "../support/world.ts";
import { programCommand } from "../support/world_node.ts";
import { worldSuite } from "../support/world_suite.ts";

/** The node as a machine with kubeadm's kubeconfigs at their usual places, and both units. */
async function startMachine(world: World, dir: string): Promise<SystemdMachine> {
  const node = world.node("node1");
  const admin = await world.api.kubeconfig(SERVER_USER, ["system:masters"]);
  const [program = ""] = programCommand();
  return await SystemdMachine.start({
    ns: node.ns,
    hostName: "node1",
    dir,
    files: {
      "/etc/kubernetes/kubelet.conf": readFileSync(await node.kubeconfig(), "utf8"),
      "/etc/kubernetes/admin.conf": readFileSync(admin, "utf8"),
      "/etc/default/k3slb-server": "K3SLB_DISABLE=coredns,traefik\n",
      "/etc/systemd/system/k3slb-agent.service": renderSystemdUnit("k3slb-agent"),
      "/etc/systemd/system/k3slb-server.service": renderSystemdUnit("k3slb-server"),
    },
    programs: { "/usr/local/bin/k3slb": program },
  });
}

/** `field` of a process's status file, such as `CapEff`. */
async function processField(machine: SystemdMachine, pid: string, field: string): Promise<string> {
  const status = await machine.read(`/proc/${pid}/status`);
  return new RegExp(`^${field}:\\s+(.+)$`, "m").exec(status)?.[1] ?? "";
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0 });
  const obstacle = programCommand().length > 1 ? "the units start a binary" : systemdObstacle();
  const name = "units: server and agent do their work with the rights that the units give them";

  test(
    name,
    async ({ world, ns }) => {
      const node = world.node("node1");
      await node.stopAgent();
      const dir = mkdtempSync(join(tmpdir(), "k3slb-systemd-"));
      const machine = await startMachine(world, dir);
      const explain = (): Promise<string> => machine.logs();
      try {
        // Active means that both have said that they are ready; the agent can't be before the server grants nodes what they read.
        await machine.systemctl("start", "--no-block", "k3slb-server", "k3slb-agent");
        for (const unit of ["k3slb-server", "k3slb-agent"]) {
          await waitUntil(`${unit} to be active`, async () => {
            return (await machine.show(unit))["ActiveState"] === "active";
          }, { explain });
        }
        const [server, agent] = [await machine.show("k3slb-server"), await machine.show("k3slb-agent")];
        equal(agent["StatusText"], "Forwarding on node node1");
        equal(await processField(machine, server["MainPID"] ?? "", "CapEff"), "0000000000000000");
        // CAP_NET_ADMIN is bit 12, CAP_NET_RAW bit 13 (capability.h).
        equal(await processField(machine, agent["MainPID"] ?? "", "CapEff"), "0000000000003000");
        for (const { MainPID = "" } of [server, agent]) {
          // Mode 2 is a filter (seccomp(2)).
          equal(await processField(machine, MainPID, "Seccomp"), "2");
          equal(await processField(machine, MainPID, "Umask"), "0077");
        }

        const request = { protocol: "tcp", ip: node.ip4, port: world.port() } as const;
        const answers = (): Promise<unknown> =>
          waitUntil("an answer that saw the client's address", async () => {
            const answer = await world.client.ns.request(request);
            return answer.outcome === "answer" && answer.peer === world.client.ip4;
          }, { explain });
        await ns.createApp({ name: "web", nodes: ["node1"] });
        await ns.createService({ name: "web", ports: [request.port] });
        await answers();
        ok((await machine.read("/proc/mounts")).includes("cgroup2"), "the machine is not this one");
        equal((await machine.run(["test", "-d", "/var/lib/rancher/k3s/server/manifests"])).code, 0);

        // The agent may not look into another process's descriptors: the kernel says whose they are.
        const taken = world.port();
        const listen = [Deno.execPath(), "eval", `await Deno.listen({ port: ${taken} }).accept();`];
        equal((await machine.run(["systemd-run", "--unit=shop", "--", ...listen])).code, 0);
        await waitUntil("the shop to listen", async () => {
          return (await machine.run(["ss", "-Hltn", `sport = :${taken}`])).stdout !== "";
        }, { explain });
        await ns.createService({ name: "shop", app: "web", ports: [taken] });
        const isRefused = ({ message }: { message?: string }): boolean =>
          message?.includes(`TCP port ${taken} is in use by `) ?? false;
        match((await ns.waitForCondition("shop", isRefused)).message ?? "", /in use by shop\.service on this node/);
        await ns.deleteService("shop");

        await machine.systemctl("kill", "--signal=KILL", "k3slb-agent");
        await waitUntil("the agent to be started again", async () => {
          const { NRestarts, ActiveState } = await machine.show("k3slb-agent");
          return NRestarts === "1" && ActiveState === "active";
        }, { explain });

        // The lock in /run is the legacy backend's.
        await machine.write("/etc/default/k3slb-agent", "K3SLB_IPTABLES_MODE=legacy\n");
        await machine.systemctl("restart", "k3slb-agent");
        match(await machine.run(["iptables-legacy-save", "-t", "nat"]).then(({ stdout }) => stdout), /K3SLB-SERVICES/);
        await answers();

        await machine.systemctl("stop", "k3slb-server", "k3slb-agent");
        for (const unit of ["k3slb-server", "k3slb-agent"]) {
          const { ActiveState, Result, ExecMainStatus } = await machine.show(unit);
          deepEqual({ unit, ActiveState, Result, ExecMainStatus }, {
            unit,
            ActiveState: "inactive",
            Result: "success",
            ExecMainStatus: "0",
          });
        }
        // Rules stay when their agent stops.
        await answers();
        await machine.run(["k3slb", "agent", "cleanup"]);
        for (const save of ["iptables-legacy-save", "iptables-nft-save"]) {
          equal((await machine.run([save])).stdout.includes("K3SLB"), false, save);
        }
      } finally {
        await machine.stop();
        rmSync(dir, { recursive: true, force: true });
      }
    },
    obstacle === undefined ? {} : { skip: obstacle },
  );
}
