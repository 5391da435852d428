// What `--keep` leaves: small scripts in the demo's folder that run a command where it belongs, and the text that names them.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { ensureControlPlaneProgram, hasControlPlaneProgram } from "../support/control_plane_program.ts";
import { WORLD_CGROUP_VARIABLE } from "../support/netns.ts";
import type { World } from "../support/world.ts";
import { programCommand } from "../support/world_node.ts";
import type { Block } from "./render_text.ts";

/** Writes the scripts; the blocks say how to use them. */
export async function renderPlayground(
  order: { readonly dir: string; readonly isRoot: boolean },
  world: World,
): Promise<readonly Block[]> {
  const { dir, isRoot } = order;
  // Elsewhere the world sees the machine's own /proc, so this is the process id that counts outside.
  const pid = world.kind === "nodes" ? firstProcessOfRealNodes() : await Deno.readLink("/proc/self");
  const enter = `nsenter -t ${pid} ${isRoot ? "" : "-U --preserve-credentials "}-n -m -p --`;
  const kubeconfig = await world.api.kubeconfig("admin", ["system:masters"]);
  // A folder of their own: real nodes have theirs beside it, by the same names.
  const bin = join(dir, "bin");
  mkdirSync(bin);
  const write = (name: string, lines: readonly string[]): string => {
    const path = join(bin, name);
    writeFileSync(path, `#!/bin/sh\nPATH=$PATH:/usr/sbin:/sbin\n${lines.join("\n")}\n`, { mode: 0o755 });
    return path;
  };
  const machine = (name: string, ns: string): string =>
    write(name, ['[ $# -gt 0 ] || set -- "${SHELL:-sh}"', `exec ${enter} ip netns exec ${ns} "$@"`]);
  const client = machine("client", world.client.ns.name);
  const nodes = world.nodes.map(({ name, ns }) => machine(name, ns.name));
  const ask = write("ask", [
    `exec ${client} bash -c 'exec 3<>"/dev/$2/$0/$1" && echo hello >&3 && answer=$(timeout 2 dd bs=4096 count=1 ` +
    `status=none <&3) && echo "$answer" || { echo "no answer" >&2; exit 1; }' "\${1:?address}" "\${2:?port}" "\${3:-tcp}"`,
  ]);
  const kubectl = write("kubectl", [`exec ${enter} ${await kubectlCommand()} --kubeconfig ${kubeconfig} "$@"`]);
  const [first] = world.nodes;
  const program = write("k3slb", [
    `export K3SLB_KUBECONFIG=${kubeconfig} K3SLB_NODE_NAME=${first?.name} K3SLB_DATA_DIR=${join(dir, "server1")}`,
    // Where the user stands: archives of \`dump\` and relative paths belong there.
    `exec ${nodes[0]} env -C "$PWD" ${programCommand().join(" ")} "$@"`,
  ]);
  return [
    { kind: "text", text: "Everything goes on running. To play with it, in another terminal:" },
    {
      kind: "table",
      columns: [{ title: "command" }, { title: "does", wraps: true }],
      rows: [
        [
          `${kubectl} get services -A`,
          `kubectl as administrator${world.kind === "nodes" ? "" : "; all but logs and exec"}`,
        ],
        [
          `${program} explain demo/web`,
          `k3slb on ${first?.name}, as administrator: status, ports, probe, check, dump too`,
        ],
        [`${ask} ${first?.ip4} 80`, 'asks as the client; UDP with "53 udp"'],
        [`${client} [COMMAND]`, "a shell, or one command, on the client"],
        [`${nodes[0]} iptables-save -t nat`, `the same on ${first?.name}; there are ${world.nodes.length} nodes`],
        [`tail -f ${first?.logFile}`, "an agent's log; the server's is beside it"],
      ],
    },
    { kind: "text", text: `kubeconfig: ${kubeconfig} (its address is inside the world: ${enter} COMMAND)` },
    { kind: "text", text: "To end it: Ctrl-C here." },
  ];
}

/** A world of real nodes has its own /proc: from outside its first process is known as a grandchild of the shell that made its cgroup. */
function firstProcessOfRealNodes(): string {
  const children = (pid: string): string => `$(cat /proc/${pid}/task/*/children | tr -d " ")`;
  const shell = process.env[WORLD_CGROUP_VARIABLE]?.replace(/^.*-/, "") ?? "";
  return `"${children(children(shell))}"`;
}

/** The control plane's own kubectl if it was built, else the user's. */
async function kubectlCommand(): Promise<string> {
  if (!(await hasControlPlaneProgram())) return "kubectl";
  return (await ensureControlPlaneProgram())("kubectl").join(" ");
}
