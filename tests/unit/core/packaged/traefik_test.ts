// Which Traefik a cluster gets. Test names are the documentation's sentences where it has one.
import assert from "node:assert/strict";
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
const V3 = chart("traefik", { chart: "traefik", version: "40.1.0" });

function sourceText(source: ChartSource | undefined): string {
  if (source === undefined) return "none";
  return "file" in source ? source.file : `${source.pinned.name} ${source.pinned.version}`;
}

const CASES: readonly {
  readonly name: string;
  readonly version: string;
  readonly installed?: readonly HelmChart[];
  readonly files?: readonly string[];
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
    charts: ["traefik 40.1.0", "traefik-crds 1.18.0"],
  },
  {
    name: "versions 1.32 and later upgrade v2",
    version: "v1.36.3",
    installed: [V2, V2_CRD],
    message: /the installed v2 is upgraded$/,
    charts: ["traefik 40.1.0", "traefik-crds 1.18.0"],
  },
  {
    name: "a v3 that is present is not taken back",
    version: "v1.31.0",
    installed: [V3],
    message: /^Deploying Traefik v3 .*v3 is installed already$/,
    charts: ["traefik 40.1.0", "traefik-crds 1.18.0"],
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
    charts: ["traefik-40.0.0.tgz", "traefik-crds-1.18.0.tgz"],
  },
  {
    name: "archives as K3s makes them are taken, too",
    version: "v1.31.0",
    files: ["traefik-27.0.201+up27.0.2.tgz", "traefik-crd-27.0.201+up27.0.2.tgz", "traefik-crds-1.18.0.tgz"],
    message: /file traefik-27\.0\.201\+up27\.0\.2\.tgz/,
    charts: ["traefik-27.0.201+up27.0.2.tgz", "traefik-crd-27.0.201+up27.0.2.tgz"],
  },
];

for (const { name, version, installed = [], files = [], message, charts } of CASES) {
  Deno.test(`chooseTraefik: ${name}`, () => {
    const choice = chooseTraefik({ version: versionOf(version), installed, chartFiles: files });
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

Deno.test("traefikManifest: v3 has a chart of CRDs, which takes those over that are there", () => {
  const objects = manifest("v1.36.3");
  assert.deepEqual([...objects.keys()], ["HelmChart/traefik-crd", "HelmChart/traefik"]);
  assert.deepEqual(at(objects.get("HelmChart/traefik-crd"), "spec"), {
    repo: "https://traefik.github.io/charts",
    chart: "traefik-crds",
    version: "1.18.0",
    takeOwnership: true,
  });
});

Deno.test("traefikManifest: values have priority class, tolerations and the published Service", () => {
  const values = valuesOf(manifest("v1.36.3"));
  assert.equal(at(values, "priorityClassName"), "system-cluster-critical");
  assert.equal(at(values, "providers", "kubernetesIngress", "publishedService", "enabled"), true);
  assert.equal(at(values, "service", "ipFamilyPolicy"), "PreferDualStack");
  assert.equal(at(values, "deployment", "podAnnotations", "prometheus.io/port"), "9100");
  assert.deepEqual(at(values, "image"), {
    registry: "docker.io",
    repository: "rancher/mirrored-library-traefik",
    tag: "3.7.8",
  });
  assert.equal((at(values, "tolerations") as readonly unknown[]).length, 3);
});

const REGISTRIES: readonly {
  readonly name: string;
  readonly version: string;
  readonly files?: readonly string[];
  readonly path: readonly string[];
  readonly want: unknown;
}[] = [
  { name: "upstream chart", version: "v1.36.3", path: ["image", "registry"], want: "reg.example:5000/mirror" },
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
    want: { repository: "reg.example:5000/mirror/rancher/mirrored-library-traefik", tag: "2.9.10" },
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

Deno.test("traefikManifest: a chart of CRDs that K3s left is kept, so that no route is lost", () => {
  const crd = manifest("v1.31.0", { installed: [V2, V2_CRD] }).get("HelmChart/traefik-crd");
  assert.equal(at(crd, "spec", "chart"), V2_CRD.spec?.chart);
  assert.equal(at(crd, "metadata", "annotations", "helmcharts.helm.cattle.io/unmanaged"), "true");
  assert.equal(at(crd, "metadata", "annotations", "k3slb.io/prune"), "false");
});
