// The pure parts around one file: order, what is sent, pruning, the AddOn record, drift, adoption, variables.
import assert from "node:assert/strict";
import {
  checksumOf,
  desiredAddOn,
  isOwnedBy,
  KINDS_ANNOTATION,
  ownershipMarks,
  parseKinds,
  renderKinds,
  saysSame,
} from "../../../../core/manifests/record/addon.ts";
import { adoptedFields } from "../../../../core/manifests/objects/adopted_fields.ts";
import { applyPhases, objectToApply } from "../../../../core/manifests/objects/apply_plan.ts";
import { changedFields } from "../../../../core/manifests/objects/changed_fields.ts";
import { isK3sServer, k3sDataDir } from "../../../../core/manifests/folder/k3s_process.ts";
import { parseManifests } from "../../../../core/manifests/objects/parse_manifests.ts";
import { kindsToSearch, prunePlan, type SeenObject } from "../../../../core/manifests/deploy/prune_plan.ts";
import { renderTemplate } from "../../../../core/manifests/folder/packaged_files.ts";
import type { ResourceType } from "../../../../core/kube/contract.ts";

function type(kind: string, namespaced = true, group = ""): ResourceType {
  return { group, version: "v1", kind, plural: `${kind.toLowerCase()}s`, namespaced };
}

Deno.test("ownershipMarks gives the hash that K3s gives to the objects of its AddOn coredns", () => {
  assert.equal(
    ownershipMarks("coredns").labels["objectset.rio.cattle.io/hash"],
    "bce283298811743a0386ab510f2f67ef74240c57",
  );
});

Deno.test("parseKinds reads what renderKinds and K3s write", () => {
  const text = "/v1, Kind=ConfigMap;apps/v1, Kind=Deployment;helm.cattle.io/v1, Kind=HelmChart";
  assert.equal(renderKinds([...parseKinds(text), ...parseKinds(text)].reverse()), text);
  assert.deepEqual(parseKinds(undefined), []);
  assert.deepEqual(parseKinds("nonsense;;/v1, Kind=Pod; "), [{ apiVersion: "v1", kind: "Pod" }]);
});

Deno.test("saysSame tells a finished record from an unfinished one", () => {
  const record = { name: "a", source: "/a.yaml", checksum: checksumOf(new Uint8Array()), kinds: [], server: "s" };
  assert.ok(saysSame(desiredAddOn(record), record));
  assert.ok(!saysSame(desiredAddOn({ ...record, checksum: "" }), record));
  assert.ok(!saysSame(desiredAddOn({ ...record, server: "other" }), record));
  assert.ok(!saysSame(undefined, record));
});

Deno.test("applyPhases puts what others need first, and keeps the file's order otherwise", () => {
  const text = [
    "ValidatingWebhookConfiguration",
    "Thing",
    "Deployment",
    "ConfigMap",
    "CustomResourceDefinition",
    "ClusterRole",
    "Namespace",
    "Service",
  ].map((kind) => JSON.stringify({ apiVersion: "v1", kind, metadata: { name: kind.toLowerCase() } })).join("\n---\n");
  const phases = applyPhases(parseManifests(text, "f")).map((phase) => phase.map(({ kind }) => kind));
  assert.deepEqual(phases, [
    ["Namespace"],
    ["CustomResourceDefinition"],
    ["ConfigMap", "ClusterRole"],
    ["Thing", "Deployment", "Service"],
    ["ValidatingWebhookConfiguration"],
  ]);
});

Deno.test("objectToApply adds marks and namespace, and drops what only the server writes", () => {
  const [object] = parseManifests(
    JSON.stringify({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        name: "a",
        uid: "u",
        resourceVersion: "5",
        creationTimestamp: null,
        managedFields: [],
        labels: { mine: "1" },
        annotations: { "objectset.rio.cattle.io/applied": "H4sI", own: "2" },
      },
      data: { x: "y" },
    }),
    "f",
  );
  assert.ok(object !== undefined);
  const before = JSON.stringify(object.object);
  const marks = ownershipMarks("app");
  assert.deepEqual(objectToApply({ ...object, type: type("ConfigMap") }, "app"), {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: "a",
      namespace: "default",
      labels: { mine: "1", ...marks.labels },
      annotations: { own: "2", ...marks.annotations },
    },
    data: { x: "y" },
  });
  assert.equal(JSON.stringify(object.object), before, "the input is not changed");
  const cluster = objectToApply({ ...object, namespace: "x", type: type("ConfigMap", false) }, "app");
  assert.equal(cluster.metadata?.namespace, undefined);
});

function seen(kind: string, name: string, more: Readonly<Record<string, unknown>> = {}): SeenObject {
  const marks = ownershipMarks("app");
  const { annotations = {}, ...metadata } = more;
  return {
    type: type(kind, kind !== "Namespace"),
    object: {
      apiVersion: "v1",
      kind,
      metadata: {
        name,
        uid: `uid-${name}`,
        labels: { ...marks.labels },
        annotations: { ...marks.annotations, ...annotations as object },
        ...metadata,
      },
    },
  };
}

const PRUNING: readonly {
  readonly name: string;
  readonly given: SeenObject;
  readonly want: "remove" | "keep" | "leave";
}[] = [
  { name: "removes what the file no longer has", given: seen("ConfigMap", "old"), want: "remove" },
  { name: "leaves what the file has", given: seen("ConfigMap", "wanted"), want: "leave" },
  {
    name: "leaves what the file has under another group",
    given: seen("ConfigMap", "same", { uid: "uid-applied" }),
    want: "leave",
  },
  {
    name: "leaves objects with the label only",
    given: {
      ...seen("ConfigMap", "copy"),
      object: { metadata: { name: "copy", labels: { ...ownershipMarks("app").labels } } },
    },
    want: "leave",
  },
  {
    name: "leaves what a controller made",
    given: seen("Pod", "p", {
      ownerReferences: [{ apiVersion: "v1", kind: "X", name: "x", uid: "x", controller: true }],
    }),
    want: "leave",
  },
  {
    name: "leaves what is going already",
    given: seen("ConfigMap", "going", { deletionTimestamp: "2026-01-01T00:00:00Z" }),
    want: "leave",
  },
  { name: "keeps Namespaces", given: seen("Namespace", "n"), want: "keep" },
  { name: "keeps claims", given: seen("PersistentVolumeClaim", "c"), want: "keep" },
  { name: "keeps CRDs", given: seen("CustomResourceDefinition", "crd"), want: "keep" },
  {
    name: "removes guarded kinds that opted in",
    given: seen("Namespace", "n", { annotations: { "k3slb.io/prune": "true" } }),
    want: "remove",
  },
  {
    name: "keeps any object that opted out",
    given: seen("ConfigMap", "o", { annotations: { "k3slb.io/prune": "false" } }),
    want: "keep",
  },
];
for (const { name, given, want } of PRUNING) {
  Deno.test(`prunePlan ${name}`, () => {
    const wanted = new Set(["\nConfigMap\n\nwanted"]);
    const plan = prunePlan({
      addOn: "app",
      seen: [given, given],
      wanted,
      wantedUids: new Set(["uid-applied"]),
      claims: [],
    });
    assert.equal(plan.remove.length, want === "remove" ? 1 : 0);
    assert.equal(plan.keep.length, want === "keep" ? 1 : 0);
    const other = prunePlan({ addOn: "other", seen: [given], wanted: new Set(), wantedUids: new Set(), claims: [] });
    assert.deepEqual([other.remove, other.keep], [[], []]);
    assert.ok(!isOwnedBy(given.object.metadata, "other"));
  });
}

const CLAIMS: readonly {
  readonly name: string;
  readonly given: SeenObject;
  readonly claim: string;
  readonly want: boolean;
}[] = [
  {
    name: "leaves",
    given: seen("ConfigMap", "a", { namespace: "default" }),
    claim: yaml("ConfigMap", "a"),
    want: true,
  },
  { name: "leaves", given: seen("ConfigMap", "a", { namespace: "x" }), claim: yaml("ConfigMap", "a", "x"), want: true },
  { name: "leaves", given: seen("Namespace", "a"), claim: yaml("Namespace", "a", "x"), want: true },
  {
    name: "removes",
    given: seen("ConfigMap", "a", { namespace: "y" }),
    claim: yaml("ConfigMap", "a", "x"),
    want: false,
  },
  { name: "removes", given: seen("ConfigMap", "a", { namespace: "x" }), claim: yaml("Secret", "a", "x"), want: false },
  {
    name: "removes",
    given: seen("ConfigMap", "a", { namespace: "x" }),
    claim: yaml("ConfigMap", "b", "x"),
    want: false,
  },
  {
    name: "removes",
    given: seen("ConfigMap", "a", { namespace: "x" }),
    claim: yaml("ConfigMap", "a", "x", "example.com/v1"),
    want: false,
  },
];
for (const { name, given, claim, want } of CLAIMS) {
  Deno.test(`prunePlan ${name} ${JSON.stringify(given.object.metadata?.namespace)} where another file has ${claim}`, () => {
    const input = { addOn: "app", seen: [given], wanted: new Set<string>(), wantedUids: new Set<string>() };
    const plan = prunePlan({ ...input, claims: parseManifests(claim, "other.yaml") });
    assert.deepEqual([plan.moved.length, plan.remove.length + plan.keep.length], want ? [1, 0] : [0, 1]);
  });
}

function yaml(kind: string, name: string, namespace?: string, apiVersion = "v1"): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace } });
}

Deno.test("kindsToSearch joins what is recorded with what the file has", () => {
  const annotations = { [KINDS_ANNOTATION]: "/v1, Kind=Pod;apps/v1, Kind=DaemonSet" };
  assert.deepEqual(kindsToSearch({ metadata: { annotations } }, [{ apiVersion: "v1", kind: "Pod" }]), [
    { apiVersion: "v1", kind: "Pod" },
    { apiVersion: "apps/v1", kind: "DaemonSet" },
  ]);
});

Deno.test("changedFields names what differs, without status and bookkeeping", () => {
  const before = {
    metadata: { resourceVersion: "1", labels: { "a/b": "1" } },
    spec: { ports: [{ port: 1 }, { port: 2 }] },
    status: { x: 1 },
  };
  const after = {
    metadata: { resourceVersion: "2", labels: { "a/b": "2" } },
    spec: { ports: [{ port: 1 }], new: true },
    status: {},
  };
  assert.deepEqual(changedFields(before, after), [
    { path: 'metadata.labels["a/b"]', before: "1", after: "2" },
    { path: "spec.new", before: undefined, after: true },
    { path: "spec.ports[1]", before: { port: 2 }, after: undefined },
  ]);
  assert.deepEqual(changedFields(after, structuredClone(after)), []);
});

Deno.test("adoptedFields makes K3s's fields this program's own", () => {
  const entry = (manager: string, operation: string, fieldsV1: object): object => ({
    manager,
    operation,
    fieldsV1,
    apiVersion: "v1",
  });
  const given = [
    entry("deploy@one", "Update", { "f:data": { "f:a": {} } }),
    entry("k3slb", "Apply", { "f:data": { "f:c": {} } }),
    entry("kubectl", "Update", { "f:data": { "f:k": {} } }),
    entry("deploy@two", "Update", { "f:data": { "f:b": {} } }),
  ];
  assert.deepEqual(adoptedFields(given), [
    entry("kubectl", "Update", { "f:data": { "f:k": {} } }),
    entry("k3slb", "Apply", { "f:data": { "f:a": {}, "f:b": {} } }),
  ]);
  assert.equal(adoptedFields(given.slice(1, 3)), undefined);
  assert.equal(adoptedFields(undefined), undefined);
});

Deno.test("renderTemplate replaces known variables only", () => {
  const variables = { CLUSTER_DNS: "10.43.0.10", EMPTY: "" };
  assert.equal(
    renderTemplate("%{CLUSTER_DNS}%|%{EMPTY}%|%{KUBERNETES_API}%|%{x}%|%CLUSTER_DNS%", variables),
    "10.43.0.10||%{KUBERNETES_API}%|%{x}%|%CLUSTER_DNS%",
  );
  assert.equal(renderTemplate("%{CLUSTER_DNS}%", { CLUSTER_DNS: "$&" }), "$&");
});

const PROCESSES: readonly {
  readonly given: readonly string[];
  readonly env?: readonly string[];
  readonly want: string | undefined;
}[] = [
  { given: ["/usr/local/bin/k3s", "server"], want: "/var/lib/rancher/k3s" },
  { given: ["/usr/local/bin/k3s server"], want: "/var/lib/rancher/k3s" },
  { given: ["k3s-server", "--data-dir=/d"], want: "/d" },
  { given: ["k3s", "server", "-d", "/d"], want: "/d" },
  { given: ["k3s", "server"], env: ["K3S_DATA_DIR=/e"], want: "/e" },
  { given: ["k3s", "agent"], want: undefined },
  { given: ["k3slb", "server"], want: undefined },
  { given: ["/bin/vi", "k3s server"], want: undefined },
];
for (const { given, env = [], want } of PROCESSES) {
  Deno.test(`isK3sServer, k3sDataDir read ${JSON.stringify(given)}`, () => {
    assert.equal(isK3sServer(given) ? k3sDataDir(given, env) : undefined, want);
  });
}
