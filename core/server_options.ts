// What `k3slb server` can be told. Names and defaults of flags are in the flag table of the command line.
import type { PortReservationMode } from "./service/cluster_facts.ts";
import type { DataplaneName } from "./service/labels.ts";
import type { NodePortRange } from "./service/foreign_ports.ts";
import type { StatusOptions } from "./service_lb/status/desired_status.ts";

/** Settings of the server. */
export interface ServerOptions {
  /** Name of this server's host; absent: found out. */
  readonly nodeName?: string;
  /** Root folder of manifests and static charts. */
  readonly dataDir: string;
  /** Packaged parts, or names of manifests, that are not deployed and are removed. */
  readonly disable: readonly string[];
  /** Packaged parts that are deployed although the cluster has others of their kind. */
  readonly enable: readonly string[];
  /** Who forwards: the agent, or pods as K3s makes them. */
  readonly dataplane: DataplaneName;
  /** Who keeps the nodes' ports from other pods where agents forward: a DaemonSet of each Service, or nobody. */
  readonly reservePorts: PortReservationMode;
  /** Namespace of DaemonSets, pods and the election. */
  readonly servicelbNamespace: string;
  /** Image of the pods of data plane `pods`. */
  readonly lbImage: string;
  /** Image of the placeholders of data plane `agent`. */
  readonly pauseImage: string;
  /** Image of Jobs whose HelmChart names none. */
  readonly helmJobImage: string;
  /** Namespaces whose HelmCharts are taken; empty: all. */
  readonly helmNamespaces: readonly string[];
  /** ClusterRole of the Jobs of HelmCharts. */
  readonly helmClusterRole: string;
  /** Registry put before packaged images; empty for none. */
  readonly systemDefaultRegistry: string;
  /** `spec.loadBalancerClass` that is served. */
  readonly lbClass: string;
  /** Whether Services without a class are served. */
  readonly lbDefault: boolean;
  /** Which external addresses hide internal ones. */
  readonly statusAddresses: StatusOptions["statusAddresses"];
  /** What the status shows, by node; absent: what each node's annotation says. */
  readonly publishedAddresses?: ReadonlyMap<string, readonly string[]>;
  /** Ports that load balancers can't have, as they are node ports; absent: none are kept. */
  readonly nodePortRange?: NodePortRange;
  /** Leave out nodes labelled `node.kubernetes.io/exclude-from-external-load-balancers`. */
  readonly honorExcludeLabel: boolean;
  /**
   * Ask the nodes every two and a half seconds whether they are there, and take the addresses of those that died out of statuses.
   * @default {true}
   */
  readonly askNodes?: boolean;
  /** Addresses of the cluster DNS Service; empty: found from the cluster. */
  readonly clusterDns: readonly string[];
  /** Domain of the cluster's names, such as `cluster.local`. */
  readonly clusterDomain: string;
  /** Name servers that CoreDNS asks for names outside the cluster, each with or without a port; empty: those of its node. */
  readonly dnsUpstreams: readonly string[];
  /** Names that CoreDNS answers itself. */
  readonly dnsHosts: readonly { readonly name: string; readonly ip: string }[];
  /** Deleting a manifest deletes its objects. */
  readonly pruneDeletedManifests: boolean;
  /** Apply unchanged manifests again every ten minutes, which puts back what others changed. */
  readonly repairManifests: boolean;
  /** Several servers may run; one works. */
  readonly leaderElect: boolean;
}
