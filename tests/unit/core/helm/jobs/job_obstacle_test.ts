// What a chart says of a Job whose helm can't run or does not end: each by what kubelet, scheduler or node controller write.
import assert from "node:assert/strict";
import { type ChartPlan, planLeaving } from "../../../../../core/helm/chart_plan.ts";
import { planDelete } from "../../../../../core/helm/delete_plan.ts";
import { planInstall } from "../../../../../core/helm/install_plan.ts";
import { desiredJob } from "../../../../../core/helm/jobs/desired_job.ts";
import type { HelmChart } from "../../../../../core/helm/helm_chart.ts";
import { helmStatus, isSameStatus } from "../../../../../core/helm/releases/helm_status.ts";
import { jobObstacle, type JobSight } from "../../../../../core/helm/jobs/job_obstacle.ts";
import type { Job, Pod } from "../../../../../core/kube/types.ts";
import { chartWith, factsWith, jobAfter, NOW_MS, podIn, SETTINGS } from "../fixtures.ts";

type Action = "install" | "delete";

function jobFor(action: Action, status: object = { active: 1 }, chart = chartWith()): Job {
  const { job } = desiredJob({ chart, secrets: new Map(), revision: 0 }, { action, settings: SETTINGS });
  return { ...jobAfter(job, "Running"), status };
}

function ago(seconds: number): string {
  return new Date(NOW_MS - seconds * 1000).toISOString();
}

interface PodParts {
  readonly ageSeconds?: number;
  readonly metadata?: object;
  readonly node?: string;
  readonly status?: object;
}

/** A pod of {@linkcode jobFor}'s Job that has not run yet. */
function pendingPod({ ageSeconds = 1, metadata = {}, node = "", status = {} }: PodParts): Pod {
  const before = podIn("running");
  return {
    metadata: { ...before.metadata, creationTimestamp: ago(ageSeconds), ...metadata },
    spec: { containers: [], ...(node === "" ? {} : { nodeName: node }) },
    status: { phase: "Pending", ...status },
  } as Pod;
}

function waitingPod(reason: string, message?: string, more: PodParts = {}): Pod {
  const state = { waiting: { reason, ...(message === undefined ? {} : { message }) } };
  const helm = { name: "helm", image: "example.com/helm:1", imageID: "", ready: false, restartCount: 0, state };
  return pendingPod({ node: "n1", ...more, status: { containerStatuses: [helm], ...more.status } });
}

function runningPod(more: { readonly metadata?: object; readonly status?: object } = {}): Pod {
  const pod = podIn("running");
  return {
    ...pod,
    metadata: { ...pod.metadata, ...more.metadata },
    spec: { containers: [], nodeName: "n1" },
    status: { ...pod.status, ...more.status },
  } as Pod;
}

function unscheduled(ageSeconds: number): Pod {
  const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes" };
  return pendingPod({ ageSeconds, status: { conditions: [condition] } });
}

/** As MarkPodsNotReady leaves it. */
const NOT_READY = { conditions: [{ type: "Ready", status: "False" }, { type: "ContainersReady", status: "True" }] };

const LOST: readonly { readonly name: string; readonly pod: Pod }[] = [
  { name: "phase Unknown", pod: runningPod({ status: { phase: "Unknown" } }) },
  { name: "reason NodeLost", pod: runningPod({ status: { reason: "NodeLost" } }) },
  {
    name: "deleted, and there 31 s after its grace period",
    pod: runningPod({ metadata: { deletionTimestamp: ago(31) } }),
  },
  { name: "not Ready by its node", pod: runningPod({ status: NOT_READY }) },
];

function look(
  pods: readonly Pod[],
  more: Partial<Parameters<typeof jobObstacle>[1]> = {},
  job = jobFor("install"),
): JobSight {
  return jobObstacle(job, { pods, nowMs: NOW_MS, ...more });
}

function conditionOf(plan: ChartPlan, type = "Deployed", chart = chartWith()): { reason?: string; message?: string } {
  assert.ok(plan.state !== undefined);
  return helmStatus(chart, plan.state).conditions?.find((condition) => condition.type === type) ?? {};
}

Deno.test("jobObstacle: what keeps helm from running, in Kubernetes' words", () => {
  const failed = (reason: string): Pod =>
    pendingPod({ status: { phase: "Failed", reason, message: "The node was low on memory" } });
  const startError = { exitCode: 128, reason: "StartError", message: 'exec: "entry": not found' };
  const broken = waitingPod("CrashLoopBackOff");
  const [helm] = broken.status?.containerStatuses ?? [];
  const noStart = {
    ...broken,
    status: { containerStatuses: [{ ...helm, lastState: { terminated: startError } }] },
  } as Pod;
  const cases: readonly {
    name: string;
    pods: readonly Pod[];
    status?: object;
    missing?: string[];
    want: [string, RegExp];
  }[] = [
    {
      name: "an image that is not there",
      pods: [waitingPod("ErrImagePull", "failed to resolve example.com/helm:1: not found")],
      want: [
        "ImagePullBackOff",
        /^Pod kube-system\/helm-install-app-x can't pull image "example.com\/helm:1": failed.*not found$/,
      ],
    },
    {
      name: "a back-off that says why",
      pods: [waitingPod("ImagePullBackOff", 'Back-off pulling image "example.com/helm:1": ErrImagePull: no such host')],
      want: ["ImagePullBackOff", /helm:1": no such host$/],
    },
    {
      name: "a bad image name",
      pods: [waitingPod("InvalidImageName", "couldn't parse image name")],
      want: ["InvalidImageName", /can't start: InvalidImageName: couldn't parse/],
    },
    {
      name: "a password in an URL",
      pods: [waitingPod("ErrImagePull", "GET https://me:secret@example.com/: denied")],
      want: ["ImagePullBackOff", /https:\/\/\*\*\*@example.com/],
    },
    {
      name: "config",
      pods: [waitingPod("CreateContainerConfigError", 'secret "auth" not found')],
      want: ["CreateContainerConfigError", /secret "auth" not found/],
    },
    { name: "a program that is not there", pods: [noStart], want: ["StartError", /"entry": not found/] },
    { name: "no node", pods: [unscheduled(16)], want: ["Unschedulable", /gets no node: Unschedulable: 0\/1 nodes/] },
    { name: "no scheduler", pods: [pendingPod({ ageSeconds: 31 })], want: ["Unschedulable", /no scheduler/] },
    {
      name: "a Secret that is not there",
      pods: [waitingPod("ContainerCreating", undefined, { ageSeconds: 16 })],
      missing: ['Secret "s" of valuesSecrets does not exist'],
      want: ["FailedMount", /Secret "s" of valuesSecrets does not exist/],
    },
    {
      name: "a start that takes too long",
      pods: [waitingPod("ContainerCreating", undefined, { ageSeconds: 121 })],
      want: ["ContainerCreating", /node "n1".*kubectl describe pod --namespace kube-system helm-install-app-x/],
    },
    { name: "evicted", pods: [failed("Evicted")], want: ["Evicted", /failed: Evicted: The node was low on memory/] },
    {
      name: "no pod, as a quota refuses it",
      pods: [],
      status: { startTime: ago(31) },
      want: ["FailedCreate", /quota.*kubectl describe job --namespace kube-system helm-install-app/],
    },
    ...LOST.map(({ name, pod }) => ({
      name,
      pods: [pod],
      want: ["NodeLost", /node "n1".*kubectl delete pod --namespace kube-system helm-install-app-x --force/] as [
        string,
        RegExp,
      ],
    })),
    {
      name: "the newer pod counts",
      pods: [runningPod({ status: { phase: "Unknown" } }), unscheduled(20)],
      want: ["Unschedulable", /0\/1/],
    },
  ];
  for (const { name, pods, status, missing = [], want: [reason, message] } of cases) {
    const { obstacle } = look(pods, { missing }, jobFor("install", status));
    assert.equal(obstacle?.reason, reason, name);
    assert.match(obstacle?.message ?? "", message, name);
  }
});

Deno.test("jobObstacle: a pod that just starts, runs, or had its say in the log has none; it is looked at again in time", () => {
  const young = { missing: ["missing"] };
  const cases: readonly { name: string; given: JobSight; want?: number }[] = [
    { name: "ContainerCreating", given: look([waitingPod("ContainerCreating")]), want: 119_000 },
    { name: "PodInitializing", given: look([waitingPod("PodInitializing")]), want: 119_000 },
    { name: "ContainerCreating without a Secret", given: look([waitingPod("ContainerCreating")], young), want: 14_000 },
    { name: "Unschedulable for a moment", given: look([unscheduled(5)]), want: 10_000 },
    { name: "not looked at by the scheduler", given: look([pendingPod({})]), want: 29_000 },
    { name: "no pod for a moment", given: look([], {}, jobFor("install", { startTime: ago(1) })), want: 29_000 },
    {
      name: "just resumed after a long time",
      given: look([], {}, {
        ...jobFor("install", { conditions: [{ type: "Suspended", status: "False", lastTransitionTime: ago(1) }] }),
        metadata: { ...jobFor("install").metadata, creationTimestamp: ago(999) },
      }),
      want: 29_000,
    },
    { name: "after a failed pod", given: look([], {}, jobFor("install", { startTime: ago(99), failed: 1 })) },
    { name: "running", given: look([runningPod()]) },
    {
      name: "running, while another node is lost",
      given: look([runningPod({ status: { phase: "Unknown" } }), runningPod()]),
    },
    { name: "crashed", given: look([podIn("crashed")]) },
    { name: "failed", given: look([podIn("failed")]) },
    {
      name: "not Ready by its kubelet",
      given: look([runningPod({
        status: {
          conditions: [{ type: "Ready", status: "False", reason: "ReadinessGatesNotReady" }, {
            type: "ContainersReady",
            status: "True",
          }],
        },
      })]),
    },
    { name: "deleted just now", given: look([runningPod({ metadata: { deletionTimestamp: ago(0) } })]), want: 30_000 },
    {
      name: "of another Job",
      given: look([waitingPod("ErrImagePull", "", { metadata: { ownerReferences: [] } })]),
    },
  ];
  for (const { name, given, want } of cases) {
    assert.deepEqual(given, want === undefined ? {} : { againMs: want }, name);
  }
});

Deno.test("planInstall: kubelet's way from ErrImagePull to ImagePullBackOff and back is one word, said once", () => {
  const installJob = jobFor("install");
  const steps = [
    waitingPod("ErrImagePull", "dial tcp 10.0.0.1:40001->10.0.0.2:53: i/o timeout"),
    waitingPod("ImagePullBackOff", 'Back-off pulling image "example.com/helm:1"'),
    waitingPod("ErrImagePull", "dial tcp 10.0.0.1:40002->10.0.0.2:53: i/o timeout"),
    waitingPod("ImagePullBackOff", 'Back-off pulling image "example.com/helm:1"'),
  ];
  let chart: HelmChart = chartWith();
  const changes = steps.map((pod) => {
    const plan = planInstall(factsWith({ chart, installJob, pods: [pod] }), SETTINGS);
    assert.deepEqual(plan.events.map(({ type, reason }) => [type, reason]), [["Warning", "ImagePullBackOff"]]);
    assert.ok(plan.state !== undefined);
    const status = helmStatus(chart, plan.state);
    const isChanged = !isSameStatus(chart.status, status);
    chart = { ...chart, status };
    return isChanged;
  });
  assert.deepEqual(changes, [true, false, false, false]);
  assert.match(chart.status?.conditions?.find(({ type }) => type === "Deployed")?.message ?? "", /i\/o timeout/);
  const plan = planInstall(factsWith({ chart, installJob, pods: [runningPod()] }), SETTINGS);
  assert.deepEqual(conditionOf(plan, "Deployed", chart), { type: "Deployed", status: "False", reason: "Applying" });
});

Deno.test("planInstall: a pod that just starts is looked at again when it should have started", () => {
  const plan = planInstall(factsWith({ installJob: jobFor("install"), pods: [unscheduled(5)] }), SETTINGS);
  assert.deepEqual([conditionOf(plan).reason, plan.events, plan.againMs], ["Applying", [], 10_000]);
});

Deno.test("planInstall: a Secret or key that valuesSecrets name and that is not there is named", () => {
  const chart = chartWith({
    valuesSecrets: [{ name: "there", keys: ["a", "b"] }, { name: "gone", keys: ["c"] }, {
      name: "optional",
      keys: ["d"],
      ignoreUpdates: true,
    }],
  });
  const secrets = new Map([["there", { data: { a: "eA==" } }]]);
  const { job } = desiredJob({ chart, secrets, revision: 0 }, { action: "install", settings: SETTINGS });
  const pods = [waitingPod("ContainerCreating", undefined, { ageSeconds: 60 })];
  const plan = planInstall(factsWith({ chart, secrets, installJob: jobAfter(job, "Running"), pods }), SETTINGS);
  const { reason, message } = conditionOf(plan);
  assert.equal(reason, "FailedMount");
  assert.match(
    message ?? "",
    /: Secret "there" of valuesSecrets has no key "b", Secret "gone" of valuesSecrets does not exist$/,
  );
});

Deno.test("planInstall, planDelete: a change or a deletion that waits for a helm on a lost node says what to do", () => {
  const changed = chartWith({ version: "2" });
  const deleteJob = jobFor("delete");
  for (const { name, pod } of LOST.filter(({ name }) => name !== "phase Unknown")) {
    const installJob = jobFor("install");
    const update = planInstall(factsWith({ chart: changed, installJob, pods: [pod] }), SETTINGS);
    const removal = planDelete(factsWith({ installJob, pods: [pod] }), SETTINGS);
    const uninstall = planDelete(factsWith({ deleteJob, pods: [pod] }), SETTINGS);
    for (const plan of [update, removal, uninstall]) {
      assert.deepEqual([plan.job.step, plan.againMs], ["none", 5_000], name);
      assert.equal(conditionOf(plan).reason, "NodeLost", name);
      assert.match(conditionOf(plan).message ?? "", /kubectl delete pod .* --force/, name);
      assert.deepEqual(plan.events.map(({ reason }) => reason), ["NodeLost"], name);
    }
    assert.match(conditionOf(update).message ?? "", /^Waiting for the running Job/);
  }
  const alive = planInstall(
    factsWith({ chart: changed, installJob: jobFor("install"), pods: [runningPod()] }),
    SETTINGS,
  );
  assert.deepEqual([conditionOf(alive).reason, alive.events], ["WaitingForJob", []]);
});

Deno.test("planLeaving: a Job that is deleted waits for pods of lost nodes, and says so", () => {
  for (const action of ["install", "delete"] as const) {
    const job = jobFor(action);
    for (const { name, pod } of LOST) {
      const plan = planLeaving({ chart: chartWith(), job, pods: [pod], nowMs: NOW_MS }, action);
      assert.deepEqual([plan.job.step, conditionOf(plan).reason], ["none", "NodeLost"], `${action}, ${name}`);
    }
    const pods = [runningPod({ metadata: { deletionTimestamp: ago(10) } })];
    const soon = planLeaving({ chart: chartWith(), job, pods, nowMs: NOW_MS }, action);
    assert.deepEqual([soon.state, soon.events, soon.againMs], [undefined, [], 20_000]);
  }
});

Deno.test("planDelete: what keeps the uninstall is said, and no longer when it goes on", () => {
  const deleteJob = jobFor("delete");
  const kept = planDelete(factsWith({ deleteJob, pods: [unscheduled(20)] }), SETTINGS);
  assert.equal(conditionOf(kept).reason, "Unschedulable");
  assert.ok(kept.state !== undefined);
  const chart = { ...chartWith(), status: helmStatus(chartWith(), kept.state) };
  const free = planDelete(factsWith({ chart, deleteJob, pods: [runningPod()] }), SETTINGS);
  assert.equal(conditionOf(free, "Deployed", chart).reason, "Uninstalling");
});
