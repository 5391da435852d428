// What `ss --extended --cgroup` says of listening sockets (iproute2 5.9 or later, misc/ss.c): the control group that each was made
// in, and what that group is called. Pure; `socket_owners.ts` runs the program. Names of units: systemd.unit(5) and
// systemd.scope(5); of containers: CRI runtimes with cgroup driver systemd (`cri-containerd-ID.scope`) or cgroupfs (`ID`).

/**
 * Inode -> what the socket's control group is called. A line without a group, with the root group (nobody in particular), with a
 * removed one (`unreachable:`), or of a form that isn't known, is passed over: its owner is not known.
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
