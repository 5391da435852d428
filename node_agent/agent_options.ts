// What `k3slb agent` can be told. Names and defaults of flags are in the flag table of the command line.

/** Settings of the agent. */
export interface AgentOptions {
  /** Path of the kubeconfig; absent: the kubelet's own in the usual places, then in-cluster. */
  readonly kubeconfig?: string;
  readonly nodeName?: string;
  readonly dataDir: string;
  readonly servicelbNamespace: string;
  readonly iptablesMode: "auto" | "nft" | "legacy";
  /** Serve a port even if a process of the host listens on it. */
  readonly allowPortOverride: boolean;
  /** Ports (`22`, `10250-10259`, `6443/tcp`) that are never taken. */
  readonly reservedPorts: readonly string[];
  /** Four packet mark bits: ours, masquerade, drop, reject. */
  readonly markBits: string;
  /** Address and port of health and metrics, such as `127.0.0.1:10261`; empty: none. */
  readonly metricsAddress: string;
}
