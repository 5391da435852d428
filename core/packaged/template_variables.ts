// Values of the variables that packaged manifests may use; the deployer puts them in. Pure.
// Names as in K3s (`pkg/server/server.go`, stageFiles). `%{KUBERNETES_API}%` is not one: a Helm job replaces it.

/** What the values follow from. */
export interface TemplateInput {
  /** Addresses of the cluster DNS; empty if it is not deployed. */
  readonly dnsAddresses: readonly string[];
  readonly clusterDomain: string;
  readonly systemDefaultRegistry: string;
}

/** Every variable with its value. */
export function templateVariables(input: TemplateInput): Readonly<Record<string, string>> {
  const { dnsAddresses } = input;
  const registry = input.systemDefaultRegistry.replace(/\/+$/, "");
  return {
    CLUSTER_DNS: dnsAddresses[0] ?? "",
    CLUSTER_DNS_LIST: `[${dnsAddresses.map((ip) => JSON.stringify(ip)).join(", ")}]`,
    CLUSTER_DNS_IPFAMILYPOLICY: dnsAddresses.length > 1 ? "RequireDualStack" : "SingleStack",
    CLUSTER_DOMAIN: input.clusterDomain,
    SYSTEM_DEFAULT_REGISTRY: registry === "" ? "" : `${registry}/`,
  };
}
