// Asks the kernel, through `ss`, who made a socket whose process can't be seen: its control group is told without any capability,
// while another process's descriptors need CAP_SYS_PTRACE. kubeadm asks for iproute2, so nodes have it anyway; without it, or with
// one before 5.9, only the name is missing. Names of units: systemd.unit(5) and systemd.scope(5); of containers: CRI runtimes with
// cgroup driver systemd (`cri-containerd-ID.scope`) or cgroupfs (`ID`).
import type { Exec } from "./exec.ts";

/** How {@linkcode readSocketOwners} runs its program. */
export interface SocketOwnerOptions {
  readonly exec: Exec;
  readonly signal?: AbortSignal | undefined;
}

/** Inode -> service or container for all sockets that listen. Never throws: what can't be found out is not known. */
export async function readSocketOwners({ exec, signal }: SocketOwnerOptions): Promise<ReadonlyMap<string, string>> {
  try {
    const options = { timeoutMs: TIMEOUT_MS, signal };
    const { code, stdout } = await exec.run("ss", SS_ARGS, options);
    return code === 0 ? parseSocketGroups(stdout) : new Map();
  } catch {
    // No such program, or it hangs: forwarding must not wait for a name.
    return new Map();
  }
}

/** No header, listening, numeric, TCP and UDP, extended (inodes). */
const SS_ARGS: readonly string[] = ["-H", "-l", "-n", "-t", "-u", "-e", "--cgroup"];
/** Generous, as `ss` walks the whole tree of control groups and a node may have thousands; the loop waits for it, once for a socket. */
const TIMEOUT_MS = 3000;

/**
 * Inode -> what the socket's control group is called, from what `ss --extended --cgroup` prints (iproute2 5.9 or later, misc/ss.c). A line
 * without a group, with the root group (nobody in particular), with a removed one (`unreachable:`), or of a form that isn't known is passed
 * over: its owner is not known.
 */
export function parseSocketGroups(text: string): ReadonlyMap<string, string> {
  return new Map(
    text.split("\n").flatMap((line): readonly [string, string][] => {
      const inode = /\sino:(?<number>[1-9]\d*)(?=\s|$)/.exec(line)?.groups?.number;
      const group = /\scgroup:(?<path>\/\S*)/.exec(line)?.groups?.path;
      const owner = group === undefined ? undefined : groupOwner(group);
      return inode === undefined || owner === undefined ? [] : [[inode, owner]];
    }),
  );
}

/** A container's runtime in front of its id, if there is one, as in `cri-containerd-ID.scope` and `POD.slice:cri-containerd:ID`. */
const CONTAINER_REGEXP = /^(?:.*\.slice:)?(?:(?<runtime>[a-z][a-z-]*)[-:])?(?<id>[0-9a-f]{64})(?:\.scope)?$/;
const UNIT_REGEXP = /\.(service|scope|socket|mount|swap)$/;
/** As `crictl ps` prints ids, which is enough to find one. */
const SHORT_ID_LENGTH = 13;

function groupOwner(path: string): string | undefined {
  // systemd puts `_` in front of names that the kernel could have for a file of its own.
  const names = path.split("/").map((name) => name.replace(/^_/, "")).filter((name) => name !== "");
  for (const name of names) {
    const { runtime, id } = CONTAINER_REGEXP.exec(name)?.groups ?? {};
    if (id) return `a container (${[...(runtime ? [runtime] : []), id.slice(0, SHORT_ID_LENGTH)].join("-")})`;
  }
  // A service may have groups of its own below, and a user's manager is a service with the user's services below.
  return names.findLast((name) => UNIT_REGEXP.test(name)) ?? names.at(-1);
}
