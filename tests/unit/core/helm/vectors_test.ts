// The plans against what helm-controller v0.17.9 does with the same input. What differs is listed with its reason, and must differ.
import assert from "node:assert/strict";
import type { ChartPlan } from "../../../../core/helm/chart_plan.ts";
import { planDelete } from "../../../../core/helm/delete_plan.ts";
import { planInstall } from "../../../../core/helm/install_plan.ts";
import { whyIgnored } from "../../../../core/helm/releases/check_chart.ts";
import type { HelmChart, HelmChartConfig } from "../../../../core/helm/helm_chart.ts";
import { helmStatus, isSameStatus } from "../../../../core/helm/releases/helm_status.ts";
import { resumePatch } from "../../../../core/helm/jobs/job_state.ts";
import { MANAGED_BY_ANNOTATION, RELEASE_SECRET_TYPE } from "../../../../core/helm/names.ts";
import { latestRelease } from "../../../../core/helm/releases/release.ts";
import type { Job, KubeObject, Secret } from "../../../../core/kube/types.ts";
import { parseYamlDocuments } from "../../../../core/shared/yaml.ts";
import { NOW_MS, SETTINGS } from "./fixtures.ts";

const VECTORS = new URL("../../../vectors/helm_jobs/", import.meta.url);
type Action = "install" | "delete";

interface Difference {
  readonly action: Action;
  readonly what: "hash" | "args" | "plan";
  readonly why: string;
}

/** What differs on purpose; docs/compatibility.md names each. */
const DIFFERENCES: Readonly<Record<string, Difference>> = {
  "set-commas": {
    action: "install",
    what: "args",
    why: "backslashes reach helm doubled, so that it does not eat them",
  },
  "values-secrets": { action: "install", what: "hash", why: "only keys that are mounted count for the hash" },
  "state-delete-complete": { action: "delete", what: "plan", why: "the finalizer stays while the release is there" },
};

interface Want {
  readonly outcome: string;
  readonly objects: readonly KubeObject[];
  readonly events: readonly unknown[];
  readonly patches: readonly unknown[];
  readonly statusWrites: readonly { conditions?: readonly { type: string }[]; jobName?: string }[];
  readonly claimed?: boolean;
}

const NAMES = [...Deno.readDirSync(VECTORS)].filter(({ isDirectory }) => isDirectory).map(({ name }) => name)
  .toSorted();

for (const name of NAMES) {
  for (const action of ["install", "delete"] as const) {
    Deno.test(`plan equals helm-controller in ${name}, ${action}`, () => {
      const want: Want = JSON.parse(Deno.readTextFileSync(new URL(`${name}/want.json`, VECTORS)))[action];
      const got = run(name, action);
      const difference = DIFFERENCES[name];
      if (difference?.action !== action) return assert.deepEqual(comparable(got), comparable(want));
      assert.notDeepEqual(comparable(got), comparable(want), "the listed difference no longer exists");
      if (difference.what === "plan") return;
      // All but what the difference is about is equal.
      const hide = difference.what === "hash" ? hideHash : (side: Want): unknown => hideHash(hideArguments(side));
      assert.deepEqual(hide(comparable(got)), hide(comparable(want)));
    });
  }
}

Deno.test("vectors cover every listed difference", () => {
  assert.equal(NAMES.length, 25);
  for (const name of Object.keys(DIFFERENCES)) assert.ok(NAMES.includes(name), name);
});

Deno.test("vectors: `c:\\dir` reaches helm with two backslashes, and all other arguments are the original's", () => {
  const [got, want] = [run("set-commas", "install"), readWant("set-commas", "install")].map(argumentsOf);
  const differing = (want ?? []).flatMap((arg, i) => got?.[i] === arg ? [] : [[arg, got?.[i]]]);
  assert.deepEqual(differing, [["lone\\back=c:\\dir", "lone\\back=c:\\\\dir"]]);
});

Deno.test("vectors: a release that outlives its uninstall Job keeps the finalizer and is said", () => {
  const got = run("state-delete-complete", "delete");
  assert.equal(got.outcome, "applied");
  assert.deepEqual(got.statusWrites, [{ jobName: "helm-delete-st" }]);
});

function readWant(name: string, action: Action): Want {
  return JSON.parse(Deno.readTextFileSync(new URL(`${name}/want.json`, VECTORS)))[action];
}

/** One pass as the controller makes it, in the words of the vectors. */
function run(name: string, action: Action): Want {
  const objects = parseYamlDocuments(Deno.readTextFileSync(new URL(`${name}/input.yaml`, VECTORS)))
    .map(({ value }) => value as KubeObject);
  const chart = of<HelmChart>(objects, "HelmChart")[0] ?? {};
  const name_ = chart.metadata?.name ?? "";
  const jobs = of<Job>(objects, "Job");
  const secrets = of<Secret>(objects, "Secret");
  const env = of<KubeObject & { env?: Record<string, string> }>(objects, "VectorSettings")[0]?.env ?? {};
  assert.equal(whyIgnored(chart, { controllerName: "helm-controller", namespaces: [] }), undefined);
  const facts = {
    chart,
    config: of<HelmChartConfig>(objects, "HelmChartConfig")[0],
    secrets: new Map(
      secrets.filter(({ metadata }) => metadata?.namespace === chart.metadata?.namespace)
        .map((secret) => [secret.metadata?.name ?? "", secret]),
    ),
    release: latestRelease(recordsOf(chart, objects)),
    installJob: jobs.find(({ metadata }) => metadata?.name === `helm-install-${name_}`),
    deleteJob: jobs.find(({ metadata }) => metadata?.name === `helm-delete-${name_}`),
    pods: [],
    failure: "",
    nowMs: NOW_MS,
  };
  const plan = (action === "install" ? planInstall : planDelete)(facts, { ...SETTINGS, env });
  return inWords(chart, plan);
}

/** What the controller's request for the chart's releases is answered with. */
function recordsOf({ metadata, spec }: HelmChart, objects: readonly KubeObject[]): readonly KubeObject[] {
  const records = spec?.driver === "configmap"
    ? of(objects, "ConfigMap")
    : of<Secret>(objects, "Secret").filter(({ type }) => type === RELEASE_SECRET_TYPE);
  return records.filter(({ metadata: { namespace, labels } = {} }) =>
    namespace === (spec?.targetNamespace ?? metadata?.namespace) && labels?.["owner"] === "helm" &&
    labels["name"] === metadata?.name
  );
}

function inWords(chart: HelmChart, plan: ChartPlan): Want {
  const status = plan.state === undefined ? undefined : helmStatus(chart, plan.state);
  const isApplied = plan.outcome === "applied";
  return {
    outcome: plan.outcome,
    objects: isApplied && "job" in plan.job ? [...plan.objects, plan.job.job] : [],
    // The original never says what has no effect.
    events: plan.events.filter(({ reason }) => reason !== "IneffectiveSetting"),
    patches: plan.job.step === "resume" ? [resumePatch()] : [],
    statusWrites: status === undefined || plan.outcome === "unchanged" || isSameStatus(chart.status, status)
      ? []
      : [status],
    ...(chart.metadata?.annotations?.[MANAGED_BY_ANNOTATION] === undefined ? { claimed: true } : {}),
  };
}

function of<T extends KubeObject>(objects: readonly KubeObject[], kind: string): readonly T[] {
  return objects.filter((object) => object.kind === kind) as T[];
}

/** In the form that the README calls equal, and without the condition that is ours. */
function comparable(side: Want): Want {
  return JSON.parse(JSON.stringify(side), (key, value: unknown) => {
    if (key === "conditions" && Array.isArray(value)) return value.filter(({ type }) => type !== "Deployed");
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    const fields = value as Record<string, unknown>;
    for (const [name, field] of Object.entries(fields)) {
      const isEmpty = typeof field === "object" && field !== null && Object.keys(field).length === 0;
      if (isEmpty && ["data", "status", "resources"].includes(name)) delete fields[name];
      if (name === "value" && field === "") delete fields[name];
    }
    return value;
  });
}

function hideHash(side: Want): Want {
  return JSON.parse(JSON.stringify(side).replaceAll(/[0-9A-F]{63,64}/g, "HASH"));
}

function hideArguments(side: Want): Want {
  return JSON.parse(JSON.stringify(side), (key, value: unknown) => key === "args" ? [] : value);
}

function argumentsOf(side: Want): readonly string[] {
  const job = side.objects.find(({ kind }) => kind === "Job") as Job | undefined;
  return job?.spec?.template.spec?.containers[0]?.args ?? [];
}
