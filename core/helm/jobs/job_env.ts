// The environment of the Job's container, in the order of the original, which counts for the hash. Pure.
// Facts: helm-controller v0.17.9 `job`, `setProxyEnv`.
import { formatGoDuration, parseGoDuration } from "./go_duration.ts";
import { chartKey, type HelmChart, type HelmChartConfig } from "../helm_chart.ts";
import { releasePolicy } from "../values/merge_config.ts";
import { EXPECTED_REVISION_NAME, type JobAction } from "../names.ts";

/** One variable. */
export interface EnvEntry {
  readonly name: string;
  readonly value: string;
}

/** Port of the API server on the nodes that run it. */
const API_PORT = "6443";
const PROXY_NAMES = ["all_proxy", "http_proxy", "https_proxy", "no_proxy"].flatMap((
  name,
) => [name, name.toUpperCase()]);

/** What {@linkcode jobEnvironment} takes. */
export interface JobEnvironmentOptions {
  readonly action: JobAction;
  readonly config?: HelmChartConfig | undefined;
  /** Environment of the controller, for its proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Every variable that counts for the hash; the release's state is added by {@linkcode releaseEnvironment}. */
export function jobEnvironment(chart: HelmChart, options: JobEnvironmentOptions): readonly EnvEntry[] {
  const spec = chart.spec ?? {};
  const { namespace, name } = chartKey(chart);
  const policy = releasePolicy(chart, options);
  const timeoutNs = spec.timeout === undefined ? undefined : parseGoDuration(spec.timeout);
  return [
    entry("NAME", name),
    entry("VERSION", spec.version),
    entry("REPO", spec.repo),
    entry("HELM_DRIVER", spec.driver || "secret"),
    entry("CHART_NAMESPACE", namespace),
    entry("CHART", spec.repo ? `${name}/${spec.chart ?? ""}` : spec.chart),
    entry("HELM_VERSION", spec.helmVersion),
    entry("TARGET_NAMESPACE", spec.targetNamespace || namespace),
    entry("AUTH_PASS_CREDENTIALS", String(spec.authPassCredentials ?? false)),
    entry("INSECURE_SKIP_TLS_VERIFY", String(spec.insecureSkipTLSVerify ?? false)),
    entry("PLAIN_HTTP", String(spec.plainHTTP ?? false)),
    ...(timeoutNs === undefined ? [] : [entry("TIMEOUT", formatGoDuration(timeoutNs))]),
    ...(spec.bootstrap
      ? [
        entry("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        entry("KUBERNETES_SERVICE_PORT", API_PORT),
        entry("BOOTSTRAP", "true"),
      ]
      : []),
    ...PROXY_NAMES.filter((proxy) => options.env[proxy]).map((proxy) => entry(proxy, options.env[proxy])),
    entry("FAILURE_POLICY", policy.failurePolicy),
    entry("SERVER_SIDE", policy.serverSide),
    entry("FORCE_CONFLICTS", String(policy.forceConflicts)),
  ];
}

/** Whether the environment names a proxy. */
export function hasProxy(env: JobEnvironmentOptions["env"]): boolean {
  return PROXY_NAMES.some((name) => !/^no_proxy$/i.test(name) && env[name]);
}

/**
 * `environment` with `direct` added to what is asked without a proxy. Not part of the hash: nodes and ranges are no part of the configuration,
 * and charts that K3s installed keep their hash.
 */
export function withNoProxy(environment: readonly EnvEntry[], direct: readonly string[]): readonly EnvEntry[] {
  if (direct.length === 0) return environment;
  const valueOf = (wanted: string): string => environment.find(({ name }) => name === wanted)?.value ?? "";
  // Go reads the first of the two that is not empty, so both say the same.
  const given = (valueOf("NO_PROXY") || valueOf("no_proxy")).split(",").map((part) => part.trim());
  const value = [...new Set([...given, ...direct])].filter((part) => part !== "").join(",");
  return [
    ...environment.filter(({ name }) => !/^no_proxy$/i.test(name)),
    entry("no_proxy", value),
    entry("NO_PROXY", value),
  ];
}

/** What the Job must know of the release; not part of the hash. */
export function releaseEnvironment(revision: number, releaseHash: string): readonly EnvEntry[] {
  return [entry(EXPECTED_REVISION_NAME, String(revision)), entry("CONFIG_HASH", releaseHash)];
}

function entry(name: string, value: string | undefined): EnvEntry {
  return { name, value: value ?? "" };
}
