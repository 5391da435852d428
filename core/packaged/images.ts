// Everything that an installation pulls from the internet: images and charts, for hosts without access. Pure.
import { imageFrom } from "../shared/image.ts";
import type { ClusterVersion } from "./cluster_version.ts";
import { corednsImage } from "./coredns.ts";
import { traefikFor } from "./traefik.ts";
import type { PinnedChart } from "./versions.ts";

/** Settings that decide what is pulled. */
export interface ArtifactSettings {
  readonly version: ClusterVersion;
  readonly disable: readonly string[];
  readonly systemDefaultRegistry: string;
  readonly dataplane: "agent" | "pods";
  /** With `none` agents need no pods. */
  readonly reservePorts: "daemonset" | "none";
  readonly lbImage: string;
  readonly pauseImage: string;
  readonly helmJobImage: string;
}

/** One thing to bring along. */
export interface Artifact {
  readonly kind: "image" | "chart";
  /** The part that needs it. */
  readonly component: string;
  /** Image with its registry, or file name of the chart's archive. */
  readonly name: string;
  /** The chart's repository; empty for images, whose name says it. */
  readonly repository: string;
}

/** Images first, then charts, each once. */
export function artifactsOf(settings: ArtifactSettings): readonly Artifact[] {
  const { version, systemDefaultRegistry } = settings;
  const isOn = (name: string): boolean => !settings.disable.includes(name);
  const { traefik } = traefikFor(version);
  const image = (component: string, name: string): Artifact => ({
    kind: "image",
    component,
    name: imageFrom(systemDefaultRegistry, name),
    repository: "",
  });
  const chart = ({ repo, name, version }: PinnedChart): Artifact => ({
    kind: "chart",
    component: "traefik",
    name: `${name}-${version}.tgz`,
    repository: repo,
  });
  return [
    ...(isOn("servicelb") ? loadBalancerImages(settings).map((name) => image("servicelb", name)) : []),
    ...(isOn("coredns") ? [image("coredns", corednsImage(version))] : []),
    ...(isOn("traefik") ? [image("traefik", `${traefik.image.repository}:${traefik.image.tag}`)] : []),
    ...(isOn("helm") ? [image("helm", settings.helmJobImage)] : []),
    ...(isOn("traefik") ? [chart(traefik.chart)] : []),
  ];
}

function loadBalancerImages(settings: ArtifactSettings): readonly string[] {
  if (settings.dataplane === "pods") return [settings.lbImage];
  return settings.reservePorts === "none" ? [] : [settings.pauseImage];
}
