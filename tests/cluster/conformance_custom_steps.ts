// Conformance requests: a CustomResourceDefinition and its objects.
import { NAMESPACE, type Step } from "./conformance_step.ts";

const WIDGETS = `/apis/example.com/v1/namespaces/${NAMESPACE}/widgets`;
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

/** Custom resources. */
export const CUSTOM: readonly Step[] = [
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
