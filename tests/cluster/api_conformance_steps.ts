// The requests that the in-memory API server is held to the real one by. Steps run in order on one server; `{rv:STEP}`,
// `{uid:STEP}` and `{continue:STEP}` stand for values from an earlier answer.
// Nothing here waits for a controller: both servers run without those that would change these objects.

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

const NAMESPACE = "conformance";
const CORE = `/api/v1/namespaces/${NAMESPACE}`;
const APPS = `/apis/apps/v1/namespaces/${NAMESPACE}`;
const WIDGETS = `/apis/example.com/v1/namespaces/${NAMESPACE}/widgets`;

function configMap(name: string, data: Record<string, string>, labels?: Record<string, string>): unknown {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, ...(labels === undefined ? {} : { labels }) }, data };
}

function pod(name: string, more: Record<string, unknown> = {}): unknown {
  const containers = [{ name: "main", image: "example.com/pause:1", ports: [{ containerPort: 80 }] }];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name } },
    spec: { containers, automountServiceAccountToken: false, schedulerName: "nobody", ...more },
  };
}

const DAEMON_SET = {
  apiVersion: "apps/v1",
  kind: "DaemonSet",
  metadata: { name: "set", labels: { app: "set" } },
  spec: {
    selector: { matchLabels: { app: "set" } },
    template: {
      metadata: { labels: { app: "set" } },
      spec: {
        hostNetwork: true,
        containers: [{
          name: "lb-tcp-80",
          image: "example.com/pause:1",
          env: [{ name: "SRC_PORT", value: "80" }],
          ports: [{ name: "lb-tcp-80", containerPort: 80, hostPort: 80, protocol: "TCP" }],
        }],
        tolerations: [{ key: "CriticalAddonsOnly", operator: "Exists" }],
        readinessGates: [{ conditionType: "k3slb.io/Programmed" }],
      },
    },
    updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
  },
};

function service(name: string, spec: Record<string, unknown>): unknown {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec };
}

const PORTS = [{ name: "http", port: 80 }, { name: "https", port: 443, targetPort: "tls" }];
const CRD = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.example.com" },
  spec: {
    group: "example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [{
      name: "v1",
      served: true,
      storage: true,
      subresources: { status: {} },
      schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
    }],
  },
};
const WIDGET = {
  apiVersion: "example.com/v1",
  kind: "Widget",
  metadata: { name: "one" },
  spec: { size: 1, list: [1, 2] },
};

const CONFIG_MAPS: readonly Step[] = [
  { name: "create", method: "POST", path: `${CORE}/configmaps`, body: configMap("one", { a: "1" }, { tier: "x" }) },
  { name: "create with a name that is taken", method: "POST", path: `${CORE}/configmaps`, body: configMap("one", {}) },
  {
    name: "create without a name",
    method: "POST",
    path: `${CORE}/configmaps`,
    body: { apiVersion: "v1", kind: "ConfigMap", metadata: {} },
  },
  { name: "create with a bad name", method: "POST", path: `${CORE}/configmaps`, body: configMap("Bad_Name", {}) },
  {
    name: "create with a bad label",
    method: "POST",
    path: `${CORE}/configmaps`,
    body: configMap("label", {}, { tier: "x".repeat(64) }),
  },
  {
    name: "create in a namespace that is missing",
    method: "POST",
    path: "/api/v1/namespaces/nowhere/configmaps",
    body: configMap("one", {}),
  },
  {
    name: "create in another namespace than the path's",
    method: "POST",
    path: `${CORE}/configmaps`,
    body: { metadata: { name: "x", namespace: "default" } },
  },
  {
    name: "create of another kind",
    method: "POST",
    path: `${CORE}/configmaps`,
    body: { apiVersion: "v1", kind: "Secret", metadata: { name: "x" } },
  },
  { name: "create with dry run", method: "POST", path: `${CORE}/configmaps?dryRun=All`, body: configMap("dry", {}) },
  { name: "get after dry run", method: "GET", path: `${CORE}/configmaps/dry` },
  { name: "get", method: "GET", path: `${CORE}/configmaps/one` },
  { name: "get of a missing one", method: "GET", path: `${CORE}/configmaps/none` },
  { name: "get of a kind that is not served", method: "GET", path: `${CORE}/gadgets` },
  {
    name: "update with an old version",
    method: "PUT",
    path: `${CORE}/configmaps/one`,
    body: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "one", resourceVersion: "1" } },
  },
  {
    name: "update",
    method: "PUT",
    path: `${CORE}/configmaps/one?fieldManager=editor`,
    body: configMap("one", { a: "2", b: "1" }, { tier: "x" }),
  },
  { name: "update of a missing one", method: "PUT", path: `${CORE}/configmaps/none`, body: configMap("none", {}) },
  { name: "update under another name", method: "PUT", path: `${CORE}/configmaps/one`, body: configMap("two", {}) },
  {
    name: "merge patch",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/configmaps/one?fieldManager=editor`,
    body: { data: { b: null, c: "3" } },
  },
  {
    name: "JSON patch",
    method: "PATCH",
    patch: "json",
    path: `${CORE}/configmaps/one?fieldManager=editor`,
    body: [{ op: "test", path: "/data/c", value: "3" }, { op: "replace", path: "/data/c", value: "4" }, {
      op: "add",
      path: "/data/d",
      value: "5",
    }, { op: "remove", path: "/data/a" }],
  },
  {
    name: "JSON patch whose test fails",
    method: "PATCH",
    patch: "json",
    path: `${CORE}/configmaps/one`,
    body: [{ op: "test", path: "/data/c", value: "9" }],
  },
  {
    name: "JSON patch that removes what is missing",
    method: "PATCH",
    patch: "json",
    path: `${CORE}/configmaps/one`,
    body: [{ op: "remove", path: "/data/zzz" }],
  },
  { name: "patch of a missing one", method: "PATCH", patch: "merge", path: `${CORE}/configmaps/none`, body: {} },
  {
    name: "finalizer added",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/configmaps/one?fieldManager=editor`,
    body: { metadata: { finalizers: ["example.com/hold"] } },
  },
  { name: "delete with a finalizer", method: "DELETE", path: `${CORE}/configmaps/one` },
  { name: "get while it is held", method: "GET", path: `${CORE}/configmaps/one` },
  {
    name: "finalizer removed",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/configmaps/one?fieldManager=editor`,
    body: { metadata: { finalizers: null } },
  },
  { name: "get after the finalizer", method: "GET", path: `${CORE}/configmaps/one` },
  { name: "delete of a missing one", method: "DELETE", path: `${CORE}/configmaps/one` },
];

const APPLY: readonly Step[] = [
  {
    name: "apply without a manager",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied`,
    body: configMap("applied", { a: "1" }),
  },
  {
    name: "apply creates",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=alice`,
    body: configMap("applied", { a: "1", b: "1" }, { tier: "y" }),
  },
  {
    name: "apply again changes nothing",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=alice`,
    body: configMap("applied", { a: "1", b: "1" }, { tier: "y" }),
  },
  {
    name: "apply by another adds",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob`,
    body: configMap("applied", { c: "1" }),
  },
  {
    name: "apply by another shares an equal value",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob`,
    body: configMap("applied", { c: "1", b: "1" }),
  },
  {
    name: "apply that conflicts",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob`,
    body: configMap("applied", { a: "2", b: "2" }),
  },
  {
    name: "apply that forces",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob&force=true`,
    body: configMap("applied", { a: "2", c: "1" }),
  },
  {
    name: "apply that drops a field",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=alice`,
    body: configMap("applied", { a: "2" }),
  },
  {
    name: "update takes a field over",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/configmaps/applied?fieldManager=carol`,
    body: { data: { a: "3" } },
  },
  {
    name: "apply that conflicts with an update",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob`,
    body: configMap("applied", { a: "4" }),
  },
  {
    name: "apply with dry run",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob&dryRun=All&force=true`,
    body: configMap("applied", { a: "4" }),
  },
  {
    name: "apply with an old version",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/configmaps/applied?fieldManager=bob&force=true`,
    body: {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "applied", resourceVersion: "1" },
      data: { a: "9" },
    },
  },
  {
    name: "apply of a DaemonSet",
    method: "PATCH",
    patch: "apply",
    path: `${APPS}/daemonsets/set?fieldManager=k3slb&force=true`,
    body: DAEMON_SET,
  },
  {
    name: "apply of the same DaemonSet",
    method: "PATCH",
    patch: "apply",
    path: `${APPS}/daemonsets/set?fieldManager=k3slb&force=true`,
    body: DAEMON_SET,
  },
  {
    name: "apply of a DaemonSet with another port",
    method: "PATCH",
    patch: "apply",
    path: `${APPS}/daemonsets/set?fieldManager=k3slb&force=true`,
    body: {
      ...DAEMON_SET,
      spec: {
        ...DAEMON_SET.spec,
        template: {
          ...DAEMON_SET.spec.template,
          spec: {
            ...DAEMON_SET.spec.template.spec,
            containers: [{
              name: "lb-tcp-81",
              image: "example.com/pause:1",
              ports: [{ containerPort: 81, hostPort: 81, protocol: "TCP" }],
            }],
          },
        },
      },
    },
  },
  {
    name: "apply of a DaemonSet with another selector",
    method: "PATCH",
    patch: "apply",
    path: `${APPS}/daemonsets/set?fieldManager=k3slb&force=true`,
    body: {
      ...DAEMON_SET,
      spec: {
        ...DAEMON_SET.spec,
        selector: { matchLabels: { app: "other" } },
        template: { ...DAEMON_SET.spec.template, metadata: { labels: { app: "other" } } },
      },
    },
  },
  {
    name: "status patch of a DaemonSet",
    method: "PATCH",
    patch: "merge",
    path: `${APPS}/daemonsets/set/status?fieldManager=writer`,
    body: { spec: { minReadySeconds: 9 }, status: { numberReady: 1 } },
  },
  {
    name: "host port that differs under host network",
    method: "POST",
    path: `${APPS}/daemonsets`,
    body: {
      ...DAEMON_SET,
      metadata: { name: "wrong" },
      spec: {
        ...DAEMON_SET.spec,
        template: {
          ...DAEMON_SET.spec.template,
          spec: {
            hostNetwork: true,
            containers: [{ name: "c", image: "x", ports: [{ containerPort: 80, hostPort: 81 }] }],
          },
        },
      },
    },
  },
  {
    name: "selector that misses the template",
    method: "POST",
    path: `${APPS}/daemonsets`,
    body: {
      ...DAEMON_SET,
      metadata: { name: "wrong" },
      spec: { ...DAEMON_SET.spec, selector: { matchLabels: { app: "none" } } },
    },
  },
  { name: "delete of a DaemonSet", method: "DELETE", path: `${APPS}/daemonsets/set` },
];

const SERVICES: readonly Step[] = [
  {
    name: "Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("plain", { selector: { app: "x" }, ports: PORTS }),
  },
  {
    name: "LoadBalancer Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("lb", { type: "LoadBalancer", selector: { app: "x" }, ports: PORTS }),
  },
  {
    name: "LoadBalancer Service, Local",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("local", {
      type: "LoadBalancer",
      externalTrafficPolicy: "Local",
      loadBalancerClass: "example.com/x",
      ports: [{ port: 53, protocol: "UDP" }],
    }),
  },
  {
    name: "LoadBalancer Service without node ports",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("bare", { type: "LoadBalancer", allocateLoadBalancerNodePorts: false, ports: [{ port: 80 }] }),
  },
  {
    name: "headless Service with affinity",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("headless", { clusterIP: "None", ports: [{ port: 80 }] }),
  },
  {
    name: "dual-stack Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("dual", { ipFamilyPolicy: "PreferDualStack", sessionAffinity: "ClientIP", ports: [{ port: 80 }] }),
  },
  {
    name: "external name Service",
    method: "POST",
    path: `${CORE}/services?fieldManager=maker`,
    body: service("external", { type: "ExternalName", externalName: "example.com" }),
  },
  {
    name: "Service with a port twice",
    method: "POST",
    path: `${CORE}/services`,
    body: service("twice", { ports: [{ name: "a", port: 80 }, { name: "b", port: 80 }] }),
  },
  {
    name: "Service with ports that lack names",
    method: "POST",
    path: `${CORE}/services`,
    body: service("unnamed", { ports: [{ port: 80 }, { port: 81 }] }),
  },
  {
    name: "Service without ports",
    method: "POST",
    path: `${CORE}/services`,
    body: service("portless", { selector: { app: "x" } }),
  },
  {
    name: "Service with a bad port",
    method: "POST",
    path: `${CORE}/services`,
    body: service("bad", { ports: [{ port: 70000 }] }),
  },
  {
    name: "Service with a bad name",
    method: "POST",
    path: `${CORE}/services`,
    body: service("a.b", { ports: [{ port: 80 }] }),
  },
  {
    name: "status without ipMode",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb/status?fieldManager=k3slb`,
    body: { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } },
  },
  {
    name: "status with a condition",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb/status?fieldManager=k3slb`,
    body: {
      status: {
        conditions: [{
          type: "k3slb.io/Served",
          status: "True",
          reason: "Served",
          message: "ok",
          lastTransitionTime: "2026-01-01T00:00:00Z",
        }],
      },
    },
  },
  {
    name: "status applied",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/services/lb/status?fieldManager=k3slb&force=true`,
    body: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "lb" },
      status: { loadBalancer: { ingress: [{ ip: "192.0.2.2", ipMode: "Proxy" }] } },
    },
  },
  {
    name: "status through the main resource",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { status: { loadBalancer: { ingress: [{ ip: "192.0.2.9" }] } } },
  },
  {
    name: "finalizer by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=k3slb`,
    body: { metadata: { finalizers: ["service.kubernetes.io/load-balancer-cleanup"] } },
  },
  {
    name: "second finalizer by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=k3slb`,
    body: { metadata: { finalizers: ["example.com/second"] } },
  },
  {
    name: "port added by strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { spec: { ports: [{ name: "more", port: 81 }] } },
  },
  {
    name: "type changed to ClusterIP",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/services/lb?fieldManager=maker`,
    body: { spec: { type: "ClusterIP" } },
  },
  {
    name: "Services of type LoadBalancer",
    method: "GET",
    path: `${CORE}/services?fieldSelector=spec.type%3DLoadBalancer`,
  },
  { name: "delete of a Service with finalizers", method: "DELETE", path: `${CORE}/services/lb` },
  { name: "delete of a Service", method: "DELETE", path: `${CORE}/services/plain` },
];

const PODS: readonly Step[] = [
  { name: "pod", method: "POST", path: `${CORE}/pods?fieldManager=maker`, body: pod("first"), untilCode: 201 },
  {
    name: "pod with host network",
    method: "POST",
    path: `${CORE}/pods?fieldManager=maker`,
    body: pod("second", { hostNetwork: true, readinessGates: [{ conditionType: "k3slb.io/Programmed" }] }),
  },
  {
    name: "pod without containers",
    method: "POST",
    path: `${CORE}/pods`,
    body: { metadata: { name: "empty" }, spec: { containers: [] } },
  },
  {
    name: "binding",
    method: "POST",
    path: `${CORE}/pods/first/binding?fieldManager=binder`,
    body: { apiVersion: "v1", kind: "Binding", metadata: { name: "first" }, target: { kind: "Node", name: "node-a" } },
  },
  { name: "pod after binding", method: "GET", path: `${CORE}/pods/first` },
  {
    name: "binding again",
    method: "POST",
    path: `${CORE}/pods/first/binding`,
    body: { apiVersion: "v1", kind: "Binding", metadata: { name: "first" }, target: { kind: "Node", name: "node-b" } },
  },
  {
    name: "condition by strategic patch",
    user: "node",
    method: "PATCH",
    patch: "strategic",
    path: `${CORE}/pods/first/status?fieldManager=agent`,
    body: {
      status: {
        conditions: [{
          type: "k3slb.io/Programmed",
          status: "True",
          reason: "Programmed",
          lastTransitionTime: "2026-01-01T00:00:00Z",
        }],
      },
    },
  },
  {
    name: "condition by apply",
    user: "node",
    method: "PATCH",
    patch: "apply",
    path: `${CORE}/pods/first/status?fieldManager=applier&force=true`,
    body: {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "first" },
      status: { conditions: [{ type: "example.com/Other", status: "True" }] },
    },
  },
  { name: "pods of one node", method: "GET", path: `${CORE}/pods?fieldSelector=spec.nodeName%3Dnode-a` },
  {
    name: "pods of a phase and label",
    method: "GET",
    path: `${CORE}/pods?fieldSelector=status.phase%3DPending&labelSelector=app%20in%20(second,third)`,
  },
  {
    name: "pods by a field that can't be selected",
    method: "GET",
    path: `${CORE}/pods?fieldSelector=spec.color%3Dred`,
  },
  { name: "graceful deletion", method: "DELETE", path: `${CORE}/pods/first` },
  {
    name: "deletion now",
    method: "DELETE",
    path: `${CORE}/pods/first`,
    body: { kind: "DeleteOptions", apiVersion: "v1", gracePeriodSeconds: 0 },
  },
  { name: "pod after deletion", method: "GET", path: `${CORE}/pods/first` },
  {
    name: "deletion of another uid",
    method: "DELETE",
    path: `${CORE}/pods/second`,
    body: { kind: "DeleteOptions", apiVersion: "v1", preconditions: { uid: "11111111-2222-3333-4444-555555555555" } },
  },
  { name: "deletion of an unbound pod", method: "DELETE", path: `${CORE}/pods/second` },
];

const NODE_RIGHTS: readonly Step[] = [
  {
    name: "pod on another node",
    method: "POST",
    path: `${CORE}/pods?fieldManager=maker`,
    body: pod("foreign", { nodeName: "node-b" }),
  },
  {
    name: "node lists its pods",
    user: "node",
    method: "GET",
    path: `/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a`,
  },
  { name: "node lists all pods", user: "node", method: "GET", path: "/api/v1/pods" },
  {
    name: "node patches a foreign pod's status",
    user: "node",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/pods/foreign/status`,
    body: { status: { message: "x" } },
  },
  { name: "node gets a foreign pod", user: "node", method: "GET", path: `${CORE}/pods/foreign` },
  { name: "node lists Services", user: "node", method: "GET", path: `${CORE}/services?labelSelector=none` },
  { name: "node lists EndpointSlices", user: "node", method: "GET", path: "/apis/discovery.k8s.io/v1/endpointslices" },
  {
    name: "node reads a foreign Lease",
    user: "node",
    method: "GET",
    path: `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/k3slb-server`,
  },
  {
    name: "node reads another node's Lease",
    user: "node",
    method: "GET",
    path: "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-b",
  },
  {
    name: "node creates itself",
    user: "node",
    method: "POST",
    path: "/api/v1/nodes?fieldManager=kubelet",
    body: {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name: "node-a", labels: { "kubernetes.io/hostname": "node-a" } },
      status: { addresses: [{ type: "InternalIP", address: "192.0.2.11" }] },
    },
  },
  {
    name: "another node",
    method: "POST",
    path: "/api/v1/nodes",
    body: { apiVersion: "v1", kind: "Node", metadata: { name: "node-b" } },
  },
  {
    name: "node's own condition",
    user: "node",
    method: "PATCH",
    patch: "strategic",
    path: "/api/v1/nodes/node-a/status?fieldManager=agent",
    body: {
      status: {
        conditions: [{
          type: "k3slb.io/Forwarding",
          status: "True",
          reason: "Ok",
          lastHeartbeatTime: "2026-01-01T00:00:00Z",
          lastTransitionTime: "2026-01-01T00:00:00Z",
        }],
      },
    },
  },
  {
    name: "node patches another Node",
    user: "node",
    method: "PATCH",
    patch: "merge",
    path: "/api/v1/nodes/node-b/status",
    body: { status: { conditions: [] } },
  },
  { name: "node reads another Node", user: "node", method: "GET", path: "/api/v1/nodes/node-b" },
  { name: "node lists Nodes", user: "node", method: "GET", path: "/api/v1/nodes" },
  {
    name: "node lists itself",
    user: "node",
    method: "GET",
    path: "/api/v1/nodes?fieldSelector=metadata.name%3Dnode-a",
  },
  { name: "node reads a Secret", user: "node", method: "GET", path: `${CORE}/secrets/none` },
  {
    name: "node creates an Event",
    user: "node",
    method: "POST",
    path: `${CORE}/events?fieldManager=agent`,
    body: {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: "event" },
      involvedObject: { kind: "Pod", namespace: NAMESPACE, name: "foreign" },
      reason: "X",
      type: "Normal",
    },
  },
  {
    name: "node creates a ConfigMap",
    user: "node",
    method: "POST",
    path: `${CORE}/configmaps`,
    body: configMap("x", {}),
  },
  {
    name: "review of the node",
    user: "node",
    method: "POST",
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    body: { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
  },
  { name: "guest lists pods", user: "guest", method: "GET", path: `${CORE}/pods` },
  { name: "guest deletes a named pod", user: "guest", method: "DELETE", path: `${CORE}/pods/foreign` },
  {
    name: "role for guests",
    method: "POST",
    path: "/apis/rbac.authorization.k8s.io/v1/clusterroles?fieldManager=maker",
    body: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "slices" },
      rules: [{ apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] }],
    },
  },
  {
    name: "binding for guests and nodes",
    method: "POST",
    path: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings?fieldManager=maker",
    body: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "slices" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "slices" },
      subjects: [{ kind: "Group", name: "system:nodes" }, { kind: "User", name: "guest" }],
    },
  },
  {
    name: "node lists EndpointSlices with the role",
    user: "node",
    method: "GET",
    path: `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`,
    untilCode: 200,
  },
  {
    name: "guest lists EndpointSlices",
    user: "guest",
    method: "GET",
    path: `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`,
  },
];

const CUSTOM: readonly Step[] = [
  { name: "kind before its definition", method: "GET", path: WIDGETS },
  {
    name: "definition",
    method: "POST",
    path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldManager=maker",
    body: CRD,
  },
  { name: "custom object", method: "POST", path: `${WIDGETS}?fieldManager=maker`, body: WIDGET, untilCode: 201 },
  {
    name: "custom object: status is separate",
    method: "PATCH",
    patch: "merge",
    path: `${WIDGETS}/one/status?fieldManager=writer`,
    body: { spec: { size: 5 }, status: { phase: "Ready" }, metadata: { labels: { no: "label" } } },
  },
  {
    name: "custom object: spec counts generations",
    method: "PATCH",
    patch: "merge",
    path: `${WIDGETS}/one?fieldManager=maker`,
    body: { spec: { size: 2 }, status: { phase: "No" } },
  },
  {
    name: "custom object: apply",
    method: "PATCH",
    patch: "apply",
    path: `${WIDGETS}/one?fieldManager=k3slb&force=true`,
    body: { ...WIDGET, spec: { size: 3, more: { x: 1 } } },
  },
  {
    name: "custom object: apply drops a mapping",
    method: "PATCH",
    patch: "apply",
    path: `${WIDGETS}/one?fieldManager=k3slb&force=true`,
    body: { ...WIDGET, spec: { size: 3 } },
  },
  {
    name: "custom object: strategic patch",
    method: "PATCH",
    patch: "strategic",
    path: `${WIDGETS}/one`,
    body: { spec: { size: 2 } },
  },
  { name: "custom list", method: "GET", path: WIDGETS },
  { name: "custom object: delete", method: "DELETE", path: `${WIDGETS}/one` },
  { name: "custom discovery", method: "GET", path: "/apis/example.com/v1" },
  {
    name: "definition deleted",
    method: "DELETE",
    path: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com",
  },
];

const PAGES: readonly Step[] = [
  {
    name: "page objects: a",
    method: "POST",
    path: `${CORE}/secrets?fieldManager=maker`,
    body: { metadata: { name: "a", labels: { page: "yes" } }, stringData: { k: "v" } },
  },
  {
    name: "page objects: b",
    method: "POST",
    path: `${CORE}/secrets?fieldManager=maker`,
    body: { metadata: { name: "b", labels: { page: "yes" } } },
  },
  {
    name: "page objects: c",
    method: "POST",
    path: `${CORE}/secrets?fieldManager=maker`,
    body: { metadata: { name: "c", labels: { page: "yes" } } },
  },
  { name: "first page", method: "GET", path: `${CORE}/secrets?limit=2` },
  { name: "second page", method: "GET", path: `${CORE}/secrets?limit=2&continue={continue:first page}` },
  { name: "bad continue token", method: "GET", path: `${CORE}/secrets?limit=2&continue=zzz` },
  {
    name: "b loses its label",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/secrets/b?fieldManager=maker`,
    body: { metadata: { labels: { page: null } } },
  },
  {
    name: "c changes",
    method: "PATCH",
    patch: "merge",
    path: `${CORE}/secrets/c?fieldManager=maker`,
    body: { metadata: { annotations: { x: "y" } } },
  },
  { name: "c goes", method: "DELETE", path: `${CORE}/secrets/c` },
  {
    name: "watch of what happened",
    method: "GET",
    path: `${CORE}/secrets?watch=1&timeoutSeconds=1&resourceVersion={rv:page objects: c}`,
  },
  {
    name: "watch with a label",
    method: "GET",
    path: `${CORE}/secrets?watch=1&timeoutSeconds=1&labelSelector=page&resourceVersion={rv:page objects: a}`,
  },
  {
    name: "watch by name",
    method: "GET",
    path: `${CORE}/secrets?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Da`,
  },
  {
    name: "streaming list",
    method: "GET",
    path:
      `${CORE}/secrets?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`,
  },
  {
    name: "streaming list without a match",
    method: "GET",
    path: `${CORE}/secrets?watch=1&timeoutSeconds=1&sendInitialEvents=true`,
  },
  { name: "collection deleted", method: "DELETE", path: `${CORE}/secrets?labelSelector=page` },
];

const PATHS: readonly Step[] = [
  { name: "health", method: "GET", path: "/healthz" },
  { name: "ready", method: "GET", path: "/readyz" },
  { name: "core versions", method: "GET", path: "/api" },
  { name: "unknown path", method: "GET", path: "/nothing" },
  { name: "unknown group", method: "GET", path: "/apis/none.example.com/v1" },
];

/** All requests, after the one that makes the namespace. */
export const STEPS: readonly Step[] = [
  {
    name: "namespace",
    method: "POST",
    path: "/api/v1/namespaces?fieldManager=maker",
    body: { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
  },
  ...CONFIG_MAPS,
  ...APPLY,
  ...SERVICES,
  ...PODS,
  ...NODE_RIGHTS,
  ...CUSTOM,
  ...PAGES,
  ...PATHS,
];
