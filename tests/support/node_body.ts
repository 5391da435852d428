// What makes a node of a test world a node: something that registers it and runs its pods. Simulated in simulated_node.ts, with real
// programs in real_node.ts. Types only.
import type { NodeAddress } from "./kubelet.ts";
import type { Host } from "./net_topology.ts";

/** The part of a node that differs from world to world. */
export interface NodeBody {
  /** Starts kubelet and whatever it needs, the first time or again; resolves when the Node is registered. */
  startKubelet(): Promise<void>;
  /** Stops kubelet; pods go on. Safe to call twice. */
  stopKubelet(): Promise<void>;
  /** Stops kube-proxy, does something, and starts it again; nodes without one do nothing. */
  restartKubeProxy(meanwhile: () => Promise<void>): Promise<void>;
  /** Makes the Node's status say these addresses and no others. */
  setAddresses(addresses: readonly NodeAddress[]): Promise<void>;
  /** Makes kubelet report the node as ready or not. */
  setReady(ready: boolean): Promise<void>;
  /** `command` with what is needed in front to run it on the node. */
  command(command: readonly string[]): readonly string[];
  /** The network namespace of an app's pod; `undefined` if there is no such pod, or it has the node's network. */
  pod(namespace: string, name: string): Promise<Host | undefined>;
  /** Process ids of all that runs on the node, containers included; none on a simulated one. */
  processes(): readonly number[];
  /** Ends everything on the node. Safe to call twice. */
  stop(): Promise<void>;
  /** The last lines of its programs' logs; empty if it has none. */
  logTails(): string;
}
