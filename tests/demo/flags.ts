// The demo's flags. Pure.
import { parseArgs } from "node:util";

/** What the user asked for. */
export interface DemoFlags {
  /** The real control plane instead of the in-memory API server. */
  readonly real: boolean;
  /** Real nodes too: containers, kubelet, kube-proxy. */
  readonly nodes: boolean;
  /** Leave everything running after the last scene. */
  readonly keep: boolean;
  readonly noColour: boolean;
  readonly help: boolean;
}

/** What `--help` prints. */
export const USAGE = `Shows k3slb at work on this machine: no cluster and no root needed.

usage: deno task demo [--real | --nodes] [--keep] [--no-colour]

  --real       a real control plane (etcd, kube-apiserver, controller-manager, scheduler; built once, which takes
               some minutes) instead of the in-memory API server
  --nodes      real nodes as well, each with containerd, kubelet and kube-proxy: real pods, CoreDNS answers them,
               Traefik routes an Ingress if it is built (as root; builds take some minutes more, once)
  --keep       leave everything running after the last scene and say how to play with it
  --no-colour  no colours, as with the variable NO_COLOR
`;

/**
 * Reads the words after the demo's name.
 *
 * @throws {TypeError} if there is a word that means nothing
 */
export function parseFlags(words: readonly string[]): DemoFlags {
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    args: [...words],
    options: {
      real: flag,
      nodes: flag,
      keep: flag,
      "no-colour": flag,
      "no-color": flag,
      help: { ...flag, short: "h" },
    },
  });
  return {
    real: values.real,
    nodes: values.nodes,
    keep: values.keep,
    noColour: values["no-colour"] || values["no-color"],
    help: values.help,
  };
}
