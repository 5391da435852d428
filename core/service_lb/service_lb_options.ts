// The server's settings that the load balancer reads, and the same in the terms of the pure files. Pure.
import type { ServerOptions } from "../server_options.ts";
import type { DesiredServiceOptions } from "./desired_service.ts";
import type { ClaimOptions } from "../service/claim.ts";
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
  >
  & {
    /** `ipMode` for Services that do not say; `Proxy` where kube-proxy would bind the addresses (IPVS). */
    readonly ipMode?: IpMode;
  };

/** The settings in the terms of the pure files. */
export function settingsOf(options: ServiceLbOptions): DesiredServiceOptions & ClaimOptions {
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
    ...(options.ipMode === undefined ? {} : { ipMode: options.ipMode }),
  };
}
