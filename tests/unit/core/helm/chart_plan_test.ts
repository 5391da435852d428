// Faults of helm-controller v0.17.9 and klipper-helm that a plan must not have, each by what went wrong there.
import assert from "node:assert/strict";
import type { ChartPlan } from "../../../../core/helm/chart_plan.ts";
import { planDelete } from "../../../../core/helm/delete_plan.ts";
import { planInstall } from "../../../../core/helm/install_plan.ts";
import { chartProblems, chartWarnings, whyIgnored } from "../../../../core/helm/releases/check_chart.ts";
import { releaseHash } from "../../../../core/helm/values/config_hash.ts";
import { desiredJob } from "../../../../core/helm/jobs/desired_job.ts";
import { helmStatus, isSameStatus } from "../../../../core/helm/releases/helm_status.ts";
import { hashOf, isHelmRunning, latestFailure } from "../../../../core/helm/jobs/job_state.ts";
import { releasePolicy } from "../../../../core/helm/values/merge_config.ts";
import { valuesSources } from "../../../../core/helm/values/values_files.ts";
import { bindingName } from "../../../../core/helm/names.ts";
import type { Release } from "../../../../core/helm/releases/release.ts";
import type { Job, Pod } from "../../../../core/kube/types.ts";
import { chartWith, factsWith, jobAfter, NOW_MS, podIn, SETTINGS } from "./fixtures.ts";

/** The Job that `facts` ask for, and the release's hash that goes with it. */
function wantedJob(chart = chartWith(), revision = 0): { readonly job: Job; readonly releaseHash: string } {
  const { job, hash } = desiredJob({ chart, secrets: new Map(), revision }, { action: "install", settings: SETTINGS });
  return { job, releaseHash: releaseHash(hash) };
}

function deleteJob(chart = chartWith()): Job {
  return desiredJob({ chart, secrets: new Map(), revision: 1 }, { action: "delete", settings: SETTINGS }).job;
}

function release(status: string, configHash = wantedJob().releaseHash, revision = 1): Release {
  return { revision, status, configHash, createdMs: NOW_MS };
}

function conditionOf(plan: ChartPlan, type: string): { status: string; message?: string; reason?: string } | undefined {
  if (plan.state === undefined) return undefined;
  return helmStatus(chartWith(), plan.state).conditions?.find((condition) => condition.type === type);
}

Deno.test("releasePolicy: a HelmChartConfig that says nothing of failures leaves the chart's abort and retry", () => {
  for (const failurePolicy of ["abort", "retry", "reinstall"] as const) {
    const got = releasePolicy(chartWith({ failurePolicy }), {
      action: "install",
      config: { spec: { valuesContent: "a: 1" } },
    });
    assert.equal(got.failurePolicy, failurePolicy);
  }
});

Deno.test("planDelete: the finalizer stays while a release is left, whatever the Job's exit code", () => {
  const plan = planDelete(
    factsWith({
      deleteJob: jobAfter(deleteJob(), "Complete"),
      release: release("uninstalling"),
    }),
    SETTINGS,
  );
  assert.equal(plan.outcome, "applied");
  const second = {
    ...deleteJob(),
    metadata: { ...deleteJob().metadata, annotations: { "k3slb.io/helm-attempt": "1" } },
  };
  const waiting = planDelete(
    factsWith({
      deleteJob: jobAfter(second, "Complete", 2_000),
      release: release("uninstalling"),
    }),
    SETTINGS,
  );
  assert.equal(waiting.outcome, "unchanged");
  assert.equal(waiting.againMs, 8_000);
  assert.match(conditionOf(waiting, "Failed")?.message ?? "", /still there, in state "uninstalling"/);
});

Deno.test("planDelete: the finalizer goes when the Job is complete and no release is left", () => {
  const plan = planDelete(factsWith({ deleteJob: jobAfter(deleteJob(), "Complete") }), SETTINGS);
  assert.equal(plan.outcome, "finalizer-removed");
});

Deno.test("planDelete: an install Job that could start helm again goes first, with its pods", () => {
  const { job } = wantedJob();
  for (const condition of ["Suspended", "Running"] as const) {
    for (const pods of [[], [podIn("crashed")]]) {
      const plan = planDelete(factsWith({ installJob: jobAfter(job, condition), pods }), SETTINGS);
      const { step } = plan.job;
      assert.deepEqual([step, "job" in plan.job ? plan.job.job.metadata?.name : ""], ["remove", "helm-install-app"]);
    }
  }
  const metadata = { ...job.metadata, deletionTimestamp: "2026-01-01T12:00:00Z" };
  const leaving = { ...jobAfter(job, "Running"), metadata };
  assert.equal(planDelete(factsWith({ installJob: leaving }), SETTINGS).job.step, "none");
  for (const condition of ["Complete", "Failed"] as const) {
    const plan = planDelete(factsWith({ installJob: jobAfter(job, condition) }), SETTINGS);
    assert.equal(plan.job.step, "create", condition);
  }
});

Deno.test("planDelete: a running helm is waited for", () => {
  const installJob = jobAfter(wantedJob().job, "Running");
  const plan = planDelete(factsWith({ installJob, pods: [podIn("running")] }), SETTINGS);
  assert.deepEqual([plan.outcome, plan.job.step, plan.againMs], ["unchanged", "none", 5_000]);
});

Deno.test("planInstall: a failed release is tried again, with retry and reinstall, and a change of the chart counts at once", () => {
  for (const failurePolicy of ["retry", "reinstall"] as const) {
    const chart = chartWith({ failurePolicy });
    const wanted = wantedJob(chart);
    const job = jobAfter(wanted.job, "Complete");
    for (const configHash of [wanted.releaseHash, ""]) {
      const facts = factsWith({ chart, installJob: job, release: release("failed", configHash) });
      const plan = planInstall(facts, SETTINGS);
      assert.deepEqual([plan.outcome, plan.job.step], ["applied", "replace"], failurePolicy);
    }
    const changed = chartWith({ failurePolicy, version: "2" });
    const facts = factsWith({ chart: changed, installJob: job, release: release("failed", wanted.releaseHash) });
    assert.deepEqual(planInstall(facts, SETTINGS).job.step, "replace");
  }
});

Deno.test("planInstall: with abort nothing is tried after a failure, and the condition keeps helm's words when the log is gone", () => {
  const chart = chartWith({ failurePolicy: "abort" });
  const wanted = wantedJob(chart);
  const facts = factsWith({
    chart,
    installJob: jobAfter(wanted.job, "Complete"),
    release: release("failed", wanted.releaseHash),
    failure: "Error: INSTALLATION FAILED: no",
  });
  const plan = planInstall(facts, SETTINGS);
  assert.deepEqual([plan.outcome, plan.job.step, plan.againMs], ["unchanged", "none", undefined]);
  const said = conditionOf(plan, "Deployed");
  assert.equal(said?.reason, "ReleaseFailed");
  assert.match(said?.message ?? "", /is "failed": Error: INSTALLATION FAILED: no; failurePolicy is "abort"/);
  assert.ok(plan.state !== undefined);
  const later = planInstall(
    { ...facts, chart: { ...chart, status: helmStatus(chart, plan.state) }, failure: "" },
    SETTINGS,
  );
  assert.equal(conditionOf(later, "Deployed")?.message, said?.message);
});

Deno.test("planInstall: a release without our label counts as deployed when its Job made it, and that is said", () => {
  const job = (chart = chartWith(), revision = 0, attempt = "0"): Job => {
    const made = jobAfter(wantedJob(chart, revision).job, "Complete");
    const metadata = { ...made.metadata, annotations: { "k3slb.io/helm-attempt": attempt } };
    return { ...made, metadata: { ...metadata, creationTimestamp: new Date(NOW_MS - 60_000).toISOString() } };
  };
  const old = { createdMs: NOW_MS - 3_600_000 };
  const cases: readonly {
    readonly name: string;
    readonly installJob: Job;
    readonly release: Release;
    readonly isDeployed: boolean;
  }[] = [
    { name: "an old image's install", installJob: job(), release: release("deployed", ""), isDeployed: true },
    { name: "its upgrade", installJob: job(chartWith(), 3), release: release("deployed", "", 4), isDeployed: true },
    {
      name: "its upgrade after tries of its own",
      installJob: job(chartWith(), 3),
      release: release("deployed", "", 9),
      isDeployed: true,
    },
    {
      name: "its reinstall, which begins with 1 again",
      installJob: job(chartWith(), 4),
      release: release("deployed", "", 1),
      isDeployed: true,
    },
    {
      name: "its upgrade, with the label of the revision before",
      installJob: job(chartWith(), 3),
      release: release("deployed", "OTHER", 4),
      isDeployed: true,
    },
    {
      name: "a Job that did nothing",
      installJob: job(chartWith(), 4),
      release: { ...release("deployed", "", 4), ...old },
      isDeployed: false,
    },
    {
      name: "a rollback by hand, with the label of an old revision",
      installJob: job(chartWith(), 1),
      release: release("deployed", "OTHER", 3),
      isDeployed: false,
    },
    {
      name: "the same where a second Job left no label either",
      installJob: job(chartWith(), 3, "1"),
      release: release("deployed", "OTHER", 5),
      isDeployed: true,
    },
    { name: "a failed release", installJob: job(), release: release("failed", ""), isDeployed: false },
  ];
  for (const { name, installJob, release: seen, isDeployed } of cases) {
    const facts = factsWith({ installJob, release: seen });
    const plan = planInstall(facts, SETTINGS);
    assert.equal(conditionOf(plan, "Deployed")?.status === "True", isDeployed, name);
    if (!isDeployed) continue;
    assert.equal(plan.job.step, "none", name);
    assert.match(plan.events[0]?.message ?? "", /too old/, name);
    const annotations = { "k3slb.io/helm-deployed": plan.note ?? "" };
    for (const left of [installJob, undefined]) {
      const chart = chartWith({}, { annotations });
      const noted = planInstall({ ...facts, chart, installJob: left }, SETTINGS);
      assert.deepEqual([noted.job.step, noted.events.length], ["none", 0], `${name}, looked at again`);
    }
  }
});

Deno.test("planInstall: Jobs of one configuration follow each other with growing delay", () => {
  const delays = [0, 1, 2, 3, 9].map((attempt) => {
    const { job } = wantedJob();
    const tried = { ...job, metadata: { ...job.metadata, annotations: { "k3slb.io/helm-attempt": String(attempt) } } };
    const plan = planInstall(
      factsWith({ installJob: jobAfter(tried, "Complete"), release: release("failed") }),
      SETTINGS,
    );
    return plan.outcome === "applied" ? "now" : plan.againMs;
  });
  assert.deepEqual(delays, ["now", 10_000, 20_000, 40_000, 300_000]);
});

Deno.test("planInstall: what keeps a Job from being made is said in the conditions and an Event", () => {
  const cases = [
    { name: "name too long", chart: chartWith({}, { name: "a".repeat(51) }), want: /51 characters/ },
    { name: "negative backOffLimit", chart: chartWith({ backOffLimit: -1 }), want: /backOffLimit -1/ },
    { name: "bad timeout", chart: chartWith({ timeout: "banana" }), want: /"banana" is not a duration/ },
    { name: "set beyond 32 bits", chart: chartWith({ set: { big: 2 ** 31 } }), want: /"big" must be/ },
    {
      name: "a boolean in set",
      chart: chartWith({ set: { on: true as unknown as string } }),
      want: /write "true" in quotes/,
    },
    {
      name: "a chart that no ConfigMap holds",
      chart: chartWith({ chartContent: "A".repeat((1 << 20) + 4) }),
      want: /1048580 bytes in base64.*holds 1048576/,
    },
    {
      name: "values that no Secret holds",
      chart: chartWith({ valuesContent: "#".repeat((1 << 20) + 1) }),
      want: /values have 1048577 bytes/,
    },
  ];
  for (const { name, chart, want } of cases) {
    const plan = planInstall(factsWith({ chart }), SETTINGS);
    assert.equal(plan.outcome, "refused", name);
    assert.match(conditionOf(plan, "Failed")?.message ?? "", want, name);
    assert.match(plan.events[0]?.message ?? "", want, name);
  }
  assert.deepEqual(chartProblems(chartWith({}, { name: "a".repeat(50) }), undefined), []);
});

Deno.test("valuesSources: any number of keys in valuesSecrets, in the order of their file names", () => {
  const keysOf = (count: number): string[] => Array.from({ length: count }, (_, i) => `key-${i}`);
  for (const count of [1, 998, 999, 1000, 12_000]) {
    const spec = { valuesContent: "a: 1", values: { a: 2 }, valuesSecrets: [{ name: "s", keys: keysOf(count) }] };
    const [own, secret] = valuesSources({ chart: chartWith(spec), config: { spec: { valuesContent: "a: 3" } } });
    const paths = [...own?.items ?? [], ...secret?.items ?? []].map(({ path }) => path).filter((path) => path !== "");
    const inOrder = [own?.items[0], own?.items[1], ...secret?.items ?? [], own?.items[2]].map((item) => item?.path);
    assert.deepEqual(paths.toSorted(), inOrder, `${count}`);
    if (count === 998) assert.equal(paths[0], "values-0-000-HelmChart-ValuesContent.yaml");
    assert.deepEqual(chartProblems(chartWith(spec), undefined), []);
  }
});

Deno.test("planDelete: a failed uninstall is said, with how to go on", () => {
  const plan = planDelete(
    factsWith({
      deleteJob: jobAfter(deleteJob(), "Failed"),
      release: release("deployed"),
      failure: "Error: timed out waiting",
    }),
    SETTINGS,
  );
  assert.equal(plan.events[0]?.reason, "JobFailed");
  assert.match(plan.events[0]?.message ?? "", /timed out waiting.*remove the finalizer/);
  assert.equal(conditionOf(plan, "Failed")?.reason, "Uninstall failed");
});

Deno.test("releasePolicy: force-conflicts is dropped with server-side false, and that is said", () => {
  const chart = chartWith({ serverSide: "false", forceConflicts: true });
  assert.equal(releasePolicy(chart, { action: "install" }).forceConflicts, false);
  assert.match(chartWarnings(chart, undefined)[0] ?? "", /no effect/);
  assert.equal(releasePolicy(chartWith({ forceConflicts: true }), { action: "install" }).forceConflicts, true);
});

Deno.test("planInstall: objects beside the Job are kept at every reconcile", () => {
  const { job } = wantedJob();
  for (const condition of ["Suspended", "Running", "Complete", "Failed"] as const) {
    const plan = planInstall(
      factsWith({ installJob: jobAfter(job, condition), release: release("deployed") }),
      SETTINGS,
    );
    assert.equal(plan.objects.length, 4, condition);
  }
});

Deno.test("planInstall: a change taken back resumes the suspended Job", () => {
  const { job } = wantedJob();
  const plan = planInstall(
    factsWith({ installJob: jobAfter(job, "Suspended"), release: release("failed", "other") }),
    SETTINGS,
  );
  assert.deepEqual([plan.outcome, plan.job.step], ["resumed", "resume"]);
});

Deno.test("planInstall: a template that a webhook changed is still the wanted Job", () => {
  const job = jobAfter(wantedJob().job, "Running");
  const [container] = job.spec?.template.spec?.containers ?? [];
  if (container !== undefined) container.env = [...container.env ?? [], { name: "INJECTED", value: "1" }];
  const plan = planInstall(factsWith({ installJob: job }), SETTINGS);
  assert.deepEqual([plan.outcome, plan.job.step], ["unchanged", "none"]);
});

Deno.test("bindingName: two charts never share one", () => {
  const pairs = [["a-b", "c"], ["a", "b-c"], ["kube-system", "x"], ["kube", "system-x"], ["a-b-c", "d"], [
    "a-b",
    "c-d",
  ]];
  const names = pairs.map(([namespace = "", chart = ""]) => bindingName(namespace, chart));
  assert.equal(new Set(names).size, pairs.length, names.join());
  assert.equal(bindingName("kube-system", "traefik"), "helm-kube-system-traefik");
});

Deno.test("isSameStatus: a failure that stays the same is not written, and so not said, again", () => {
  const facts = factsWith({ installJob: jobAfter(wantedJob().job, "Failed"), failure: "Error: no" });
  const { state } = planInstall(facts, SETTINGS);
  assert.ok(state !== undefined);
  const status = helmStatus(chartWith(), state);
  assert.equal(isSameStatus(undefined, status), false);
  assert.equal(isSameStatus(status, helmStatus({ ...chartWith(), status }, state)), true);
});

Deno.test("desiredJob: keys of Secrets that are not mounted don't count for the hash", () => {
  const chart = chartWith({ valuesSecrets: [{ name: "s", keys: ["a"] }, { name: "none" }] });
  const hashWith = (data: Record<string, string>): string =>
    desiredJob({ chart, secrets: new Map([["s", { data }], ["none", { data }]]), revision: 0 }, {
      action: "install",
      settings: SETTINGS,
    }).hash;
  assert.equal(hashWith({ a: "eA==", b: "eA==" }), hashWith({ a: "eA==" }));
  assert.notEqual(hashWith({ a: "eA==" }), hashWith({ a: "eQ==" }));
});

Deno.test("planInstall: a finished Job that someone cleaned up is no reason to upgrade", () => {
  const plan = planInstall(factsWith({ release: release("deployed") }), SETTINGS);
  assert.deepEqual([plan.outcome, plan.job.step], ["unchanged", "none"]);
  assert.equal(conditionOf(plan, "Deployed")?.status, "True");
});

Deno.test("planInstall: a running helm is waited for, one between two tries is replaced", () => {
  const job = jobAfter(wantedJob().job, "Running");
  const chart = chartWith({ version: "2" });
  const waiting = planInstall(factsWith({ chart, installJob: job, pods: [podIn("running")] }), SETTINGS);
  assert.deepEqual([waiting.outcome, waiting.job.step], ["unchanged", "none"]);
  const free = planInstall(factsWith({ chart, installJob: job, pods: [podIn("crashed")] }), SETTINGS);
  assert.deepEqual([free.outcome, free.job.step], ["applied", "replace"]);
});

Deno.test("isHelmRunning, latestFailure: a container that a webhook put beside helm does not count", () => {
  const job = jobAfter(wantedJob().job, "Running");
  const proxy = { name: "envoy", image: "", imageID: "", ready: true, restartCount: 0 };
  const beside = (pod: Pod, state: object): Pod => ({
    ...pod,
    status: { ...pod.status, containerStatuses: [{ ...proxy, state }, ...pod.status?.containerStatuses ?? []] },
  });
  assert.equal(isHelmRunning(job, [beside(podIn("crashed"), { running: {} })]), false);
  assert.equal(isHelmRunning(job, [beside(podIn("running"), { terminated: { exitCode: 0 } })]), true);
  assert.equal(latestFailure(job, [beside(podIn("crashed"), { running: {} })])?.previous, true);
});

Deno.test("planInstall: another image of the Jobs makes one Job anew, and then nothing", () => {
  const before = wantedJob();
  const settings = { ...SETTINGS, defaultImage: "rancher/klipper-helm:next" };
  const seen = { installJob: jobAfter(before.job, "Complete"), release: release("deployed") };
  const plan = planInstall(factsWith(seen), settings);
  assert.deepEqual([plan.outcome, plan.job.step], ["applied", "replace"]);
  const job = "job" in plan.job ? plan.job.job : before.job;
  assert.equal(job.spec?.template.spec?.containers[0]?.image, settings.defaultImage);
  const running = planInstall(factsWith({ ...seen, installJob: jobAfter(job, "Running") }), settings);
  assert.deepEqual([running.outcome, running.job.step], ["unchanged", "none"]);
  const upgraded = release("deployed", releaseHash(hashOf(job)), 2);
  const after = planInstall(factsWith({ installJob: jobAfter(job, "Complete"), release: upgraded }), settings);
  assert.deepEqual([after.outcome, after.job.step], ["unchanged", "none"]);
});

Deno.test("planInstall: exit 0 alone is not success", () => {
  const job = jobAfter({ ...wantedJob().job }, "Complete");
  for (const found of [undefined, release("pending-upgrade"), release("failed"), release("deployed", "other")]) {
    const plan = planInstall(factsWith({ installJob: job, release: found }), SETTINGS);
    assert.notEqual(conditionOf(plan, "Deployed")?.status, "True", found?.status);
  }
});

Deno.test("whyIgnored: charts of others and charts without a chart", () => {
  const cases = [
    { annotations: { "helmcharts.helm.cattle.io/unmanaged": "false" }, want: "Unmanaged" },
    { annotations: { "helmcharts.cattle.io/managed-by": "helm-controller" }, want: "OtherController" },
    { annotations: { "helmcharts.cattle.io/managed-by": "k3slb" }, want: undefined },
    { annotations: {}, want: undefined },
  ];
  const scope = { controllerName: "k3slb", namespaces: [] };
  for (const { annotations, want } of cases) assert.equal(whyIgnored(chartWith({}, { annotations }), scope), want);
  assert.equal(whyIgnored({ spec: {} }, scope), "NoChart");
  assert.equal(whyIgnored(chartWith(), { ...scope, namespaces: ["a", "b"] }), "OtherNamespace");
  assert.equal(whyIgnored(chartWith(), { ...scope, namespaces: ["kube-system"] }), undefined);
});
