// Which Traefik a cluster gets. Test names are the documentation's sentences where it has one.
import assert from "node:assert/strict";
import { FIELD_MANAGER } from "../../../../core/kube/contract.ts";
import { type ChartSource, chooseTraefik, generationOf, type HelmChart } from "../../../../core/packaged/traefik.ts";
import { traefikManifest } from "../../../../core/packaged/traefik_manifest.ts";
import { parseYaml } from "../../../../core/shared/yaml.ts";
import { at, marksOf, objectsOf, versionOf } from "./fixtures.ts";

function chart(name: string, spec: NonNullable<HelmChart["spec"]>, isOurs = true): HelmChart {
  return { metadata: { name, namespace: "kube-system", ...(isOurs ? { annotations: marksOf("traefik") } : {}) }, spec };
}

const FROM_K3S = "https://%{KUBERNETES_API}%/static/charts/";
const V1 = chart("traefik", { chart: `${FROM_K3S}traefik-1.81.0.tgz` });
const V2 = chart("traefik", { chart: `${FROM_K3S}traefik-27.0.201+up27.0.2.tgz` });
const V2_CRD = chart("traefik-crd", { chart: `${FROM_K3S}traefik-crd-27.0.201+up27.0.2.tgz` });
const V3_CRD = chart("traefik-crd", { chart: `${FROM_K3S}traefik-crd-34.2.1+up34.2.0.tgz` });
const CRD_ARCHIVE = "traefik-crd-27.0.201+up27.0.2.tgz";
const V3 = chart("traefik", { chart: "traefik", version: "41.3.0" });

function sourceText(source: ChartSource | undefined): string {
  if (source === undefined) return "none";
  return "file" in source ? source.file : `${source.pinned.name} ${source.pinned.version}`;
}

const CASES: readonly {
  readonly name: string;
  readonly version: string;
  readonly installed?: readonly HelmChart[];
  readonly files?: readonly string[];
  readonly otherIngress?: string;
  readonly message: RegExp;
  /** Charts of Traefik and of its CRDs; absent: nothing is deployed. */
  readonly charts?: readonly [string, string];
}[] = [
  {
    name: "versions 1.20 and earlier will install Traefik v1",
    version: "v1.20.15",
    message: /^Deploying Traefik v1 \(chart 1\.81\.0\): Kubernetes v1\.20\.15 is 1\.20 or earlier$/,
    charts: ["traefik 1.81.0", "none"],
  },
  {
    name: "versions 1.21 and later will install Traefik v2 if v1 is not already present (1.21, an older chart)",
    version: "v1.21.0",
    message: /^Deploying Traefik v2/,
    charts: ["traefik 21.2.0", "none"],
  },
  {
    name: "versions 1.21 and later will install Traefik v2 if v1 is not already present (1.31)",
    version: "v1.31.9",
    message: /^Deploying Traefik v2 .*1\.21 to 1\.31$/,
    charts: ["traefik 27.0.2", "none"],
  },
  {
    name: "versions 1.21 and later: v1 is already present",
    version: "v1.25.0",
    installed: [V1],
    message: /^Skipping Traefik v2 deployment due to existing Traefik v1 installation$/,
  },
  {
    name: "a v1 that is present stays on 1.32, too",
    version: "v1.32.0",
    installed: [V1],
    message: /^Skipping Traefik v3 deployment due to existing Traefik v1 installation$/,
  },
  {
    name: "versions 1.32 and later will install Traefik v3",
    version: "v1.32.0",
    message: /^Deploying Traefik v3 /,
    charts: ["traefik 41.3.0", "none"],
  },
  {
    name: "versions 1.32 and later upgrade v2",
    version: "v1.36.3",
    installed: [V2, V2_CRD],
    message: /the installed v2 is upgraded$/,
    charts: ["traefik 41.3.0", "none"],
  },
  {
    name: "a v3 that is present is not taken back",
    version: "v1.31.0",
    installed: [V3],
    message: /^Deploying Traefik v3 .*v3 is installed already$/,
    charts: ["traefik 41.3.0", "none"],
  },
  {
    name: "a HelmChart of someone else stays",
    version: "v1.36.3",
    installed: [chart("traefik", { chart: "traefik", version: "39.0.0" }, false)],
    message: /^Skipping Traefik: HelmChart kube-system\/traefik was not made by this program$/,
  },
  {
    name: "a K3s that runs goes on with its own",
    version: "v1.36.3+k3s1",
    installed: [V3],
    message: /^Skipping Traefik: K3s itself deploys it$/,
  },
  {
    name: "chart archives on this host come first, the newest that fits",
    version: "v1.36.3",
    files: [
      "traefik-27.0.2.tgz",
      "traefik-9.1.0.tgz",
      "traefik-39.9.9.tgz",
      "traefik-40.0.0.tgz",
      "traefik-crds-1.18.0.tgz",
    ],
    message: /file traefik-40\.0\.0\.tgz/,
    charts: ["traefik-40.0.0.tgz", "none"],
  },
  {
    name: "archives as K3s makes them are taken, too",
    version: "v1.31.0",
    files: ["traefik-27.0.201+up27.0.2.tgz", "traefik-crd-27.0.201+up27.0.2.tgz", "traefik-crds-1.18.0.tgz"],
    message: /file traefik-27\.0\.201\+up27\.0\.2\.tgz/,
    charts: ["traefik-27.0.201+up27.0.2.tgz", "traefik-crd-27.0.201+up27.0.2.tgz"],
  },
  {
    name: "another ingress keeps it out",
    version: "v1.36.3",
    otherIngress: "IngressClass nginx, controller k8s.io/ingress-nginx",
    message:
      /^Skipping Traefik: the cluster has an ingress of its own \(IngressClass nginx, controller k8s\.io\/ingress-nginx\)$/,
  },
  {
    name: "one that is deployed goes on beside another ingress",
    version: "v1.36.3",
    installed: [V3],
    otherIngress: "IngressClass nginx, controller k8s.io/ingress-nginx",
    message: /^Deploying Traefik v3 /,
    charts: ["traefik 41.3.0", "none"],
  },
];

for (const { name, version, installed = [], files = [], otherIngress, message, charts } of CASES) {
  Deno.test(`chooseTraefik: ${name}`, () => {
    const choice = chooseTraefik({ version: versionOf(version), installed, chartFiles: files, otherIngress });
    assert.match(choice.message, message);
    const found = choice.deploy ? [sourceText(choice.plan.chart), sourceText(choice.plan.crdChart)] : undefined;
    assert.deepEqual(found, charts);
  });
}

Deno.test("generationOf tells nothing where the chart tells nothing", () => {
  assert.equal(generationOf(chart("traefik", { chart: "oci://example.com/traefik" })), undefined);
});

function manifest(
  version: string,
  more: { readonly installed?: readonly HelmChart[]; readonly files?: readonly string[]; readonly registry?: string } =
    {},
): ReadonlyMap<string, unknown> {
  const chartFiles = more.files ?? [];
  const choice = chooseTraefik({ version: versionOf(version), installed: more.installed ?? [], chartFiles });
  assert.ok(choice.deploy);
  return objectsOf(
    traefikManifest({ plan: choice.plan, systemDefaultRegistry: more.registry ?? "" }),
  );
}

function valuesOf(objects: ReadonlyMap<string, unknown>): unknown {
  return parseYaml(String(at(objects.get("HelmChart/traefik"), "spec", "valuesContent")));
}

Deno.test("traefikManifest: v3 comes with Traefik's own definitions, which no chart may delete", () => {
  const objects = manifest("v1.36.3");
  assert.deepEqual([...objects.keys()].filter((key) => key.startsWith("HelmChart/")), ["HelmChart/traefik"]);
  const definitions = [...objects].filter(([key]) => key.startsWith("CustomResourceDefinition/"));
  assert.equal(definitions.length, 10);
  for (const [, definition] of definitions) {
    assert.equal(at(definition, "spec", "group"), "traefik.io");
    assert.equal(at(definition, "metadata", "annotations", "helm.sh/resource-policy"), "keep");
    assert.ok(at(definition, "metadata", "annotations", "controller-gen.kubebuilder.io/version") !== undefined);
  }
  assert.deepEqual([...manifest("v1.31.0").keys()], ["HelmChart/traefik"]);
});

Deno.test("traefikManifest: values have priority class, tolerations, both families and the published Service", () => {
  for (const version of ["v1.36.3", "v1.31.0", "v1.21.5"]) {
    const values = valuesOf(manifest(version));
    assert.equal(at(values, "priorityClassName"), "system-cluster-critical");
    assert.equal(at(values, "providers", "kubernetesIngress", "publishedService", "enabled"), true);
    assert.deepEqual(at(values, "service"), { spec: { ipFamilyPolicy: "PreferDualStack" } });
    assert.equal((at(values, "tolerations") as readonly unknown[]).length, 3);
  }
});

const IMAGES: readonly {
  readonly name: string;
  readonly version: string;
  readonly files?: readonly string[];
  readonly want: unknown;
}[] = [
  { name: "v3: the chart's own", version: "v1.36.3", want: undefined },
  { name: "v2: later fixes of the chart's version", version: "v1.31.0", want: { tag: "v2.11.24" } },
  { name: "v2 of 1.21", version: "v1.21.5", want: { tag: "v2.9.10" } },
  {
    name: "the pinned v2 from an archive",
    version: "v1.31.0",
    files: ["traefik-27.0.2.tgz"],
    want: { tag: "v2.11.24" },
  },
  { name: "another chart from an archive", version: "v1.31.0", files: ["traefik-26.1.0.tgz"], want: undefined },
  {
    name: "chart of K3s",
    version: "v1.36.3",
    files: ["traefik-40.1.4+up40.1.0.tgz"],
    want: { repository: "rancher/mirrored-library-traefik", tag: "3.7.8" },
  },
  {
    name: "older chart of K3s",
    version: "v1.36.3",
    files: ["traefik-34.2.1+up34.2.0.tgz"],
    want: { repository: "rancher/mirrored-library-traefik" },
  },
];
for (const { name, version, files = [], want } of IMAGES) {
  Deno.test(`traefikManifest: image, ${name}`, () => {
    assert.deepEqual(at(valuesOf(manifest(version, { files })), "image"), want);
  });
}

const REGISTRIES: readonly {
  readonly name: string;
  readonly version: string;
  readonly files?: readonly string[];
  readonly path: readonly string[];
  readonly want: unknown;
}[] = [
  {
    name: "upstream chart",
    version: "v1.36.3",
    path: ["image"],
    want: { registry: "reg.example:5000/mirror", repository: "library/traefik" },
  },
  {
    name: "chart of K3s",
    version: "v1.36.3",
    files: ["traefik-40.1.4+up40.1.0.tgz", "traefik-crd-40.1.4+up40.1.0.tgz"],
    path: ["image", "registry"],
    want: undefined,
  },
  {
    name: "chart 21, which has no value for it",
    version: "v1.21.5",
    path: ["image"],
    want: { repository: "reg.example:5000/mirror/library/traefik", tag: "v2.9.10" },
  },
  { name: "chart 27", version: "v1.31.0", path: ["image", "registry"], want: "reg.example:5000/mirror" },
  {
    name: "archive of chart 25 in place of chart 21",
    version: "v1.21.5",
    files: ["traefik-25.0.0.tgz"],
    path: ["image", "registry"],
    want: "reg.example:5000/mirror",
  },
  { name: "chart 1.x", version: "v1.20.0", path: ["image"], want: "reg.example:5000/mirror/rancher/library-traefik" },
];
for (const { name, version, files = [], path, want } of REGISTRIES) {
  Deno.test(`traefikManifest: --system-default-registry, ${name}`, () => {
    const objects = manifest(version, { files, registry: "reg.example:5000/mirror/" });
    assert.deepEqual(at(valuesOf(objects), ...path), want);
    const set = at(objects.get("HelmChart/traefik"), "spec", "set", "global.systemDefaultRegistry");
    assert.equal(set, files.some((file) => file.includes("+up")) ? "reg.example:5000/mirror" : undefined);
  });
}

Deno.test("traefikManifest: an archive of this host is referred to as in K3s", () => {
  const spec = at(manifest("v1.31.0", { files: ["traefik-27.0.2.tgz"] }).get("HelmChart/traefik"), "spec");
  assert.equal(at(spec, "chart"), "https://%{KUBERNETES_API}%/static/charts/traefik-27.0.2.tgz");
  assert.equal(at(spec, "repo"), undefined);
});

for (
  const { name, version, crd, files } of [
    { name: "v2", version: "v1.31.0", crd: V2_CRD, files: [] },
    { name: "v2, with a newer archive at hand", version: "v1.31.0", crd: V2_CRD, files: [CRD_ARCHIVE] },
    { name: "v2 to v3", version: "v1.36.3", crd: V2_CRD, files: [] },
    { name: "v3", version: "v1.36.3", crd: V3_CRD, files: [] },
    {
      name: "v3, with an archive at hand",
      version: "v1.36.3",
      crd: V3_CRD,
      files: ["traefik-crd-41.0.0+up41.0.0.tgz"],
    },
  ]
) {
  Deno.test(`traefikManifest: a chart of CRDs that K3s left is kept, so that no route is lost: ${name}`, () => {
    const left = manifest(version, { installed: [V2, crd], files }).get("HelmChart/traefik-crd");
    assert.deepEqual(at(left, "spec"), crd.spec);
    assert.equal(at(left, "metadata", "annotations", "helmcharts.helm.cattle.io/unmanaged"), "true");
    assert.equal(at(left, "metadata", "annotations", "k3slb.io/prune"), "false");
  });
}

Deno.test("traefikManifest: K3s's own v2 chart gets its chart of CRDs, from then on too", () => {
  const files = ["traefik-27.0.201+up27.0.2.tgz", CRD_ARCHIVE];
  const own = { ...V2_CRD, metadata: { ...V2_CRD.metadata, managedFields: [{ manager: FIELD_MANAGER }] } };
  for (const installed of [[], [V2, own]]) {
    const spec = at(manifest("v1.31.0", { installed, files }).get("HelmChart/traefik-crd"), "spec");
    assert.deepEqual(spec, { chart: `${FROM_K3S}${CRD_ARCHIVE}`, takeOwnership: true });
  }
});

Deno.test("traefikManifest: charts with a value for the registry get it from a HelmChartConfig's repository", () => {
  const wish = (version: string, files: readonly string[] = []): unknown =>
    at(
      manifest(version, { files }).get("HelmChart/traefik"),
      "metadata",
      "annotations",
      "k3slb.io/split-image-registry",
    );
  assert.equal(wish("v1.36.3"), "true");
  assert.equal(wish("v1.31.0"), "true");
  assert.equal(wish("v1.21.5"), undefined);
  assert.equal(wish("v1.36.3", ["traefik-40.1.4+up40.1.0.tgz"]), undefined);
  assert.equal(wish("v1.20.0"), undefined);
});
