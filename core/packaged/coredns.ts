// CoreDNS: its image, its Corefile, and whether somebody edited that. Pure. Names and Corefile as K3s has them (k3s `manifests/coredns.yaml`), so
// that what is known about customising it holds.
import type { ConfigMap } from "../kube/types.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import { COREDNS_IMAGE, COREDNS_IMAGE_BEFORE_1_21 } from "./versions.ts";
import { type ClusterVersion, isAtLeast } from "./cluster_version.ts";

/** Name of the ConfigMap with Corefile and NodeHosts. */
export const COREDNS_CONFIG_MAP = "coredns";
/** Name of the ConfigMap for changes by users. */
export const COREDNS_CUSTOM_CONFIG_MAP = "coredns-custom";
/** Keys of {@linkcode COREDNS_CONFIG_MAP}. */
export const COREFILE_KEY = "Corefile";
export const NODE_HOSTS_KEY = "NodeHosts";

/** The image of CoreDNS for a cluster. */
export function corednsImage(version: ClusterVersion): string {
  return isAtLeast(version, 21) ? COREDNS_IMAGE : COREDNS_IMAGE_BEFORE_1_21;
}

/** What of the Corefile can be chosen. */
export interface CorefileSettings {
  readonly clusterDomain: string;
  /** Name servers for names outside the cluster; empty: those of the node. */
  readonly dnsUpstreams: readonly string[];
  /** Names that are answered from here; they win over names of nodes. */
  readonly dnsHosts: readonly { readonly name: string; readonly ip: string }[];
}

/** The Corefile. */
export function corefile({ clusterDomain, dnsUpstreams, dnsHosts }: CorefileSettings): string {
  // The plugin takes lines of a hosts file before `fallthrough`, and only there.
  const hosts = dnsHosts.map(({ name, ip }) => `      ${ip} ${name.toLowerCase()}\n`).join("");
  const upstreams = dnsUpstreams.length === 0 ? "/etc/resolv.conf" : dnsUpstreams.join(" ");
  return `.:53 {
    errors
    health
    ready
    kubernetes ${clusterDomain} in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/${NODE_HOSTS_KEY} {
${hosts}      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    forward . ${upstreams}
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
}
import /etc/coredns/custom/*.server
`;
}

/**
 * The sentence for the Event about an edited Corefile; `undefined` if nobody but a deployer wrote it. `managedFields` are asked, not the text
 * alone: right after an update of this program the old text is still there and nobody has edited it.
 */
export function corefileDrift(configMap: ConfigMap, packaged: string): string | undefined {
  const text = configMap.data?.[COREFILE_KEY];
  if (text === packaged) return undefined;
  const editor = configMap.metadata?.managedFields?.find((entry) =>
    !isDeployer(entry.manager ?? "") && ownsCorefile(entry.fieldsV1)
  );
  if (editor === undefined && text !== undefined) return undefined;
  const by = editor?.manager === undefined ? "" : ` by "${editor.manager}"`;
  return `${COREFILE_KEY} of ConfigMap ${COREDNS_CONFIG_MAP} was ${text === undefined ? "removed" : `edited${by}`}; ` +
    `the change is lost at the next start. Put it into ConfigMap ${COREDNS_CUSTOM_CONFIG_MAP} in the same namespace instead: ` +
    "keys ending in .override are read inside the server block, keys ending in .server beside it";
}

function isDeployer(manager: string): boolean {
  return manager === FIELD_MANAGER || manager.startsWith("deploy@");
}

function ownsCorefile(fields: object | undefined): boolean {
  const data: unknown = fields === undefined ? undefined : (fields as Readonly<Record<string, unknown>>)["f:data"];
  return typeof data === "object" && data !== null && `f:${COREFILE_KEY}` in data;
}
