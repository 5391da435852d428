// Made from core/helm/crds.ts by tests/support/helm_types.ts with kubernetes-fluent-client. Never edit it.
// deno-fmt-ignore-file

export interface HelmChartConfig {
  spec?: Spec;
}

export interface Spec {
  failurePolicy?: FailurePolicy;
  forceConflicts?: boolean;
  serverSide?: ServerSide;
  values?: { [key: string]: unknown };
  valuesContent?: string;
  valuesSecrets?: ValuesSecret[];
}

export enum FailurePolicy {
  Abort = "abort",
  Reinstall = "reinstall",
  Retry = "retry",
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
