// Large and deep values, and texts that a careless pattern would take hours for: each is written or refused, and the loop goes on.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { HelmChartSpec } from "../../../../core/helm/helm_chart.ts";
import { planInstall } from "../../../../core/helm/install_plan.ts";
import { failureLine } from "../../../../core/helm/jobs/job_failure.ts";
import { prepareValues } from "../../../../core/helm/values/prepare_values.ts";
import { SPLIT_IMAGE_ANNOTATION } from "../../../../core/helm/values/split_image.ts";
import { isTextKnown, valuesText } from "../../../../core/helm/values/values_text.ts";
import { renderValuesYaml } from "../../../../core/helm/values/values_yaml.ts";
import { parseJson } from "../../../../core/kube/json.ts";
import { chartWith, factsWith, SETTINGS } from "./fixtures.ts";

type Values = Readonly<Record<string, unknown>>;

const { signal } = new AbortController();

function nested(depth: number): Values {
  let value: Values = { leaf: 1 };
  for (let level = 1; level < depth; level++) value = { a: value };
  return value;
}

Deno.test("prepareValues() writes large values by a thread, in the same words", async () => {
  const many = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`key${index}`, { a: [1, "x y"] }]));
  const values = parseJson(JSON.stringify({ ...many, id: "ID" }).replace('"ID"', "9007199254740993")) as Values;
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  await prepareValues({ chart: chartWith({ values }) }, signal);
  clearInterval(timer);
  assert.ok(turns > 0);
  assert.ok(isTextKnown(values));
  assert.equal(valuesText(values), renderValuesYaml(values));
  assert.match(valuesText(values), /^id: 9007199254740993$/m);
});

Deno.test("prepareValues() leaves small values to whoever asks", async () => {
  const values = { a: 1 };
  await prepareValues({ chart: chartWith({ values }) }, signal);
  assert.equal(isTextKnown(values), false);
  assert.equal(valuesText(values), "a: 1\n");
});

/** Each indents all that is in it: 1 MB of these would be a gigabyte of text. */
const REFUSED: Readonly<Record<string, { readonly values: Values; readonly why: RegExp }>> = {
  "values of 5,000 levels": { values: nested(5_000), why: /^The values are nested more than 1000 levels deep$/ },
  "values that grow by their indentation": {
    values: { a: Array.from({ length: 10 }, () => nested(900)) },
    why: /^The values have more than 4194304 bytes as YAML$/,
  },
};

for (const [what, { values, why }] of Object.entries(REFUSED)) {
  Deno.test(`planInstall() refuses ${what}, prepared or not`, async () => {
    const chart = chartWith({ values });
    const message = (): string => planInstall(factsWith({ chart }), SETTINGS).events[0]?.message ?? "";
    assert.match(message(), why);
    const again = chartWith({ values: { ...values } });
    await prepareValues({ chart: again }, signal);
    assert.match(planInstall(factsWith({ chart: again }), SETTINGS).events[0]?.message ?? "", why);
  });
}

Deno.test("planInstall() names some of the values of set that are none, and of a long text its beginning", () => {
  const set = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`a${index}`, true]));
  const chart = chartWith({ set, timeout: "1".repeat(1_000_000) } as unknown as HelmChartSpec);
  const { events: [event] } = planInstall(factsWith({ chart }), SETTINGS);
  assert.ok((event?.message.length ?? 0) < 1_000, event?.message.slice(0, 2_000));
  assert.match(event?.message ?? "", /spec\.timeout "1{100}…" is not a duration.*39995 more of spec\.set/);
});

Deno.test("planInstall() refuses more Secrets than can be watched, and mounts a Secret of a hundred thousand keys in time", () => {
  const named = (count: number) => Array.from({ length: count }, (_, index) => ({ name: `s${index}`, keys: ["a"] }));
  const messageOf = (valuesSecrets: HelmChartSpec["valuesSecrets"] & object): string =>
    planInstall(factsWith({ chart: chartWith({ valuesSecrets }) }), SETTINGS).events[0]?.message ?? "";
  assert.match(messageOf(named(51)), /^valuesSecrets name 51 Secrets, at most 50 are watched$/);
  assert.match(messageOf(named(50)), /^Applying HelmChart/);
  const keys = Array.from({ length: 100_000 }, (_, index) => `k${index}`);
  assert.match(messageOf([{ name: "large", keys, ignoreUpdates: true }]), /^Applying HelmChart/);
});

/** A million characters each: work that grows with their square would not end. */
const LARGE = ["a", "1", ":", "://", "://a:", "@", "\\", "\\,", ",", " ", "\n", "'", "image:\n", "[],"].map((part) =>
  part.repeat(1_000_000 / part.length)
);

Deno.test("texts of a HelmChart of a million characters cost what their length costs", () => {
  const text = fc.constantFrom(...LARGE);
  const spec = fc.record({
    chart: text,
    repo: text,
    version: text,
    timeout: text,
    valuesContent: text,
    set: fc.record({ a: text }),
  }, { requiredKeys: [] });
  fc.assert(
    fc.property(spec, text, (given, other) => {
      const chart = chartWith(given);
      const annotated = {
        ...chart,
        metadata: { ...chart.metadata, annotations: { [SPLIT_IMAGE_ANNOTATION]: "true" } },
      };
      for (const config of [{ valuesContent: `image: ${other}` }, { values: { image: { repository: other } } }]) {
        planInstall(factsWith({ chart: annotated, config: { spec: config } }), SETTINGS);
      }
      assert.ok(failureLine(`Error: ${other}`).length <= 512);
    }),
    { numRuns: 15 },
  );
});
