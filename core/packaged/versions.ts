// Every version that this program brings along: images and charts, and for which Kubernetes. Nothing else pins any. Pure.
// Which chart and image belong together the chart says itself: `appVersion` is the image that it takes unasked, its annotations
// `traefik.io/proxy-min-version` and `proxy-max-version` are the bounds. tests/vectors/traefik_charts.json has these facts of every
// pinned chart, and a unit test holds the pins to them; `deno task charts` reads them anew. Chart 22 and later need Kubernetes 1.22.

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
  readonly image: {
    readonly repository: string;
    readonly tag: string;
    /** Absent: the chart takes this image unasked. Else why it is told to take this one. */
    readonly insteadOfCharts?: string;
  };
}

const TRAEFIK_REPO = "https://traefik.github.io/charts";
const TRAEFIK_REPOSITORY = "library/traefik";

/** Traefik for Kubernetes 1.20 and older. */
export const TRAEFIK_V1: PinnedTraefik = {
  generation: "v1",
  chart: { repo: "https://charts.helm.sh/stable", name: "traefik", version: "1.81.0" },
  image: { repository: "rancher/library-traefik", tag: "1.7.19", insteadOfCharts: "K3s's own, as on those clusters" },
};

/** Traefik for Kubernetes 1.21, which newer charts refuse. */
export const TRAEFIK_V2_BEFORE_1_22: PinnedTraefik = {
  generation: "v2",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "21.2.0" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "v2.9.10", insteadOfCharts: "last fixes of the chart's v2.9" },
};

/** Traefik for Kubernetes 1.22 to 1.31. */
export const TRAEFIK_V2: PinnedTraefik = {
  generation: "v2",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "27.0.2" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "v2.11.24", insteadOfCharts: "security fixes of the chart's v2.11" },
};

/** Traefik for Kubernetes 1.32 and newer. Why this chart: docs/decisions/0007-traefik-chart.md. */
export const TRAEFIK_V3: PinnedTraefik = {
  generation: "v3",
  chart: { repo: TRAEFIK_REPO, name: "traefik", version: "41.3.0" },
  image: { repository: TRAEFIK_REPOSITORY, tag: "v3.7.11" },
};

/** What K3s ships with its own repacked charts, by the version in the archive's name; other versions take the chart's own tag. */
export const K3S_TRAEFIK_REPOSITORY = "rancher/mirrored-library-traefik";
export const K3S_TRAEFIK_TAGS: Readonly<Record<string, string>> = {
  "27.0.201+up27.0.2": "2.11.24",
  "40.1.4+up40.1.0": "3.7.8",
};
