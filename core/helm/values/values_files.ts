// The values of a chart as files in the Job: which keys the chart's own Secret has, and which files come from which Secret.
// Helm reads the files in the order of their names, so the names carry the precedence. Pure.
// Facts: helm-controller v0.17.9 `valuesSecret`, `setValuesSecret`.
import { Buffer } from "node:buffer";
import { chartKey, type HelmChart, type HelmChartConfig, type ValuesSecretRef } from "../helm_chart.ts";
import { valuesSecretName } from "../names.ts";
import { splitImageValues } from "./split_image.ts";
import { valuesText } from "./values_text.ts";

/** A key of a Secret and the name of its file. */
export interface ValuesItem {
  readonly key: string;
  readonly path: string;
}

/** One Secret as a source of files. */
export interface ValuesSource {
  readonly name: string;
  readonly items: readonly ValuesItem[];
  /** Absent for the chart's own Secret. */
  readonly optional?: boolean;
}

/** Chart and config, from which values come. */
export interface ValuesOwners {
  readonly chart: HelmChart;
  readonly config?: HelmChartConfig | undefined;
}

interface OwnFile extends ValuesItem {
  readonly text: string;
}

/** Digits of a file's number, as in K3s. */
const NUMBER_DIGITS = 3;

/** The data of the chart's own Secret, in base64, by key. */
export function valuesData(owners: ValuesOwners): Readonly<Record<string, string>> {
  return Object.fromEntries(
    ownFiles(owners).map(({ key, text }) => [key, Buffer.from(text, "utf8").toString("base64")]),
  );
}

/** Every Secret that is mounted, the chart's own first. */
export function valuesSources(owners: ValuesOwners): readonly ValuesSource[] {
  const own = valuesSecretName(chartKey(owners.chart).name);
  return [
    { name: own, items: ownFiles(owners).map(({ key, path }) => ({ key, path })) },
    ...secretSources(owners, "HelmChart"),
    ...secretSources(owners, "HelmChartConfig"),
  ];
}

/** Entries of `valuesSecrets` that are mounted, the chart's own first. */
export function mountedSecrets(owners: ValuesOwners): readonly MountedSecret[] {
  return [...secretsOf(owners, "HelmChart"), ...secretsOf(owners, "HelmChartConfig")];
}

/** Names of the Secrets that are watched: those that are mounted and whose changes count; more than {@linkcode MAX_SECRETS} are too many. */
export function watchedSecrets(owners: ValuesOwners): readonly string[] {
  return [...new Set(mountedSecrets(owners).filter(({ ignoreUpdates }) => !ignoreUpdates).map(({ name }) => name))];
}

/** Each is a watch, which is a connection. */
export const MAX_SECRETS = 50;

/** Sentences about what the Job must mount and `secrets` lack; those that may be absent, or are not watched, are left out. */
export function missingSecrets(
  owners: ValuesOwners & {
    readonly secrets: ReadonlyMap<string, { readonly data?: Readonly<Record<string, string>> }>;
  },
): readonly string[] {
  const own = valuesSecretName(chartKey(owners.chart).name);
  const missing = valuesSources(owners).filter(({ name, optional }) => name !== own && optional === false)
    .flatMap(({ name, items }) => {
      const secret = owners.secrets.get(name);
      if (secret === undefined) return [`Secret "${name}" of valuesSecrets does not exist`];
      return items.filter(({ key }) => secret.data?.[key] === undefined)
        .map(({ key }) => `Secret "${name}" of valuesSecrets has no key "${key}"`);
    });
  return [...new Set(missing)];
}

type Owner = "HelmChart" | "HelmChartConfig";

function secretSources(owners: ValuesOwners, owner: Owner): readonly ValuesSource[] {
  let number = 2;
  const digits = numberDigits(owners, owner);
  return secretsOf(owners, owner).map(({ name, keys, ignoreUpdates }) => ({
    name,
    items: keys.map((key) => ({ key, path: filePath(owner, { number: number++, digits, what: "ValuesSecret" }) })),
    optional: ignoreUpdates ?? false,
  }));
}

type MountedSecret = ValuesSecretRef & { readonly name: string; readonly keys: readonly string[] };

/** Those with keys, other than the chart's own Secret. */
function secretsOf({ chart, config }: ValuesOwners, owner: Owner): readonly MountedSecret[] {
  const refs = (owner === "HelmChart" ? chart : config)?.spec?.valuesSecrets ?? [];
  const own = valuesSecretName(chartKey(chart).name);
  return refs.flatMap((ref) => {
    const { name = "", keys = [] } = ref;
    return name === "" || name === own || keys.length === 0 ? [] : [{ ...ref, name, keys }];
  });
}

/** As many digits as the last number of its owner needs, or `0-1000` would come before `0-999`. */
function numberDigits(owners: ValuesOwners, owner: Owner): number {
  const last = 1 + secretsOf(owners, owner).reduce((sum, { keys }) => sum + keys.length, 0);
  return Math.max(NUMBER_DIGITS, String(last).length);
}

function filePath(
  owner: Owner,
  { number, digits, what }: { readonly number: number; readonly digits: number; readonly what: string },
): string {
  return `values-${owner === "HelmChart" ? 0 : 1}-${String(number).padStart(digits, "0")}-${owner}-${what}.yaml`;
}

function ownFiles(owners: ValuesOwners): readonly OwnFile[] {
  const { chart, config } = owners;
  const values = (owner: Owner, number: number, what: string): string =>
    filePath(owner, { number, digits: numberDigits(owners, owner), what });
  const files = [
    file("HelmChartValuesContent", values("HelmChart", 0, "ValuesContent"), chart.spec?.valuesContent),
    file("HelmChartValues", values("HelmChart", 1, "Values"), yamlOf(chart.spec?.values)),
    file("RepoCA", "ca-file.pem", chart.spec?.repoCA),
    file("HelmChartConfigValuesContent", values("HelmChartConfig", 0, "ValuesContent"), config?.spec?.valuesContent),
    file("HelmChartConfigValues", values("HelmChartConfig", 1, "Values"), yamlOf(config?.spec?.values)),
    file("SplitImage", "values-2-000-SplitImage.yaml", splitImageValues(owners)),
  ];
  return files.filter(({ text }) => text !== "");
}

function file(key: string, path: string, text: string | undefined): OwnFile {
  return { key, path, text: text ?? "" };
}

function yamlOf(values: Readonly<Record<string, unknown>> | null | undefined): string {
  return values === undefined || values === null ? "" : valuesText(values);
}
