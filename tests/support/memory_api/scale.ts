// The subresource `scale` of workloads (autoscaling/v1): how many pods are wanted, there are, and which.
import { asObject, at, type Json, type JsonObject } from "./json.ts";
import type { ApiObject } from "./store.ts";

/** What `scale` says of a workload. */
export function scaleOf(object: JsonObject): JsonObject {
  const { name = "", namespace = "", uid = "", resourceVersion = "", creationTimestamp = "" } = asObject(
    object["metadata"],
  );
  const labels = Object.entries(asObject(at(object, "spec", "selector", "matchLabels")));
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: at(object, "spec", "replicas") ?? 0 },
    status: {
      replicas: at(object, "status", "replicas") ?? 0,
      selector: labels.map(([key, value]) => `${key}=${String(value)}`).join(","),
    },
  };
}

/** The workload as a written `scale` wants it. */
export function objectOfScale(object: ApiObject, scale: Json): JsonObject {
  const version = at(scale, "metadata", "resourceVersion");
  return {
    ...object,
    metadata: { ...object.metadata, ...(version ? { resourceVersion: version } : {}) },
    spec: { ...asObject(object["spec"]), replicas: at(scale, "spec", "replicas") ?? 0 },
  };
}
