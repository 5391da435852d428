// Values that the server fills in (k8s.io/kubernetes `pkg/apis/*/v1/defaults.go` and the kinds' strategies), as far as
// this program's objects show them. Functions change the object that they are given.
import { asList, asObject, isObject, type Json, type JsonObject } from "./json.ts";
import type { ApiObject } from "./store.ts";

function fill(object: JsonObject, defaults: JsonObject): void {
  for (const [field, value] of Object.entries(defaults)) object[field] ??= value;
}

function objects(value: Json | undefined): JsonObject[] {
  return asList(value).map((item) => asObject(item));
}

function defaultProbe(probe: Json | undefined): void {
  if (probe === undefined) return;
  const fields = asObject(probe);
  fill(fields, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  if (fields["httpGet"] !== undefined) fill(asObject(fields["httpGet"]), { path: "/", scheme: "HTTP" });
}

function defaultContainer(container: JsonObject, isHostNetwork: boolean): void {
  const image = typeof container["image"] === "string" ? container["image"] : "";
  const tag = /:([^:/@]+)$/.exec(image)?.[1];
  fill(container, {
    resources: {},
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: (tag === undefined || tag === "latest") && !image.includes("@") ? "Always" : "IfNotPresent",
  });
  for (const port of objects(container["ports"])) {
    port["protocol"] ??= "TCP";
    if (isHostNetwork) port["hostPort"] ??= port["containerPort"] ?? 0;
  }
  for (const env of objects(container["env"])) {
    const fieldRef = asObject(env["valueFrom"])["fieldRef"];
    if (fieldRef !== undefined) asObject(fieldRef)["apiVersion"] ??= "v1";
  }
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) defaultProbe(container[probe]);
  const resources = asObject(container["resources"]);
  if (resources["limits"] !== undefined) {
    const requests = asObject(resources["requests"]);
    fill(requests, asObject(resources["limits"]));
    resources["requests"] = requests;
  }
}

function defaultVolume(volume: JsonObject): void {
  for (const source of ["secret", "configMap", "projected", "downwardAPI"]) {
    if (volume[source] !== undefined) asObject(volume[source])["defaultMode"] ??= 420;
  }
  if (volume["hostPath"] !== undefined) asObject(volume["hostPath"])["type"] ??= "";
}

function defaultPodSpec(spec: JsonObject): void {
  fill(spec, {
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    dnsPolicy: "ClusterFirst",
    securityContext: {},
    schedulerName: "default-scheduler",
  });
  if (spec["serviceAccountName"] !== undefined) spec["serviceAccount"] ??= spec["serviceAccountName"];
  else if (spec["serviceAccount"] !== undefined) spec["serviceAccountName"] = spec["serviceAccount"];
  const isHostNetwork = spec["hostNetwork"] === true;
  for (const field of ["containers", "initContainers"]) {
    for (const container of objects(spec[field])) defaultContainer(container, isHostNetwork);
  }
  for (const volume of objects(spec["volumes"])) defaultVolume(volume);
}

function defaultPod(pod: ApiObject): void {
  const spec = asObject(pod["spec"]);
  defaultPodSpec(spec);
  fill(spec, { enableServiceLinks: true });
  // The type of pod conditions has these two also when they are not set.
  for (const condition of objects(asObject(pod["status"])["conditions"])) {
    condition["lastProbeTime"] ??= null;
    condition["lastTransitionTime"] ??= null;
  }
}

function admitPod(pod: ApiObject): void {
  const spec = asObject(pod["spec"]);
  fill(spec, { priority: 0, preemptionPolicy: "PreemptLowerPriority", serviceAccountName: "default" });
  spec["serviceAccount"] ??= spec["serviceAccountName"] ?? "default";
  const tolerations = asList(spec["tolerations"]);
  for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
    const isTolerated = objects(tolerations).some((it) =>
      (it["key"] === key || (it["key"] === undefined && it["operator"] === "Exists")) &&
      (it["effect"] === undefined || it["effect"] === "NoExecute")
    );
    if (!isTolerated) tolerations.push({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 });
  }
  spec["tolerations"] = tolerations;
}

function qosClass(spec: JsonObject): string {
  const resources = objects(spec["containers"]).map((container) => asObject(container["resources"]));
  const isSet = (value: Json | undefined): boolean => Object.keys(asObject(value)).length > 0;
  if (!resources.some((it) => isSet(it["limits"]) || isSet(it["requests"]))) return "BestEffort";
  const isGuaranteed = resources.every((it) => {
    const limits = asObject(it["limits"]);
    const requests = asObject(it["requests"]);
    return ["cpu", "memory"].every((name) =>
      limits[name] !== undefined && limits[name] === (requests[name] ?? limits[name])
    );
  });
  return isGuaranteed ? "Guaranteed" : "Burstable";
}

function defaultService(service: ApiObject): void {
  const spec = asObject(service["spec"]);
  fill(spec, { sessionAffinity: "None", type: "ClusterIP" });
  const type = spec["type"];
  if (spec["sessionAffinity"] === "ClientIP") {
    spec["sessionAffinityConfig"] ??= { clientIP: { timeoutSeconds: 10800 } };
  }
  for (const port of objects(spec["ports"])) {
    port["protocol"] ??= "TCP";
    port["targetPort"] ??= port["port"] ?? 0;
  }
  if (type === "NodePort" || type === "LoadBalancer") spec["externalTrafficPolicy"] ??= "Cluster";
  if (type !== "ExternalName") spec["internalTrafficPolicy"] ??= "Cluster";
  if (type === "LoadBalancer") spec["allocateLoadBalancerNodePorts"] ??= true;
  for (const ingress of objects(asObject(asObject(service["status"])["loadBalancer"])["ingress"])) {
    if (ingress["ip"] !== undefined) ingress["ipMode"] ??= "VIP";
  }
}

function defaultJob(job: ApiObject): void {
  const spec = asObject(job["spec"]);
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) spec["completions"] = 1;
  fill(spec, {
    parallelism: 1,
    backoffLimit: 6,
    completionMode: "NonIndexed",
    suspend: false,
    manualSelector: false,
    podReplacementPolicy: "TerminatingOrFailed",
  });
  const template = asObject(spec["template"]);
  defaultPodSpec(asObject(template["spec"]));
  const uid = job.metadata["uid"];
  if (spec["manualSelector"] === true || uid === undefined || spec["selector"] !== undefined) return;
  const labels: JsonObject = {
    "batch.kubernetes.io/controller-uid": uid,
    "batch.kubernetes.io/job-name": job.metadata.name,
    "controller-uid": uid,
    "job-name": job.metadata.name,
  };
  const metadata = asObject(template["metadata"]);
  metadata["labels"] = { ...asObject(metadata["labels"]), ...labels };
  template["metadata"] = metadata;
  spec["selector"] = { matchLabels: { "batch.kubernetes.io/controller-uid": uid } };
}

const NODE_INFO = [
  "architecture",
  "bootID",
  "containerRuntimeVersion",
  "kernelVersion",
  "kubeProxyVersion",
  "kubeletVersion",
  "machineID",
  "operatingSystem",
  "osImage",
  "systemUUID",
] as const;

const DEFAULTS: Readonly<Record<string, (object: ApiObject) => void>> = {
  Pod: defaultPod,
  Service: defaultService,
  Job: defaultJob,
  DaemonSet: (object) => {
    const spec = asObject(object["spec"]);
    fill(spec, { updateStrategy: {}, revisionHistoryLimit: 10 });
    const strategy = asObject(spec["updateStrategy"]);
    fill(strategy, { type: "RollingUpdate" });
    if (strategy["type"] === "RollingUpdate") {
      strategy["rollingUpdate"] ??= {};
      fill(asObject(strategy["rollingUpdate"]), { maxUnavailable: 1, maxSurge: 0 });
    }
    defaultPodSpec(asObject(asObject(spec["template"])["spec"]));
  },
  Deployment: (object) => {
    const spec = asObject(object["spec"]);
    fill(spec, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
    const strategy = asObject(spec["strategy"]);
    fill(strategy, { type: "RollingUpdate" });
    if (strategy["type"] === "RollingUpdate") {
      strategy["rollingUpdate"] ??= {};
      fill(asObject(strategy["rollingUpdate"]), { maxUnavailable: "25%", maxSurge: "25%" });
    }
    defaultPodSpec(asObject(asObject(spec["template"])["spec"]));
  },
  Namespace: (object) => {
    object.metadata["labels"] = {
      ...asObject(object.metadata["labels"]),
      "kubernetes.io/metadata.name": object.metadata.name,
    };
  },
  Secret: (object) => {
    object["type"] ??= "Opaque";
    const text = asObject(object["stringData"]);
    delete object["stringData"];
    if (Object.keys(text).length === 0) return;
    const data: JsonObject = { ...asObject(object["data"]) };
    for (const [key, value] of Object.entries(text)) data[key] = new TextEncoder().encode(String(value)).toBase64();
    object["data"] = data;
  },
  Node: (object) => {
    object["status"] ??= {};
    const status = asObject(object["status"]);
    fill(status, { daemonEndpoints: { kubeletEndpoint: { Port: 0 } }, nodeInfo: {} });
    fill(asObject(status["nodeInfo"]), Object.fromEntries(NODE_INFO.map((field) => [field, ""])));
  },
  EndpointSlice: (object) => {
    for (const port of objects(object["ports"])) fill(port, { name: "", protocol: "TCP" });
  },
  ClusterRoleBinding: (object) => {
    for (const subject of objects(object["subjects"])) {
      if (subject["kind"] !== "ServiceAccount") subject["apiGroup"] ??= "rbac.authorization.k8s.io";
    }
  },
  CustomResourceDefinition: (object) => {
    const spec = asObject(object["spec"]);
    const names = asObject(spec["names"]);
    const kind = String(names["kind"]);
    fill(names, { singular: kind.toLowerCase(), listKind: `${kind}List` });
    fill(spec, { conversion: { strategy: "None" } });
  },
};

/** Maps and lists that are not written when they are empty. */
const OMITTED_WHEN_EMPTY: readonly string[] = ["labels", "annotations", "finalizers", "ownerReferences"];

function dropEmpty(object: JsonObject, fields: readonly string[]): void {
  for (const field of fields) {
    const value = object[field];
    const isEmpty = Array.isArray(value) ? value.length === 0 : isObject(value) && Object.keys(value).length === 0;
    if (isEmpty) delete object[field];
  }
}

/** Fills in, when an object is created, what admission plugins would: nobody owns it. Changes `object`. */
export function admit(object: ApiObject): void {
  if (object.kind === "Pod") admitPod(object);
  if (object.kind === "Event") fill(object, { reportingComponent: "", reportingInstance: "", source: {} });
  if (object.kind === "Node") {
    // Until its conditions are known, nothing is scheduled to it.
    object["spec"] ??= {};
    const taints = objects(asObject(object["spec"])["taints"]);
    if (!taints.some((it) => it["key"] === "node.kubernetes.io/not-ready")) {
      asObject(object["spec"])["taints"] = [...taints, { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }];
    }
  }
  if (object.kind === "Namespace") object["spec"] ??= { finalizers: ["kubernetes"] };
  if (object.kind === "DaemonSet") {
    const annotations = asObject(object.metadata["annotations"]);
    object.metadata["annotations"] = { ...annotations, "deprecated.daemonset.template.generation": "1" };
  }
}

/** Fills in what the server would. Changes `object`. */
export function applyDefaults(object: ApiObject): void {
  dropEmpty(object.metadata, OMITTED_WHEN_EMPTY);
  if (object.kind === "ConfigMap" || object.kind === "Secret") dropEmpty(object, ["data", "binaryData"]);
  DEFAULTS[object.kind]?.(object);
}

/** What the status of a new object is; nothing if it starts without one. */
export function initialStatus(object: ApiObject): JsonObject | undefined {
  switch (object.kind) {
    case "Pod":
      return { phase: "Pending", qosClass: qosClass(asObject(object["spec"])) };
    case "Service":
      return { loadBalancer: {} };
    case "DaemonSet":
      return { currentNumberScheduled: 0, desiredNumberScheduled: 0, numberMisscheduled: 0, numberReady: 0 };
    case "Deployment":
    case "Job":
    case "PersistentVolumeClaim":
    case "ReplicaSet":
    case "StatefulSet":
      return object.kind === "PersistentVolumeClaim" ? { phase: "Pending" } : {};
    case "Namespace":
      return { phase: "Active" };
    case "CustomResourceDefinition": {
      const versions = objects(asObject(object["spec"])["versions"]).filter((it) => it["storage"] === true);
      return { acceptedNames: { kind: "", plural: "" }, storedVersions: versions.map((it) => it["name"] ?? "") };
    }
    default:
      return undefined;
  }
}
