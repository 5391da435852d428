// The server's settings that the load balancer reads, and the same in the terms of the pure files. Pure.
import type { ServerOptions } from "../server_options.ts";
import type { IpRange } from "../shared/ip_ranges.ts";
import type { ViewOptions } from "./cluster_view.ts";
import type { IpMode } from "../service/wishes.ts";

/** The server's settings that the load balancer reads. */
export type ServiceLbOptions =
  & Pick<
    ServerOptions,
    | "dataplane"
    | "servicelbNamespace"
    | "lbImage"
    | "pauseImage"
    | "systemDefaultRegistry"
    | "lbClass"
    | "lbDefault"
    | "statusAddresses"
    | "honorExcludeLabel"
    | "publishedAddresses"
    | "nodePortRange"
  >
  & {
    /** Whether a pause image that the nodes have already comes before `pauseImage`. */
    readonly adoptPauseImage?: boolean;
    /** `ipMode` for Services that do not say; `Proxy` where kube-proxy would bind the addresses (IPVS). */
    readonly ipMode?: IpMode;
    /** Ranges of the cluster's Service addresses, as far as they are known. */
    readonly serviceRanges?: readonly IpRange[];
  };

/** The settings in the terms of the pure files. */
export function settingsOf(options: ServiceLbOptions): ViewOptions {
  const {
    dataplane,
    lbImage,
    pauseImage,
    systemDefaultRegistry,
    lbClass,
    lbDefault,
    statusAddresses,
    honorExcludeLabel,
  } = options;
  const operatorAddresses = new Map<string, string[]>();
  for (const { node, ip } of options.publishedAddresses) {
    operatorAddresses.set(node, [...operatorAddresses.get(node) ?? [], ip]);
  }
  return {
    dataplane,
    namespace: options.servicelbNamespace,
    lbImage,
    pauseImage,
    systemDefaultRegistry,
    lbClass,
    lbDefault,
    statusAddresses,
    honorExcludeLabel,
    serviceRanges: options.serviceRanges ?? [],
    adoptPauseImage: options.adoptPauseImage ?? false,
    ...(options.nodePortRange === undefined ? {} : { nodePortRange: options.nodePortRange }),
    ...(operatorAddresses.size === 0 ? {} : { operatorAddresses }),
    ...(options.ipMode === undefined ? {} : { ipMode: options.ipMode }),
  };
}
