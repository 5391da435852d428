// Finds and reads the kubeconfig, and makes of it the access to one cluster. What a file says is parsed in kubeconfig_file.ts.
// Facts: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and client-go's clientcmd and rest.
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { Clock } from "../../runtime/clock.ts";
import { errorMessage, isNoSuchFile, K3slbError } from "../../shared/errors.ts";
import type { ClusterAccess } from "./cluster_access.ts";
import { credentialText } from "./credential_files.ts";
import { credentialsOf } from "./credentials.ts";
import {
  type ClusterEntry,
  type ContextEntry,
  type Kubeconfig,
  mergeKubeconfigs,
  parseKubeconfig,
  type UserEntry,
} from "./kubeconfig_file.ts";
import { SERVICE_ACCOUNT_DIR } from "./kubeconfig_paths.ts";

/** What {@linkcode loadKubeconfig} takes. */
export interface LoadKubeconfigOptions {
  /** Path given by flag; nothing else is looked at then. What equals `KUBECONFIG` comes from there, and may name several files. */
  readonly path?: string | undefined;
  /** The process's environment: `KUBECONFIG`, `KUBERNETES_SERVICE_HOST` and `_PORT`, and what exec plugins get. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Looked at in this order if nothing is given. */
  readonly defaultPaths: readonly string[];
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /**
   * Where a pod's own credentials are.
   * @default {SERVICE_ACCOUNT_DIR}
   */
  readonly serviceAccountDir?: string;
}

/**
 * Access to the cluster of the first of: `options.path`, the files of `KUBECONFIG` (merged), the first of `options.defaultPaths`
 * that exists, the pod's service account. Credential files are read with the first request, not here.
 *
 * @throws {K3slbError} code `kubeconfig-not-found`, `kubeconfig-unreadable`, `kubeconfig-invalid` or `kubeconfig-unsupported`
 */
export async function loadKubeconfig(options: LoadKubeconfigOptions): Promise<ClusterAccess> {
  if (options.path !== undefined && options.path !== "" && options.path !== options.env["KUBECONFIG"]) {
    return accessOf(await readKubeconfig(options.path), options);
  }
  const listed = (options.env["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  if (listed.length > 0) {
    // As kubectl: files of the list that do not exist are passed over.
    const configs = (await Promise.all([...new Set(listed)].map(readKubeconfigIfPresent))).filter((config) =>
      config !== undefined
    );
    if (configs.length > 0) return accessOf(mergeKubeconfigs(configs), options);
    throw notFound(`no file of KUBECONFIG exists (${listed.map(quote).join(", ")})`);
  }
  for (const path of options.defaultPaths) {
    const config = await readKubeconfigIfPresent(path);
    if (config !== undefined) return accessOf(config, options);
  }
  const inCluster = inClusterAccess(options);
  if (inCluster !== undefined) return inCluster;
  throw notFound(
    `none of ${options.defaultPaths.map(quote).join(", ")} exists, KUBECONFIG is not set, and this is not a pod`,
  );
}

/** Access by the pod's service account; `undefined` outside of pods. */
function inClusterAccess(
  options: Pick<LoadKubeconfigOptions, "env" | "clock" | "serviceAccountDir">,
): ClusterAccess | undefined {
  const { env, clock, serviceAccountDir = SERVICE_ACCOUNT_DIR } = options;
  const host = env["KUBERNETES_SERVICE_HOST"] ?? "";
  if (host === "") return undefined;
  const port = env["KUBERNETES_SERVICE_PORT"] ?? "443";
  const ca = credentialText({ file: join(serviceAccountDir, "ca.crt") }, { what: "certificate authority", clock });
  const token = credentialText({ file: join(serviceAccountDir, "token") }, { what: "service account token", clock });
  return {
    source: "in-cluster",
    server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
    insecureSkipTlsVerify: false,
    namespace: env["POD_NAMESPACE"] ?? "default",
    impersonationHeaders: [],
    credentials: async (request = {}) => ({
      ca: await ca?.(request) ?? "",
      authorization: `Bearer ${(await token?.(request) ?? "").trim()}`,
    }),
  };
}

async function readKubeconfig(path: string): Promise<Kubeconfig> {
  try {
    return parseKubeconfig(await readFile(path, "utf8"), path);
  } catch (error) {
    if (error instanceof K3slbError) throw error;
    throw new K3slbError(`Cannot read kubeconfig "${path}": ${errorMessage(error)}`, {
      code: isNoSuchFile(error) ? "kubeconfig-not-found" : "kubeconfig-unreadable",
      hint: isNoSuchFile(error)
        ? "Check the path given by --kubeconfig or KUBECONFIG"
        : "Run as root, or make the file readable for this user",
      retriable: true,
      details: { file: path },
      cause: error,
    });
  }
}

async function readKubeconfigIfPresent(path: string): Promise<Kubeconfig | undefined> {
  try {
    return await readKubeconfig(path);
  } catch (error) {
    if (error instanceof K3slbError && error.code === "kubeconfig-not-found") return undefined;
    throw error;
  }
}

function accessOf(config: Kubeconfig, options: LoadKubeconfigOptions): ClusterAccess {
  const { context, cluster, user } = chooseContext(config);
  const { user: userName = "", cluster: clusterName = "" } = context;
  const [unsupported] = unsupportedIn(cluster, user, { userName, clusterName });
  if (unsupported !== undefined) {
    const file = user.fileName || cluster.fileName;
    const [what, hint] = unsupported;
    throw new K3slbError(`Cannot use context "${config.currentContext}" of kubeconfig "${file}": ${what}`, {
      code: "kubeconfig-unsupported",
      hint,
    });
  }
  const url = parseServer(cluster, user, clusterName);
  return {
    source: `kubeconfig ${config.fileNames.map(quote).join(", ")} (context "${config.currentContext}")`,
    server: `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, "")}`,
    tlsServerName: cluster["tls-server-name"],
    insecureSkipTlsVerify: cluster["insecure-skip-tls-verify"] ?? false,
    namespace: context.namespace ?? "default",
    impersonationHeaders: impersonationHeaders(user),
    credentials: credentialsOf(cluster, user, { ...options, userName }),
  };
}

function chooseContext(config: Kubeconfig): {
  readonly context: ContextEntry;
  readonly cluster: ClusterEntry;
  readonly user: UserEntry;
} {
  const files = config.fileNames.map(quote).join(", ");
  const contextName = config.currentContext;
  if (contextName === "") {
    throw invalid(`${files} has no current context`, "Choose one with `kubectl config use-context`");
  }
  const context = config.contexts.get(contextName);
  if (context === undefined) {
    throw invalid(
      `${files} has no context "${contextName}"`,
      `Choose one of its contexts: ${[...config.contexts.keys()].join(", ") || "it has none"}`,
    );
  }
  const cluster = config.clusters.get(context.cluster ?? "");
  if (cluster === undefined) {
    throw invalid(`context "${contextName}" of ${files} names cluster "${context.cluster ?? ""}", which is missing`);
  }
  const user = context.user === undefined ? NO_USER : config.users.get(context.user);
  if (user === undefined) {
    throw invalid(`context "${contextName}" of ${files} names user "${context.user}", which is missing`);
  }
  return { context, cluster, user };
}

/** What of the context this program can't do, each with a hint. */
function unsupportedIn(
  cluster: ClusterEntry,
  { exec, "auth-provider": provider }: UserEntry,
  { clusterName, userName }: { readonly clusterName: string; readonly userName: string },
): readonly (readonly [what: string, hint: string])[] {
  const found: [string, string][] = [];
  if (cluster["proxy-url"] !== undefined) {
    found.push([
      `cluster "${clusterName}" has a "proxy-url", which is not supported`,
      "Use a direct address of the API server",
    ]);
  }
  if (provider !== undefined) {
    found.push([
      `user "${userName}" has the auth-provider "${provider.name ?? "unnamed"}", which Kubernetes has removed`,
      'Use its successor, an "exec" credential plugin',
    ]);
  }
  if (exec !== undefined && !EXEC_API_VERSIONS.includes(exec.apiVersion ?? "")) {
    found.push([
      `the exec plugin of user "${userName}" has apiVersion "${exec.apiVersion ?? ""}"`,
      `Set it to one of ${EXEC_API_VERSIONS.join(", ")}`,
    ]);
  }
  if (exec?.interactiveMode === "Always") {
    found.push([
      `the exec plugin of user "${userName}" always asks a person ("interactiveMode: Always")`,
      "Use credentials that work without a terminal",
    ]);
  }
  return found;
}

function parseServer(cluster: ClusterEntry, user: UserEntry, clusterName: string): URL {
  const { server = "" } = cluster;
  // As client-go: without a scheme it is https where anything speaks of TLS. A token must not travel in the clear by mistake.
  const isTls = cluster["insecure-skip-tls-verify"] || cluster["certificate-authority"] !== undefined ||
    cluster["certificate-authority-data"] !== undefined || user["client-certificate"] !== undefined ||
    user["client-certificate-data"] !== undefined;
  const scheme = server.includes("://") || server === "" ? "" : isTls ? "https://" : "http://";
  const written = `${scheme}${server}`;
  const url = URL.canParse(written) ? new URL(written) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw invalid(
      `cluster "${clusterName}" of kubeconfig "${cluster.fileName}" has no usable server ("${server}")`,
      'Set "server" to an address such as https://10.0.0.1:6443',
    );
  }
  return url;
}

function impersonationHeaders(user: UserEntry): readonly (readonly [string, string])[] {
  if (user.as === undefined) return [];
  return [
    ["Impersonate-User", user.as],
    ...(user["as-uid"] === undefined ? [] : [["Impersonate-Uid", user["as-uid"]] as const]),
    ...(user["as-groups"] ?? []).map((group) => ["Impersonate-Group", group] as const),
    ...Object.entries(user["as-user-extra"] ?? {}).flatMap(([name, values]) =>
      values.map((value) => [`Impersonate-Extra-${encodeURIComponent(name)}`, value] as const)
    ),
  ];
}

function invalid(
  problem: string,
  hint = "Correct the file; `kubectl config view` shows how kubectl reads it",
): K3slbError {
  return new K3slbError(`Cannot use the kubeconfig: ${problem}`, { code: "kubeconfig-invalid", hint });
}

function notFound(tried: string): K3slbError {
  return new K3slbError(`Cannot find a kubeconfig: ${tried}`, {
    code: "kubeconfig-not-found",
    hint: "Give its path with --kubeconfig or the variable KUBECONFIG, or run this where there is one",
    retriable: true,
  });
}

function quote(text: string): string {
  return `"${text}"`;
}

const NO_USER: UserEntry = { fileName: "" };
const EXEC_API_VERSIONS: readonly string[] = [
  "client.authentication.k8s.io/v1",
  "client.authentication.k8s.io/v1beta1",
];
