// Asks the kernel, through `ss`, who made a socket whose process can't be seen: its control group is told without any capability,
// while another process's descriptors need CAP_SYS_PTRACE. kubeadm asks for iproute2, so nodes have it anyway; without it, or with
// one before 5.9, only the name is missing.
import type { Exec } from "./exec.ts";
import { parseSocketGroups } from "./parse_socket_groups.ts";

/** How {@linkcode readSocketOwners} runs its program. */
export interface SocketOwnerOptions {
  readonly exec: Exec;
  readonly signal?: AbortSignal;
}

/** Inode -> service or container for all sockets that listen. Never throws: what can't be found out is not known. */
export async function readSocketOwners({ exec, signal }: SocketOwnerOptions): Promise<ReadonlyMap<string, string>> {
  try {
    const options = { timeoutMs: TIMEOUT_MS, ...(signal ? { signal } : {}) };
    const { code, stdout } = await exec.run("ss", SS_ARGS, options);
    return code === 0 ? parseSocketGroups(stdout) : new Map();
  } catch {
    // No such program, or it hangs: forwarding must not wait for a name.
    return new Map();
  }
}

/** No header, listening, numeric, TCP and UDP, extended (inodes). */
const SS_ARGS: readonly string[] = ["-H", "-l", "-n", "-t", "-u", "-e", "--cgroup"];
/** Generous, as `ss` walks the whole tree of control groups and a node may have thousands; a pass waits for it, once for a socket. */
const TIMEOUT_MS = 3000;
