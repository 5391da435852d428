// The messages that kubectl sends in protobuf: objects of built-in kinds that it makes itself, and options. Field numbers are those of the
// published API; what stands in no row here is refused by protobuf.ts, not lost.

/** One field of a message. */
export interface Field {
  readonly name: string;
  /** `string`, `int`, `bool`, `bytes`, or a message. */
  readonly type: string;
  readonly form: "one" | "list" | "map";
  /** Whether zero is said on purpose; else it means that nothing was said. */
  readonly keepsZero: boolean;
}

/** `number name:type`, the type `string` if none is named; `[]` a list, `{}` a mapping by text, `?` a zero that is meant. */
const ROWS: Readonly<Record<string, string>> = {
  ObjectMeta:
    "1 name, 2 generateName, 3 namespace, 5 uid, 6 resourceVersion, 7 generation:int, 8 creationTimestamp:Time, " +
    "11 labels:{}string, 12 annotations:{}string, 13 ownerReferences:[]OwnerReference, 14 finalizers:[]string",
  OwnerReference: "1 kind, 3 name, 4 uid, 5 apiVersion, 6 controller:bool?, 7 blockOwnerDeletion:bool?",
  DeleteOptions:
    "1 gracePeriodSeconds:int?, 2 preconditions:Preconditions, 3 orphanDependents:bool?, 4 propagationPolicy, 5 dryRun:[]string",
  Preconditions: "1 uid, 2 resourceVersion",
  LabelSelector: "1 matchLabels:{}string, 2 matchExpressions:[]LabelSelectorRequirement",
  LabelSelectorRequirement: "1 key, 2 operator, 3 values:[]string",
  LocalObjectReference: "1 name",
  ObjectReference: "1 kind, 2 namespace, 3 name, 4 uid, 5 apiVersion",

  Namespace: "1 metadata:ObjectMeta, 2 spec:NamespaceSpec, 3 status:Empty",
  NamespaceSpec: "1 finalizers:[]string",
  ConfigMap: "1 metadata:ObjectMeta, 2 data:{}string, 3 binaryData:{}bytes, 4 immutable:bool?",
  Secret: "1 metadata:ObjectMeta, 2 data:{}bytes, 3 type, 4 stringData:{}string, 5 immutable:bool?",
  ServiceAccount: "1 metadata:ObjectMeta, 2 secrets:[]ObjectReference, 3 imagePullSecrets:[]LocalObjectReference, " +
    "4 automountServiceAccountToken:bool?",
  Service: "1 metadata:ObjectMeta, 2 spec:ServiceSpec, 3 status:ServiceStatus",
  ServiceSpec:
    "1 ports:[]ServicePort, 2 selector:{}string, 3 clusterIP, 4 type, 5 externalIPs:[]string, 7 sessionAffinity, " +
    "8 loadBalancerIP, 9 loadBalancerSourceRanges:[]string, 10 externalName, 11 externalTrafficPolicy, 17 ipFamilyPolicy, " +
    "18 clusterIPs:[]string, 19 ipFamilies:[]string, 20 allocateLoadBalancerNodePorts:bool?, 21 loadBalancerClass, 22 internalTrafficPolicy",
  ServicePort: "1 name, 2 protocol, 3 port:int, 4 targetPort:IntOrString, 5 nodePort:int, 6 appProtocol",
  ServiceStatus: "1 loadBalancer:Empty",

  Deployment: "1 metadata:ObjectMeta, 2 spec:DeploymentSpec, 3 status:Empty",
  DeploymentSpec:
    "1 replicas:int?, 2 selector:LabelSelector, 3 template:PodTemplateSpec, 4 strategy:DeploymentStrategy, " +
    "5 minReadySeconds:int, 6 revisionHistoryLimit:int?, 7 paused:bool, 9 progressDeadlineSeconds:int?",
  DeploymentStrategy: "1 type, 2 rollingUpdate:RollingUpdateDeployment",
  RollingUpdateDeployment: "1 maxUnavailable:IntOrString, 2 maxSurge:IntOrString",
  PodTemplateSpec: "1 metadata:ObjectMeta, 2 spec:PodSpec",
  PodSpec:
    "2 containers:[]Container, 3 restartPolicy, 4 terminationGracePeriodSeconds:int?, 6 dnsPolicy, 7 nodeSelector:{}string, " +
    "8 serviceAccountName, 10 nodeName, 11 hostNetwork:bool, 19 schedulerName, 24 priorityClassName",
  Container:
    "1 name, 2 image, 3 command:[]string, 4 args:[]string, 5 workingDir, 6 ports:[]ContainerPort, 7 env:[]EnvVar, " +
    "8 resources:Empty, 14 imagePullPolicy",
  ContainerPort: "1 name, 2 hostPort:int, 3 containerPort:int, 4 protocol, 5 hostIP",
  EnvVar: "1 name, 2 value",
  Job: "1 metadata:ObjectMeta, 2 spec:JobSpec, 3 status:Empty",
  JobSpec:
    "1 parallelism:int?, 2 completions:int?, 3 activeDeadlineSeconds:int?, 6 template:PodTemplateSpec, 7 backoffLimit:int?, " +
    "8 ttlSecondsAfterFinished:int?, 10 suspend:bool?",

  Role: "1 metadata:ObjectMeta, 2 rules:[]PolicyRule",
  ClusterRole: "1 metadata:ObjectMeta, 2 rules:[]PolicyRule, 3 aggregationRule:AggregationRule",
  AggregationRule: "1 clusterRoleSelectors:[]LabelSelector",
  PolicyRule:
    "1 verbs:[]string, 2 apiGroups:[]string, 3 resources:[]string, 4 resourceNames:[]string, 5 nonResourceURLs:[]string",
  RoleBinding: "1 metadata:ObjectMeta, 2 subjects:[]Subject, 3 roleRef:RoleRef",
  ClusterRoleBinding: "1 metadata:ObjectMeta, 2 subjects:[]Subject, 3 roleRef:RoleRef",
  Subject: "1 kind, 2 apiGroup, 3 name, 4 namespace",
  RoleRef: "1 apiGroup, 2 kind, 3 name",

  Ingress: "1 metadata:ObjectMeta, 2 spec:IngressSpec, 3 status:ServiceStatus",
  IngressSpec: "1 defaultBackend:IngressBackend, 2 tls:[]IngressTLS, 3 rules:[]IngressRule, 4 ingressClassName",
  IngressTLS: "1 hosts:[]string, 2 secretName",
  // An empty name: the fields stand in the outer object.
  IngressRule: "1 host, 2 :IngressRuleValue",
  IngressRuleValue: "1 http:HTTPIngressRuleValue",
  HTTPIngressRuleValue: "1 paths:[]HTTPIngressPath",
  HTTPIngressPath: "1 path, 2 backend:IngressBackend, 3 pathType",
  IngressBackend: "4 service:IngressServiceBackend",
  IngressServiceBackend: "1 name, 2 port:ServiceBackendPort",
  ServiceBackendPort: "1 name, 2 number:int",
  PriorityClass: "1 metadata:ObjectMeta, 2 value:int, 3 globalDefault:bool, 4 description, 5 preemptionPolicy",

  SelfSubjectAccessReview: "1 metadata:ObjectMeta, 2 spec:SelfSubjectAccessReviewSpec, 3 status:Empty",
  SelfSubjectAccessReviewSpec: "1 resourceAttributes:ResourceAttributes, 2 nonResourceAttributes:NonResourceAttributes",
  ResourceAttributes: "1 namespace, 2 verb, 3 group, 4 version, 5 resource, 6 subresource, 7 name",
  NonResourceAttributes: "1 path, 2 verb",
  SelfSubjectRulesReview: "1 metadata:ObjectMeta, 2 spec:NamespaceOnly, 3 status:Empty",
  SelfSubjectReview: "1 metadata:ObjectMeta, 2 status:Empty",
  NamespaceOnly: "1 namespace",
  Eviction: "1 metadata:ObjectMeta, 2 deleteOptions:DeleteOptions",

  Empty: "",
  Time: "1 seconds:int, 2 nanos:int",
  IntOrString: "1 type:int, 2 intVal:int, 3 strVal",
};

/** The fields of a message by their numbers; nothing for a message that stands in no row. */
export function fieldsOf(message: string): ReadonlyMap<number, Field> | undefined {
  return MESSAGES.get(message);
}

const MESSAGES: ReadonlyMap<string, ReadonlyMap<number, Field>> = new Map(
  Object.entries(ROWS).map(([message, row]) => [message, new Map(row.split(", ").filter(Boolean).map(parseField))]),
);

function parseField(text: string): [number, Field] {
  const [, number, name = "", form = "", type = "string", zero] =
    /^(\d+) (\w*)(?::(\[\]|\{\})?(\w+)(\?)?)?$/.exec(text) ?? [];
  return [Number(number), {
    name,
    type,
    form: form === "[]" ? "list" : form === "{}" ? "map" : "one",
    keepsZero: zero !== undefined,
  }];
}
