// Whatever texts a HelmChart carries: they stay one argument or one variable each of its own Job, and a condition stays one short line.
import assert from "node:assert/strict";
import fc from "fast-check";
import { planDelete } from "../../../../core/helm/delete_plan.ts";
import type { HelmChartSpec } from "../../../../core/helm/helm_chart.ts";
import { planInstall } from "../../../../core/helm/install_plan.ts";
import { desiredJob } from "../../../../core/helm/jobs/desired_job.ts";
import { helmStatus } from "../../../../core/helm/releases/helm_status.ts";
import { visibleLine } from "../../../../core/shared/visible_text.ts";
import { chartWith, factsWith, jobAfter, podIn, SETTINGS } from "./fixtures.ts";
import { anyText } from "../../../support/any_text.ts";

/** Texts with all that means something to shells, helm, terminals, YAML and JSON. */
const text = fc.oneof(
  anyText(300),
  fc.constantFrom(
    "",
    "$(reboot)",
    "`reboot`",
    "; reboot #",
    "--post-renderer=/bin/sh",
    "a\n--set\nb=c",
    "https://user:secret@charts.example.com",
    "\u001b]0;x\u0007\u009b31m\u202e",
    "x".repeat(50_000),
  ),
);
const FIELDS = [
  "chart",
  "repo",
  "version",
  "targetNamespace",
  "timeout",
  "jobImage",
  "helmVersion",
  "repoCA",
  "failurePolicy",
  "valuesContent",
  "chartContent",
] as const;
const spec = fc.record({
  ...Object.fromEntries(FIELDS.map((field) => [field, text])),
  set: fc.dictionary(text.filter((path) => path !== "__proto__"), text, { maxKeys: 4 }),
}, { requiredKeys: [] }) as fc.Arbitrary<HelmChartSpec>;

Deno.test("hostile texts of a HelmChart: conditions are short lines that steer no terminal, the Event of a Job no password", () => {
  fc.assert(fc.property(spec, text, (given, failure) => {
    const chart = chartWith(given);
    const { job } = desiredJob({ chart, secrets: new Map(), revision: 0 }, { action: "install", settings: SETTINGS });
    const pods = [podIn("crashed")];
    const plans = [
      planInstall(factsWith({ chart, failure }), SETTINGS),
      planInstall(factsWith({ chart, failure, installJob: jobAfter(job, "Failed") }), SETTINGS),
      planInstall(factsWith({ chart, failure, pods, installJob: jobAfter(job, "Running") }), SETTINGS),
      planInstall(factsWith({ chart, failure, installJob: jobAfter(job, "Complete") }), SETTINGS),
      planDelete(factsWith({ chart, failure }), SETTINGS),
    ];
    for (const { state, events } of plans) {
      for (const { reason, message } of events) {
        if (reason === "ApplyJob") assert.ok(!message.includes("user:secret@"), message);
      }
      for (const { message = "" } of state === undefined ? [] : helmStatus(chart, state).conditions ?? []) {
        assert.ok(message.length <= 512, message);
        assert.equal(visibleLine(message), message);
      }
    }
  }));
});

Deno.test("hostile texts of a HelmChart: each of set stays one argument, and names of Job, labels and volumes stay ours", () => {
  fc.assert(fc.property(spec, (given) => {
    const facts = { secrets: new Map(), revision: 0 };
    const job = (of: HelmChartSpec) =>
      desiredJob({ ...facts, chart: chartWith(of) }, { action: "install", settings: SETTINGS }).job;
    const [wanted, plain] = [job(given), job({})];
    assert.deepEqual(wanted.metadata, plain.metadata);
    assert.deepEqual(wanted.spec?.template.metadata?.labels, plain.spec?.template.metadata?.labels);
    assert.equal(wanted.spec?.template.spec?.serviceAccountName, plain.spec?.template.spec?.serviceAccountName);
    const [container, ...others] = wanted.spec?.template.spec?.containers ?? [];
    assert.deepEqual(others, []);
    assert.equal(container?.command, undefined);
    for (const { name } of container?.env ?? []) assert.match(name, /^[A-Za-z_][A-Za-z0-9_]*$/);
    const args = container?.args ?? [];
    for (const path of Object.keys(given.set ?? {})) {
      const at = args.findIndex((arg) => arg.startsWith(`${path}=`));
      assert.match(args[at - 1] ?? "", /^--set(-string)?$/);
    }
    assert.equal(args.filter((arg) => /^--set(-string)?$/.test(arg)).length, Object.keys(given.set ?? {}).length);
  }));
});
