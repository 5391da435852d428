// Made from core/helm/crds.ts by tests/support/helm_types.ts with kubernetes-fluent-client. Never edit it.
// deno-fmt-ignore-file

export interface HelmChart {
  spec?: Spec;
  status?: Status;
}

export interface Spec {
  /**
   * Pass credentials to all hosts, not only to the repository's.
   */
  authPassCredentials?: boolean;
  /**
   * Secret of type `kubernetes.io/basic-auth` or `kubernetes.io/tls` for the repository.
   */
  authSecret?: AuthSecret;
  /**
   * Tries of the Job; 1000 if absent.
   */
  backOffLimit?: number;
  /**
   * The chart is needed for the cluster to work: run on a control-plane node with its network.
   */
  bootstrap?: boolean;
  /**
   * Name in the repository, URL of an archive, or OCI reference.
   */
  chart?: string;
  /**
   * The chart's archive in base64; replaces `chart`.
   */
  chartContent?: string;
  /**
   * Create the target namespace.
   */
  createNamespace?: boolean;
  /**
   * Secret of type `kubernetes.io/dockerconfigjson` for OCI registries.
   */
  dockerRegistrySecret?: DockerRegistrySecret;
  /**
   * Where helm keeps releases.
   */
  driver?: Driver;
  /**
   * What is done about a failed release.
   */
  failurePolicy?: FailurePolicy;
  /**
   * Take fields over from other managers; needs server-side apply.
   */
  forceConflicts?: boolean;
  /**
   * Deprecated; `v3` is the only one.
   */
  helmVersion?: string;
  /**
   * Do not check the repository's certificate.
   */
  insecureSkipTLSVerify?: boolean;
  /**
   * Image of the Job.
   */
  jobImage?: string;
  /**
   * Use HTTP for an OCI registry.
   */
  plainHTTP?: boolean;
  /**
   * Replaces the Job pod's security context.
   */
  podSecurityContext?: { [key: string]: unknown };
  /**
   * URL of the chart repository.
   */
  repo?: string;
  /**
   * Certificates of authorities for the repository, in PEM.
   */
  repoCA?: string;
  /**
   * ConfigMap with certificates of authorities, every key a file.
   */
  repoCAConfigMap?: RepoCAConfigMap;
  /**
   * Replaces the Job container's security context.
   */
  securityContext?: { [key: string]: unknown };
  /**
   * Whether helm applies on the server.
   */
  serverSide?: ServerSide;
  /**
   * Single values by path. Override everything else.
   */
  set?: { [key: string]: number | string };
  /**
   * Adopt objects that no release owns.
   */
  takeOwnership?: boolean;
  /**
   * Namespace of the release; the chart's own if absent.
   */
  targetNamespace?: string;
  /**
   * Helm's time limit, such as `5m`.
   */
  timeout?: string;
  /**
   * Values as a mapping. Override `valuesContent`.
   */
  values?: { [key: string]: unknown };
  /**
   * Values as YAML text.
   */
  valuesContent?: string;
  /**
   * Values in Secrets of the chart's namespace. Override `values`.
   */
  valuesSecrets?: ValuesSecret[];
  /**
   * Version of the chart; the latest if absent.
   */
  version?: string;
}

/**
 * Secret of type `kubernetes.io/basic-auth` or `kubernetes.io/tls` for the repository.
 */
export interface AuthSecret {
  /**
   * Name of the object, in the chart's namespace.
   */
  name?: string;
}

/**
 * Secret of type `kubernetes.io/dockerconfigjson` for OCI registries.
 */
export interface DockerRegistrySecret {
  /**
   * Name of the object, in the chart's namespace.
   */
  name?: string;
}

/**
 * Where helm keeps releases.
 */
export enum Driver {
  Configmap = "configmap",
  Secret = "secret",
}

/**
 * What is done about a failed release.
 */
export enum FailurePolicy {
  Abort = "abort",
  Reinstall = "reinstall",
  Retry = "retry",
}

/**
 * ConfigMap with certificates of authorities, every key a file.
 */
export interface RepoCAConfigMap {
  /**
   * Name of the object, in the chart's namespace.
   */
  name?: string;
}

/**
 * Whether helm applies on the server.
 */
export enum ServerSide {
  Auto = "auto",
  False = "false",
  True = "true",
}

export interface ValuesSecret {
  /**
   * Mark the Secret optional, and do not upgrade when it changes.
   */
  ignoreUpdates?: boolean;
  /**
   * Keys that hold YAML; later ones win.
   */
  keys?: string[];
  /**
   * Name of the Secret.
   */
  name?: string;
}

export interface Status {
  conditions?: Condition[];
  /**
   * Name of the latest Job.
   */
  jobName?: string;
}

export interface Condition {
  /**
   * Why, for people.
   */
  message?: string;
  /**
   * Why, in a few words.
   */
  reason?: string;
  /**
   * True, False or Unknown.
   */
  status: string;
  /**
   * JobCreated, Failed or Deployed.
   */
  type: string;
}
