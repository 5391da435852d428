// Which addresses the cluster's DNS has, and whether CoreDNS is to be deployed there. Pure.
// Facts: kubelets send pods to the tenth address of the Service range (K3s `--cluster-dns`, kubeadm `constants.GetDNSIP`), the
// Service `default/kubernetes` has the first one; ServiceCIDR is `networking.k8s.io/v1` since Kubernetes 1.33.
import type { Service } from "../kube/types.ts";
import { canonicalIp, ipFamilyOf, parseIpRange, renderIpRange } from "../shared/ip_ranges.ts";
import type { ClusterVersion } from "./cluster_version.ts";
import { PACKAGED_NAMESPACE } from "../shared/k3s_names.ts";
import { ownerOf } from "./ownership.ts";

/** Name of the DNS Service. */
const DNS_SERVICE_NAME = "kube-dns";
const DNS_LABEL = "k8s-app";
/** Place of the DNS in the range of Services, and of the API server's Service. */
const DNS_INDEX = 10n;
const API_INDEX = 1n;

/** What is known of the cluster. */
export interface DnsFacts {
  /** Addresses that the operator chose; empty: find them. */
  readonly given: readonly string[];
  /** Services of all namespaces. */
  readonly services: readonly Service[];
  /** Ranges of the ServiceCIDR objects named `kubernetes`; empty if the cluster has none. */
  readonly serviceCidrs: readonly string[];
  readonly version: ClusterVersion;
}

/** What becomes of CoreDNS. */
export type DnsChoice =
  | { readonly deploy: true; readonly addresses: readonly string[]; readonly message: string }
  | {
    readonly deploy: false;
    readonly reason: "Foreign" | "K3s" | "UnknownRange";
    readonly message: string;
    readonly hint?: string;
  };

/** Whether and where CoreDNS is deployed, with the sentence for the log. */
export function chooseDns(facts: DnsFacts): DnsChoice {
  const { services, given } = facts;
  const present = services.find((service) => isNamed(service, DNS_SERVICE_NAME, PACKAGED_NAMESPACE));
  const owner = present === undefined ? "ours" : ownerOf(present.metadata, "coredns", facts.version);
  if (present !== undefined && owner !== "ours") return leftAlone(present, owner === "k3s");
  const other = services.find((service) => service !== present && isDnsByLabel(service));
  if (other !== undefined && given.length === 0) return leftAlone(other, false);
  const found = findAddresses(facts, present);
  if (found === undefined) {
    return {
      deploy: false,
      reason: "UnknownRange",
      message: "Skipping CoreDNS: the range of Service addresses is not known",
      hint: "Give the address of the cluster's DNS with --cluster-dns",
    };
  }
  const holder = services.find((service) =>
    service !== present && addressesOf(service).some((ip) => found.addresses.includes(ip))
  );
  if (holder !== undefined) return leftAlone(holder, false);
  return { deploy: true, ...found, message: `Deploying CoreDNS at ${found.addresses.join(", ")} (${found.source})` };
}

interface Found {
  readonly addresses: readonly string[];
  readonly source: string;
}

function findAddresses(facts: DnsFacts, own: Service | undefined): Found | undefined {
  if (facts.given.length > 0) {
    return { addresses: facts.given.map((ip) => canonicalIp(ip) ?? ip), source: "given by --cluster-dns" };
  }
  const present = own === undefined ? [] : addressesOf(own);
  if (present.length > 0) return { addresses: present, source: `address of Service ${DNS_SERVICE_NAME}` };
  const inRanges = facts.serviceCidrs.flatMap((cidr) => dnsAddressOf(cidr) ?? []);
  if (inRanges.length > 0) return { addresses: inRanges, source: `in ${facts.serviceCidrs.join(", ")}` };
  const api = facts.services.find((service) => isNamed(service, "kubernetes", "default"));
  const besideApi = (api === undefined ? [] : addressesOf(api)).flatMap((ip) =>
    shifted(ip, DNS_INDEX - API_INDEX) ?? []
  );
  return besideApi.length > 0 ? { addresses: besideApi, source: "beside Service default/kubernetes" } : undefined;
}

/** The tenth address of a range; `undefined` if the range has none. */
export function dnsAddressOf(cidr: string): string | undefined {
  const range = parseIpRange(cidr);
  if (range === undefined) return undefined;
  const hostBits = (range.family === "IPv4" ? 32 : 128) - range.prefix;
  if (2n ** BigInt(hostBits) <= DNS_INDEX) return undefined;
  return renderAddress(range.family, range.value + DNS_INDEX);
}

function shifted(ip: string, by: bigint): string | undefined {
  const range = parseIpRange(ip);
  return range === undefined ? undefined : renderAddress(range.family, range.value + by);
}

function renderAddress(family: "IPv4" | "IPv6", value: bigint): string | undefined {
  return renderIpRange({ family, value, prefix: family === "IPv4" ? 32 : 128 }).split("/")[0];
}

function leftAlone(service: Service, isOfK3s: boolean): DnsChoice {
  const { namespace = "", name = "" } = service.metadata ?? {};
  const place = `Service ${namespace}/${name} at ${addressesOf(service).join(", ") || "no address"}`;
  if (isOfK3s) return { deploy: false, reason: "K3s", message: `Skipping CoreDNS: K3s itself deploys it (${place})` };
  if (!servesDns(service)) {
    return {
      deploy: false,
      reason: "Foreign",
      message: `Skipping CoreDNS: its address is taken by ${place}`,
      hint: "Choose another address with --cluster-dns, the one that the kubelets have as clusterDNS",
    };
  }
  return {
    deploy: false,
    reason: "Foreign",
    message: `Skipping CoreDNS: the cluster already has a DNS that is not ours (${place})`,
    hint: "To change over, remove that DNS first; to silence this line, use --disable coredns",
  };
}

function isNamed({ metadata }: Service, name: string, namespace: string): boolean {
  return metadata?.name === name && metadata.namespace === namespace;
}

/** In other namespaces the label proves nothing: anyone can put it on a Service of their own. */
function isDnsByLabel(service: Service): boolean {
  return service.metadata?.namespace === PACKAGED_NAMESPACE &&
    service.metadata?.labels?.[DNS_LABEL] === DNS_SERVICE_NAME && servesDns(service) &&
    addressesOf(service).length > 0;
}

function servesDns({ spec }: Service): boolean {
  return spec?.ports?.some(({ port }) => port === 53) ?? false;
}

function addressesOf({ spec }: Service): readonly string[] {
  const texts = spec?.clusterIPs ?? (spec?.clusterIP === undefined ? [] : [spec.clusterIP]);
  return texts.filter((text) => ipFamilyOf(text) !== undefined).map((text) => canonicalIp(text) ?? text);
}
