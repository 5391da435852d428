// Which Traefik a cluster gets, by its version and by what is installed, and why. Pure.
// A cluster with an ingress controller of its own gets none unasked: both would want ports 80 and 443. A release of CRDs that is
// there is never upgraded nor removed by a take-over: with a definition go all objects of its kind.
// Facts: K3s docs "Networking" and "Networking Services" (v1 up to 1.20, v2 up to 1.31 unless v1 is there, v3 from 1.32), k3s
// `pkg/server/server.go` (v1 is recognised by the chart's file name `traefik-1.`).
import { UNMANAGED_ANNOTATION } from "../shared/k3s_names.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import { pick } from "../kube/trim.ts";
import type { KubeObject } from "../kube/types.ts";
import { type ClusterVersion, isAtLeast } from "./cluster_version.ts";
import { ownerOf } from "./ownership.ts";
import {
  type PinnedChart,
  type PinnedTraefik,
  TRAEFIK_V1,
  TRAEFIK_V2,
  TRAEFIK_V2_BEFORE_1_22,
  TRAEFIK_V3,
  type TraefikGeneration,
} from "./versions.ts";

/** A HelmChart as far as this folder reads it. */
export interface HelmChart extends KubeObject {
  readonly spec?: HelmChartSource;
}

/** Where a HelmChart's chart comes from. */
export interface HelmChartSource {
  readonly chart?: string;
  readonly repo?: string;
  readonly version?: string;
}

/** Name and namespace-wide names of Traefik's HelmCharts. */
export const TRAEFIK_CHART_NAME = "traefik";
export const TRAEFIK_CRD_CHART_NAME = "traefik-crd";

/** What is known of the cluster and this host. */
export interface TraefikFacts {
  readonly version: ClusterVersion;
  /** The HelmCharts in kube-system. */
  readonly installed: readonly HelmChart[];
  /** Names of chart archives on this host. */
  readonly chartFiles: readonly string[];
  /** What serves ingress already, in words; `undefined` if nothing does, or if Traefik was asked for. */
  readonly otherIngress?: string | undefined;
}

/** Where a chart comes from. */
export type ChartSource = { readonly pinned: PinnedChart } | { readonly file: string };

/** Which Traefik is deployed from where. */
export interface TraefikPlan {
  readonly traefik: PinnedTraefik;
  readonly chart: ChartSource;
  /** K3s's own chart of CRDs, which its v2 chart needs beside it. */
  readonly crdChart?: ChartSource;
  /** A HelmChart of CRDs that is there: it and its release stay as they are. */
  readonly keptCrdChart?: HelmChartSource;
}

/** What becomes of Traefik. */
export type TraefikChoice =
  | { readonly deploy: true; readonly plan: TraefikPlan; readonly message: string }
  | {
    readonly deploy: false;
    readonly reason: "Foreign" | "K3s" | "OlderMajor" | "OtherIngress";
    readonly message: string;
    readonly hint?: string;
  };

/** Which Traefik is deployed, with the sentence for the log. */
export function chooseTraefik(facts: TraefikFacts): TraefikChoice {
  const { version } = facts;
  const present = named(facts.installed, TRAEFIK_CHART_NAME);
  const owner = present === undefined ? "ours" : ownerOf(present.metadata, "traefik", version);
  if (owner === "k3s") return { deploy: false, reason: "K3s", message: "Skipping Traefik: K3s itself deploys it" };
  const installed = present === undefined ? undefined : generationOf(present);
  const { traefik, why } = traefikFor(version, installed);
  if (installed === "v1" && traefik.generation !== "v1") {
    return {
      deploy: false,
      reason: "OlderMajor",
      message: `Skipping Traefik ${traefik.generation} deployment due to existing Traefik v1 installation`,
      hint: "Migrate as doc.traefik.io/traefik/migration/v1-to-v2 says, then delete HelmChart kube-system/traefik",
    };
  }
  if (owner === "others") {
    return {
      deploy: false,
      reason: "Foreign",
      message: "Skipping Traefik: HelmChart kube-system/traefik was not made by this program",
      hint: "Keep it and use --disable traefik, or delete it to get the packaged one",
    };
  }
  // One that is deployed goes on: taking it away is for who runs the cluster.
  if (present === undefined && facts.otherIngress !== undefined) {
    return {
      deploy: false,
      reason: "OtherIngress",
      message: `Skipping Traefik: the cluster has an ingress of its own (${facts.otherIngress})`,
      hint: "To have both, start with --enable traefik; to silence this line, use --disable traefik",
    };
  }
  const chart = sourceOf(traefik, TRAEFIK_CHART_NAME, facts.chartFiles);
  const where = "file" in chart ? `file ${chart.file}` : `chart ${chart.pinned.version}`;
  return {
    deploy: true,
    message: `Deploying Traefik ${traefik.generation} (${where}): ${why}`,
    plan: { traefik, chart, ...crdChartOf(traefik, facts) },
  };
}

/**
 * v3's definitions come with this program and v2's inside its chart, so a chart of CRDs is only for K3s's own v2 chart. Replacing another
 * one would delete the definitions that the new one does not have, and with them all objects of those kinds.
 */
function crdChartOf(traefik: PinnedTraefik, facts: TraefikFacts): Pick<TraefikPlan, "crdChart" | "keptCrdChart"> {
  const present = named(facts.installed, TRAEFIK_CRD_CHART_NAME);
  const { annotations, managedFields } = present?.metadata ?? {};
  const isOurs = annotations?.[UNMANAGED_ANNOTATION] === undefined &&
    (managedFields?.some(({ manager }) => manager === FIELD_MANAGER) ?? false);
  const isOfV2 = traefik.generation === "v2";
  const file = isOfV2 && (present === undefined || isOurs)
    ? newestFile(facts.chartFiles, TRAEFIK_CRD_FILE_REGEXP, "v2")
    : undefined;
  if (file !== undefined) return { crdChart: { file } };
  if (present === undefined) return {};
  return { keptCrdChart: pick(present.spec, ["chart", "repo", "version"]) };
}

/** The Traefik for a cluster of this version with nothing, or `installed`, in it. */
export function traefikFor(
  version: ClusterVersion,
  installed?: TraefikGeneration,
): { readonly traefik: PinnedTraefik; readonly why: string } {
  const cluster = `Kubernetes ${version.text}`;
  if (!isAtLeast(version, 21)) return { traefik: TRAEFIK_V1, why: `${cluster} is 1.20 or earlier` };
  if (!isAtLeast(version, 22)) return { traefik: TRAEFIK_V2_BEFORE_1_22, why: `${cluster} is 1.21` };
  if (isAtLeast(version, 32)) {
    const what = installed === "v2" ? "1.32 or later, the installed v2 is upgraded" : "1.32 or later";
    return { traefik: TRAEFIK_V3, why: `${cluster} is ${what}` };
  }
  // Charts don't go back: v3's objects and CRDs are not v2's.
  if (installed === "v3") return { traefik: TRAEFIK_V3, why: "v3 is installed already" };
  return { traefik: TRAEFIK_V2, why: `${cluster} is 1.21 to 1.31` };
}

/** The major version that a HelmChart installs; `undefined` if its chart does not tell. */
export function generationOf({ spec }: HelmChart): TraefikGeneration | undefined {
  const { chart = "", version } = spec ?? {};
  const file = /^traefik-(?:crds?-)?(\d+)\./.exec(chart.slice(chart.lastIndexOf("/") + 1))?.[1];
  const major = file ?? /^[v=]?(\d+)\./.exec(version ?? "")?.[1];
  return major === undefined ? undefined : generationOfChart(Number(major));
}

const TRAEFIK_FILE_REGEXP = /^traefik-(\d+)\.(\d+)\.(\d+).*\.tgz$/;
const TRAEFIK_CRD_FILE_REGEXP = /^traefik-crd-(\d+)\.(\d+)\.(\d+).*\.tgz$/;
/** First chart version of Traefik v3, and first version of K3s's own CRD charts, which follow the chart's. */
const FIRST_V3_CHART = 28;
const FIRST_V2_CHART = 8;

function generationOfChart(major: number): TraefikGeneration {
  return major >= FIRST_V3_CHART ? "v3" : major >= FIRST_V2_CHART ? "v2" : "v1";
}

function sourceOf(traefik: PinnedTraefik, name: string, files: readonly string[]): ChartSource {
  const exact = `${name}-${traefik.chart.version}.tgz`;
  if (files.includes(exact)) return { file: exact };
  const file = newestFile(files, TRAEFIK_FILE_REGEXP, traefik.generation);
  return file === undefined ? { pinned: traefik.chart } : { file };
}

/** The newest archive for a Traefik. */
function newestFile(files: readonly string[], pattern: RegExp, generation: TraefikGeneration): string | undefined {
  const fitting = files.flatMap((file) => {
    const match = pattern.exec(file);
    if (match === null) return [];
    const numbers = match.slice(1, 4).map(Number);
    return generationOfChart(numbers[0] ?? 0) === generation ? [{ file, numbers }] : [];
  });
  return fitting.toSorted((a, b) => compareNumbers(b.numbers, a.numbers))[0]?.file;
}

function compareNumbers(a: readonly number[], b: readonly number[]): number {
  const index = a.findIndex((value, at) => value !== b[at]);
  return index < 0 ? 0 : (a[index] ?? 0) - (b[index] ?? 0);
}

function named(charts: readonly HelmChart[], name: string): HelmChart | undefined {
  return charts.find(({ metadata }) => metadata?.name === name);
}
