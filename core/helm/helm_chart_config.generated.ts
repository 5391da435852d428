// Made from core/helm/crds.ts by tests/support/helm_types.ts with kubernetes-fluent-client. Never edit it.
// deno-fmt-ignore-file

export interface HelmChartConfig {
  spec?: Spec;
}

export interface Spec {
  /**
   * What is done about a failed release.
   */
  failurePolicy?: FailurePolicy;
  /**
   * Take fields over from other managers; needs server-side apply.
   */
  forceConflicts?: boolean;
  /**
   * Whether helm applies on the server.
   */
  serverSide?: ServerSide;
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
