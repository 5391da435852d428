// The real parts that the packaged suite tries: what was given, what could be got, and what is lacking and why. Found before the suite
// enters its private world, which reaches no net, and handed on in the environment.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { KLIPPER_HELM_IMAGE } from "../../core/packaged/versions.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { cacheDir } from "../support/go_program.ts";
import { ensureHelmProgram } from "../support/helm_program.ts";
import { runProgram } from "../support/programs.ts";
import { PINNED_TRAEFIKS } from "./chart_facts.ts";
import { type Chart, chartOf, findCharts } from "./charts.ts";
import { COREDNS, ensureGoProgram, TRAEFIK } from "./go_programs.ts";

/** What the suite may have; absent: it could not be had. */
export interface Parts {
  /** Folder of charts. */
  readonly charts?: string;
  /** klipper-helm's script of the pinned image. */
  readonly klipperHelm?: string;
  readonly coredns?: string;
  readonly traefik?: string;
  readonly helm3?: string;
  readonly helm4?: string;
}

const VARIABLE = "K3SLB_PACKAGED_PARTS";
/** Has the definitions of Gateway API, which K3s's chart of definitions has, too. */
export const K3S_DEFINITIONS_CHART = "40.1.0";

/** The parts that the task found. */
export function givenParts(): Parts {
  return JSON.parse(process.env[VARIABLE] ?? "{}");
}

/** The environment that hands `parts` on. */
export function partsEnvironment(parts: Parts): Readonly<Record<string, string>> {
  return { [VARIABLE]: JSON.stringify(parts) };
}

/** Finds or gets everything; says of each part where it is from, or why it is lacking. */
export async function findParts(
  given: { readonly charts?: string | undefined; readonly klipperHelm?: string | undefined },
  report: (line: string) => void,
): Promise<Parts> {
  const lacking = (what: string, why: string): undefined => void report(`lacking: ${what}: ${why}`);
  const get = async (what: string, make: () => Promise<string>): Promise<string | undefined> => {
    try {
      const file = await make();
      report(`have: ${what}: ${file}`);
      return file;
    } catch (error) {
      return lacking(what, errorMessage(error));
    }
  };
  const helm4 = await get("helm 4", () => ensureHelmProgram(4));
  const helm3 = await get("helm 3", () => ensureHelmProgram(3));
  const coredns = await get(`CoreDNS ${COREDNS.version}`, () => ensureGoProgram(COREDNS, report));
  const traefik = await get(`Traefik ${TRAEFIK.version}`, () => ensureGoProgram(TRAEFIK, report));
  const charts = await chartsFolder(given.charts, { helm: helm4 ?? helm3, report });
  const script = given.klipperHelm;
  const isScript = script !== undefined && existsSync(script) && readFileSync(script, "utf8").startsWith("#!");
  if (isScript) report(`have: klipper-helm's script: ${script}`);
  else lacking("klipper-helm's script", `give the file "entry" of ${KLIPPER_HELM_IMAGE} with --klipper-helm FILE`);
  return {
    ...(charts === undefined ? {} : { charts }),
    ...(isScript ? { klipperHelm: resolve(script) } : {}),
    ...(coredns === undefined ? {} : { coredns }),
    ...(traefik === undefined ? {} : { traefik }),
    ...(helm3 === undefined ? {} : { helm3 }),
    ...(helm4 === undefined ? {} : { helm4 }),
  };
}

async function chartsFolder(
  given: string | undefined,
  { helm, report }: { readonly helm: string | undefined; readonly report: (line: string) => void },
): Promise<string | undefined> {
  const folder = given === undefined ? join(cacheDir(), "charts") : resolve(given);
  const work = mkdtempSync(join(tmpdir(), "k3slb-charts-"));
  try {
    if (given === undefined) {
      if (helm === undefined) report("lacking: charts: there is no helm to pull them with; give --charts DIR");
      else await pullCharts(folder, { helm, report });
    }
    const found: readonly Chart[] = existsSync(folder) ? await findCharts(folder, work) : [];
    for (const { name, version } of [...PINNED_TRAEFIKS.map(({ chart }) => chart), EXTRA_CHART]) {
      const isThere = chartOf(found, name, version) !== undefined;
      report(isThere ? `have: chart ${name} ${version}` : `lacking: chart ${name} ${version}: not in ${folder}`);
    }
    return found.length === 0 ? undefined : folder;
  } finally {
    rmSync(work, { recursive: true });
  }
}

const EXTRA_CHART = { name: "traefik", version: K3S_DEFINITIONS_CHART, repo: "https://traefik.github.io/charts" };

async function pullCharts(
  folder: string,
  { helm, report }: { readonly helm: string; readonly report: (line: string) => void },
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const { name, version, repo } of [...PINNED_TRAEFIKS.map(({ chart }) => chart), EXTRA_CHART]) {
    const archive = join(folder, `${name}-${version}.tgz`);
    if (existsSync(archive)) continue;
    const work = mkdtempSync(join(tmpdir(), "k3slb-pull-"));
    const { code, stderr } = await runProgram([helm, "pull", name, "--repo", repo, "--version", version, "-d", work]);
    if (code === 0) copyFileSync(join(work, `${name}-${version}.tgz`), archive);
    else report(`lacking: chart ${name} ${version}: ${stderr.trim().split("\n").at(-1)}; give --charts DIR`);
    rmSync(work, { recursive: true });
  }
}
