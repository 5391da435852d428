// Conformance requests: create, read, update, patch and delete of plain objects, pages and watches, paths.
import { configMap, CORE, type Step } from "./conformance_step.ts";

/** Plain objects. */
export const CONFIG_MAPS: readonly Step[] = [
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

/** Pages, selections and watches. */
export const PAGES: readonly Step[] = [
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

/** Paths that are no resource. */
export const PATHS: readonly Step[] = [
  { name: "health", method: "GET", path: "/healthz" },
  { name: "ready", method: "GET", path: "/readyz" },
  { name: "core versions", method: "GET", path: "/api" },
  { name: "unknown path", method: "GET", path: "/nothing" },
  { name: "unknown group", method: "GET", path: "/apis/none.example.com/v1" },
];
