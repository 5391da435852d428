// Made from core/helm/crds.ts by tests/support/helm_types.ts with kubernetes-fluent-client. Never edit it.
// deno-fmt-ignore-file

export interface HelmChart {
  spec?: Spec;
  status?: Status;
}

export interface Spec {
  authPassCredentials?: boolean;
  authSecret?: AuthSecret;
  backOffLimit?: number;
  bootstrap?: boolean;
  chart?: string;
  chartContent?: string;
  createNamespace?: boolean;
  dockerRegistrySecret?: DockerRegistrySecret;
  driver?: Driver;
  failurePolicy?: FailurePolicy;
  forceConflicts?: boolean;
  helmVersion?: string;
  insecureSkipTLSVerify?: boolean;
  jobImage?: string;
  plainHTTP?: boolean;
  podSecurityContext?: { [key: string]: unknown };
  repo?: string;
  repoCA?: string;
  repoCAConfigMap?: RepoCAConfigMap;
  securityContext?: { [key: string]: unknown };
  serverSide?: ServerSide;
  set?: { [key: string]: number | string };
  takeOwnership?: boolean;
  targetNamespace?: string;
  timeout?: string;
  values?: { [key: string]: unknown };
  valuesContent?: string;
  valuesSecrets?: ValuesSecret[];
  version?: string;
}

export interface AuthSecret {
  name?: string;
}

export interface DockerRegistrySecret {
  name?: string;
}

export enum Driver {
  Configmap = "configmap",
  Secret = "secret",
}

export enum FailurePolicy {
  Abort = "abort",
  Reinstall = "reinstall",
  Retry = "retry",
}

export interface RepoCAConfigMap {
  name?: string;
}

export enum ServerSide {
  Auto = "auto",
  False = "false",
  True = "true",
}

export interface ValuesSecret {
  ignoreUpdates?: boolean;
  keys?: string[];
  name?: string;
}

export interface Status {
  conditions?: Condition[];
  jobName?: string;
}

export interface Condition {
  message?: string;
  reason?: string;
  status: string;
  type: string;
}
