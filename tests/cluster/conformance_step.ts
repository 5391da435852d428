// What the conformance requests share: their form, paths and a few objects.

/** One request. */
export interface Step {
  readonly name: string;
  /** @default {"admin"} */
  readonly user?: "admin" | "node" | "guest";
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  /** Form of the patch. */
  readonly patch?: "apply" | "merge" | "strategic" | "json";
  readonly body?: unknown;
  /** Do it again until the answer has this code: for what the server does a moment later. */
  readonly untilCode?: number;
}

/** Namespace of all objects. */
export const NAMESPACE = "conformance";
/** Path of the core group. */
export const CORE = `/api/v1/namespaces/${NAMESPACE}`;
/** Path of `apps/v1`. */
export const APPS = `/apis/apps/v1/namespaces/${NAMESPACE}`;

/** A ConfigMap. */
export function configMap(name: string, data: Record<string, string>, labels?: Record<string, string>): unknown {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...(labels === undefined ? {} : { labels }) }, data };
}

/** A pod that no scheduler touches. */
export function pod(name: string, more: Record<string, unknown> = {}): unknown {
  const containers = [{ name: "main", image: "example.com/pause:1", ports: [{ containerPort: 80 }] }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: { containers, automountServiceAccountToken: false, schedulerName: "nobody", ...more },
  };
}
