// A registry in a repository's name, for charts that have a value of its own for it.
import assert from "node:assert/strict";
import { SPLIT_IMAGE_ANNOTATION, splitImageValues } from "../../../../core/helm/values/split_image.ts";
import { valuesData, valuesSources } from "../../../../core/helm/values/values_files.ts";

const CHART = {
  metadata: { name: "traefik", namespace: "kube-system", annotations: { [SPLIT_IMAGE_ANNOTATION]: "true" } },
  spec: { valuesContent: "image: {registry: reg.example}" },
};

const CASES = [
  {
    name: "as K3s's documentation has it",
    image: "{repository: docker.io/library/traefik}",
    want: ["docker.io", "library/traefik"],
  },
  { name: "with a port", image: "{repository: 'reg:5000/traefik'}", want: ["reg:5000", "traefik"] },
  { name: "localhost", image: "{repository: localhost/traefik}", want: ["localhost", "traefik"] },
  { name: "no registry", image: "{repository: library/traefik}" },
  { name: "one word", image: "{repository: traefik}" },
  { name: "a registry is given, too", image: "{repository: docker.io/traefik, registry: ''}" },
  { name: "no repository", image: "{tag: v3.7.11}" },
  { name: "no text of YAML", image: "{" },
] satisfies readonly { name: string; image: string; want?: readonly string[] }[];

for (const { name, image, want } of CASES) {
  Deno.test(`splitImageValues: ${name}`, () => {
    const config = { spec: { valuesContent: `image: ${image}\n` } };
    const found = splitImageValues({ chart: CHART, config });
    assert.equal(found, want === undefined ? "" : `image:\n  registry: ${want[0]}\n  repository: ${want[1]}\n`);
    assert.equal(splitImageValues({ chart: { ...CHART, metadata: { name: "traefik" } }, config }), "");
  });
}

Deno.test("splitImageValues: the values go on top of the HelmChartConfig's, and only where there is something to split", () => {
  const config = { spec: { values: { image: { repository: "docker.io/library/traefik" } } } };
  assert.equal(
    valuesSources({ chart: CHART, config })[0]?.items.map(({ path }) => path).sort().at(-1),
    "values-2-000-SplitImage.yaml",
  );
  assert.ok("SplitImage" in valuesData({ chart: CHART, config }));
  assert.ok(!("SplitImage" in valuesData({ chart: CHART })));
});
