// Settings of a server that tests start.
import type { ServerOptions } from "../../../core/server_options.ts";

/** Defaults without a way to a cluster. */
export const SERVER_OPTIONS: ServerOptions = {
  dataDir: "/nonexistent",
  disable: [],
  enable: [],
  dataplane: "agent",
  reservePorts: "daemonset",
  servicelbNamespace: "kube-system",
  lbImage: "lb",
  pauseImage: "pause",
  helmJobImage: "helm",
  helmNamespaces: [],
  helmClusterRole: "cluster-admin",
  systemDefaultRegistry: "",
  lbClass: "k3slb.io/node-addresses",
  lbDefault: true,
  statusAddresses: "cluster",
  honorExcludeLabel: false,
  askNodes: false,
  clusterDns: [],
  clusterDomain: "cluster.local",
  dnsUpstreams: [],
  dnsHosts: [],
  pruneDeletedManifests: false,
  repairManifests: false,
  leaderElect: true,
};
