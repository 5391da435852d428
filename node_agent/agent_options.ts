// What `k3slb agent` can be told. Names and defaults of flags are in the flag table of the command line.

/** Rules of one Service unless told otherwise; several times what Kubernetes is tested with, a second of work for the kernel's tools. */
export const DEFAULT_MAX_SERVICE_RULES = 10_000;

/** Settings of the agent. */
export interface AgentOptions {
  /** Namespace of the load balancers' pods. */
  readonly servicelbNamespace: string;
  /** Serve a port even if a process of the host listens on it. */
  readonly allowPortOverride: boolean;
  /** Ports (`22`, `10250-10259`, `6443/tcp`) that are never taken. */
  readonly reservedPorts: readonly string[];
  /** Rules that one Service may ask of this node: ports times endpoints, source ranges and matched addresses. */
  readonly maxServiceRules: number;
  /**
   * Ask the nodes of remote endpoints each second whether they are there, and pass over endpoints of those that died.
   * @default {true}
   */
  readonly askNodes?: boolean;
}
