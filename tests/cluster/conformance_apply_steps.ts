// Conformance requests: server-side apply, on ConfigMaps and a DaemonSet.
import { APPS, configMap, CORE, type Step } from "./conformance_step.ts";

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

/** Apply, conflicts, ownership. */
export const APPLY: readonly Step[] = [
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
