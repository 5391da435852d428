// Charts, images and definitions of Traefik that belong together, by what the charts say of themselves.
import assert from "node:assert/strict";
import { isAtLeast } from "../../../../core/packaged/cluster_version.ts";
import { traefikFor } from "../../../../core/packaged/traefik.ts";
import {
  TRAEFIK_DEFINITIONS,
  TRAEFIK_DEFINITIONS_CHART,
} from "../../../../core/packaged/traefik_definitions.generated.ts";
import { TRAEFIK_V3 } from "../../../../core/packaged/versions.ts";
import { type ChartFacts, PINNED_TRAEFIKS, readFacts } from "../../../packaged/chart_facts.ts";
import { versionOf } from "./fixtures.ts";

const FACTS = readFacts();
/** What a chart's own values.yaml has no place for. */
const UNDECLARED: Readonly<Record<string, readonly string[]>> = {
  // Before chart 22 the registry is a part of the repository, and is sent so.
  "21.2.0": ["image.registry"],
  // They stand in comments there; that the templates take them is seen when they are rendered.
  "1.81.0": [
    "deployment.podAnnotations",
    "kubernetes.ingressEndpoint.useDefaultPublishedService",
    "priorityClassName",
  ],
};
const RELEASE_LIMIT_BYTES = 1_048_576;

function factsOf(version: string): ChartFacts {
  const facts = FACTS[version];
  assert.ok(facts, `no facts of chart ${version}: deno task charts --charts DIR`);
  return facts;
}

function numbers(version: string): readonly number[] {
  const match = /^v?(\d+)\.(\d+)\.(\d+)$/.exec(version);
  assert.ok(match, version);
  return match.slice(1).map(Number);
}

function isOlder(a: string, b: string): boolean {
  const [one, other] = [numbers(a), numbers(b)];
  const at = one.findIndex((value, index) => value !== other[index]);
  return at >= 0 && (one[at] ?? 0) < (other[at] ?? 0);
}

for (const { chart: { version }, image } of PINNED_TRAEFIKS) {
  Deno.test(`chart ${version} and image ${image.tag} belong together`, () => {
    const { appVersion, proxyMin, proxyMax } = factsOf(version);
    if (image.insteadOfCharts === undefined) assert.equal(image.tag, appVersion);
    // Fixes of the chart's own minor version, never another.
    assert.deepEqual(numbers(image.tag).slice(0, 2), numbers(appVersion).slice(0, 2));
    assert.ok(!isOlder(image.tag, appVersion));
    if (proxyMin !== undefined) assert.ok(!isOlder(image.tag, proxyMin));
    if (proxyMax !== undefined) assert.ok(!isOlder(proxyMax, image.tag));
  });

  Deno.test(`chart ${version} takes every value that is sent`, () => {
    const { values } = factsOf(version);
    const absent = Object.keys(values).filter((path) => values[path] === "absent");
    assert.deepEqual(absent, UNDECLARED[version] ?? []);
  });
}

Deno.test("every Kubernetes gets a chart that is for it", () => {
  for (let minor = 21; minor <= 40; minor++) {
    const version = versionOf(`v1.${minor}.0`);
    const { kubeVersion = "" } = factsOf(traefikFor(version).traefik.chart.version);
    const least = /^>=1\.(\d+)\.0-0$/.exec(kubeVersion)?.[1];
    assert.ok(least, kubeVersion);
    assert.ok(isAtLeast(version, Number(least)), `${version.text}: ${kubeVersion}`);
  }
});

Deno.test("the definitions that come along are those of v3's chart, whole", () => {
  assert.equal(TRAEFIK_DEFINITIONS_CHART, TRAEFIK_V3.chart.version);
  const { definitions } = factsOf(TRAEFIK_V3.chart.version);
  const sizes = Object.fromEntries(TRAEFIK_DEFINITIONS.map((text) => [JSON.parse(text).metadata.name, text.length]));
  const own = Object.entries(definitions).filter(([name]) => /^[a-z]+\.traefik\.io$/.test(name));
  assert.deepEqual(sizes, Object.fromEntries(own));
  // Each is applied as one object; an API server takes 1.5 MB and etcd no more.
  for (const size of Object.values(sizes)) assert.ok(size < RELEASE_LIMIT_BYTES);
});
