// Whether something serves ingress in the cluster already, so that a Traefik beside it would fight for its ports. Pure.
// Facts: a controller says what it is by an IngressClass (networking.k8s.io/v1, Kubernetes 1.19); helm marks what a release made by the
// annotations meta.helm.sh/release-name and release-namespace.
import type { KubeObject, Node, ObjectMeta, Service } from "../kube/types.ts";
import { type ClaimOptions, serviceClaim } from "../service/claim.ts";
import { PACKAGED_NAMESPACE } from "../shared/k3s_names.ts";
import { TRAEFIK_CHART_NAME } from "./traefik.ts";

/** An IngressClass as far as it is read here. */
export interface IngressClass extends KubeObject {
  readonly spec?: { readonly controller?: string };
}

/** What is known of the cluster. */
export interface IngressFacts {
  readonly ingressClasses: readonly IngressClass[];
  /** Services of all namespaces. */
  readonly services: readonly Service[];
  readonly nodes: readonly Node[];
  /** Which Services this program serves; absent if it serves none. */
  readonly claim?: ClaimOptions;
}

const INGRESS_PORTS: readonly number[] = [80, 443];

/** What serves ingress already, in words; `undefined` if nothing does. What the release of Traefik itself made does not count. */
export function otherIngress(facts: IngressFacts): string | undefined {
  const other = facts.ingressClasses.find(({ metadata }) => !isOfTraefik(metadata));
  if (other !== undefined) {
    return `IngressClass ${other.metadata?.name}, controller ${other.spec?.controller ?? "not given"}`;
  }
  const nodeIps = new Set(facts.nodes.flatMap(({ status }) => (status?.addresses ?? []).map(({ address }) => address)));
  for (const service of facts.services) {
    const port = ingressPort(service);
    if (port === undefined || isOfTraefik(service.metadata) || !isOnNodes(service, { ...facts, nodeIps })) continue;
    return `Service ${service.metadata?.namespace}/${service.metadata?.name} has port ${port} of the nodes`;
  }
  return undefined;
}

function isOfTraefik(metadata: ObjectMeta | undefined): boolean {
  const annotations = metadata?.annotations ?? {};
  return annotations["meta.helm.sh/release-name"] === TRAEFIK_CHART_NAME &&
    annotations["meta.helm.sh/release-namespace"] === PACKAGED_NAMESPACE;
}

function ingressPort({ spec }: Service): number | undefined {
  return spec?.ports?.find(({ port, protocol = "TCP" }) => protocol === "TCP" && INGRESS_PORTS.includes(port))?.port;
}

/** Whether a node's address leads to the Service: by this program, by another's status, or by external addresses. */
function isOnNodes(
  service: Service,
  { claim, nodeIps }: { readonly claim?: ClaimOptions; readonly nodeIps: ReadonlySet<string> },
): boolean {
  if (claim !== undefined && serviceClaim(service, claim).ours) return true;
  const published = service.status?.loadBalancer?.ingress?.flatMap(({ ip }) => ip ?? []) ?? [];
  return [...published, ...(service.spec?.externalIPs ?? [])].some((ip) => nodeIps.has(ip));
}
