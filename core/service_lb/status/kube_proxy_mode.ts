// Finds out whether kube-proxy runs in IPVS mode. There it binds every address of a Service's status to an interface of its own on
// every node, so nodes would take each other's addresses; `ipMode: Proxy` (KEP-1860) keeps it from doing so.
import type { KubeClient } from "../../kube/contract.ts";
import { isForbidden, isNotFound } from "../../kube/errors.ts";
import { CONFIG_MAPS } from "../../kube/resources.ts";
import type { ConfigMap } from "../../kube/types.ts";
import type { Logger } from "../../shared/log.ts";
import type { IpMode } from "../../service/wishes.ts";

/** What {@linkcode detectIpMode} takes. */
export interface DetectIpModeOptions {
  readonly client: KubeClient;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * `Proxy` where kubeadm's ConfigMap of kube-proxy says `mode: ipvs`, else `undefined`. Never throws: a cluster that does not say
 * is taken for one without IPVS, and the annotation `k3slb.io/ip-mode` decides there.
 */
export async function detectIpMode(options: DetectIpModeOptions): Promise<IpMode | undefined> {
  const { client, logger, signal } = options;
  try {
    const config = await client.get(CONFIG_MAPS, KUBE_PROXY_CONFIG, { signal });
    if (!isIpvs(config)) return undefined;
    logger.info('kube-proxy runs in IPVS mode: addresses are published with ipMode "Proxy"');
    return "Proxy";
  } catch (error) {
    if (!isNotFound(error) && !isForbidden(error)) {
      logger.warn("Cannot read kube-proxy's settings; assuming it does not run in IPVS mode", { error: String(error) });
    }
    return undefined;
  }
}

/** Whether kube-proxy's configuration says IPVS. */
function isIpvs(config: ConfigMap): boolean {
  return Object.values(config.data ?? {}).some((text) => IPVS_REGEXP.test(text));
}

const KUBE_PROXY_CONFIG = { namespace: "kube-system", name: "kube-proxy" };
const IPVS_REGEXP = /^mode:\s*["']?ipvs["']?\s*$/m;
