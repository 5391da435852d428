// Every version that this program brings along: images and charts, and for which Kubernetes. Nothing else pins any. Pure.
// Chart and CRD chart of one line were published together (releases of traefik/traefik-helm-chart: 40.0.0 with CRDs 1.18.0);
// images are the ones that K3s ships with the same chart. Chart 22 and later need Kubernetes 1.22.

/** Images of the load balancer's pods and of Helm jobs; defaults of the flags. */
export const KLIPPER_LB_IMAGE = "rancher/klipper-lb:v0.4.17";
export const PAUSE_IMAGE = "registry.k8s.io/pause:3.10";
export const KLIPPER_HELM_IMAGE = "rancher/klipper-helm:v0.13.3-build20260727";

/** CoreDNS for clusters with EndpointSlices v1 (1.21), and for older ones. */
export const COREDNS_IMAGE = "rancher/mirrored-coredns-coredns:1.14.6";
export const COREDNS_IMAGE_BEFORE_1_21 = "rancher/coredns-coredns:1.8.3";

/** One chart of a chart repository. */
export interface PinnedChart {
  readonly repo: string;
  readonly name: string;
  readonly version: string;
}

/** A major version of Traefik. */
export type TraefikGeneration = "v1" | "v2" | "v3";

/** One pinned Traefik. */
export interface PinnedTraefik {
  readonly generation: TraefikGeneration;
  readonly chart: PinnedChart;
  /** Its custom resource definitions, where the repository has a chart of them; else they are inside `chart`. */
  readonly crdChart?: PinnedChart;
  readonly image: { readonly repository: string; readonly tag: string };
}

const TRAEFIK_REPO = "https://traefik.github.io/charts";
const TRAEFIK_REPOSITORY = "rancher/mirrored-library-traefik";

/** Traefik for Kubernetes 1.20 and older. */
export const TRAEFIK_V1: PinnedTraefik = {
  generation: "v1",
  chart: { repo: "https://charts.helm.sh/stable", name: "traefik", version: "1.81.0" },
  image: { repository: "rancher/library-traefik", tag: "1.7.19" },
};

/** Traefik for Kubernetes 1.21, which newer charts refuse. */
export const TRAEFIK_V2_BEFORE_1_22: PinnedTraefik = {
  generation: "v2",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "21.2.0" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "2.9.10" },
};

/** Traefik for Kubernetes 1.22 to 1.31. */
export const TRAEFIK_V2: PinnedTraefik = {
  generation: "v2",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "27.0.2" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "2.11.24" },
};

/** Traefik for Kubernetes 1.32 and newer. */
export const TRAEFIK_V3: PinnedTraefik = {
  generation: "v3",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "40.1.0" },
  crdChart: { repo: TRAEFIK_REPO, name: "traefik-crds", version: "1.18.0" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "3.7.8" },
};
