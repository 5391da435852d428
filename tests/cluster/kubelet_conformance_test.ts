// What a kubelet tells about a pod, from its binding to its end: the simulated kubelets tell it as the real one does. The histories were seen on
// kubelet 1.36.3 with containerd; K3SLB_WORLD=nodes asks it again. Between the lines that are wanted there may be others, as a busy
// kubelet tells two things at once or one after the other.
import { deepEqual, ok } from "node:assert/strict";
import type { ObjectKey } from "../../core/kube/contract.ts";
import { startReflector } from "../../core/kube/reflector.ts";
import { NODES, PODS } from "../../core/kube/resources.ts";
import type { Pod } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { enterWorld } from "../support/netns.ts";
import { podLine } from "../support/pod_lines.ts";
import { waitUntil } from "../support/wait.ts";
import { APP_IMAGE, appPod, type AppPodWish, MISSING_IMAGE } from "../support/world_app.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const GATE = "example.com/gate";
const HOST_PORT = 7_777;

type Container = NonNullable<Pod["spec"]>["containers"][number];

/** One pod and what is to be seen of it. */
interface Scenario {
  readonly name: string;
  readonly app?: Partial<AppPodWish>;
  readonly spec?: Partial<NonNullable<Pod["spec"]>>;
  readonly container?: Partial<Container>;
  /** What is done, in order: wait for a line, then act. */
  readonly steps: readonly { readonly after: string; readonly act: "delete" | "open gate" | "close gate" | "none" }[];
  /** Lines in this order. */
  readonly want: readonly string[];
}

const CREATING = "Pending, Ready=False ContainersNotReady, waiting ContainerCreating";
const READY = "Running, Ready=True, running";
const COMPLETED = "Succeeded deleting, Ready=False PodCompleted, terminated 0";

const SCENARIOS: readonly Scenario[] = [
  {
    name: "a pod starts, and ends by itself when it is deleted",
    steps: [{ after: READY, act: "delete" }, { after: "gone", act: "none" }],
    want: [CREATING, READY, "Running deleting, Ready=True, running", COMPLETED, "gone"],
  },
  {
    name: "a pod that takes its time to end is running until then",
    app: { stopAfterMs: 1_000 },
    steps: [{ after: READY, act: "delete" }, { after: "gone", act: "none" }],
    want: [READY, "Running deleting, Ready=True, running", COMPLETED, "gone"],
  },
  {
    name: "a pod on the host's network",
    app: { hostNetwork: true, serve: ["tcp/9999"] },
    steps: [{ after: READY, act: "delete" }, { after: "gone", act: "none" }],
    want: [CREATING, READY, COMPLETED, "gone"],
  },
  {
    name: "readiness gates: ready when they are True, and no longer when they are False",
    spec: { readinessGates: [{ conditionType: GATE }] },
    steps: [
      { after: "Running, Ready=False ReadinessGatesNotReady, running", act: "open gate" },
      { after: READY, act: "close gate" },
      { after: "Running, Ready=False ReadinessGatesNotReady, running", act: "delete" },
      { after: "gone", act: "none" },
    ],
    want: [
      CREATING,
      "Running, Ready=False ReadinessGatesNotReady, running",
      READY,
      "Running, Ready=False ReadinessGatesNotReady, running",
      COMPLETED,
      "gone",
    ],
  },
  {
    name: "a readiness probe that succeeds after a while",
    container: { readinessProbe: { tcpSocket: { port: 8080 }, initialDelaySeconds: 2, periodSeconds: 1 } },
    steps: [{ after: READY, act: "delete" }, { after: "gone", act: "none" }],
    want: [CREATING, "Running, Ready=False ContainersNotReady, running", READY, COMPLETED, "gone"],
  },
  {
    name: "a readiness probe that fails",
    container: { readinessProbe: { tcpSocket: { port: 8081 }, periodSeconds: 1 } },
    steps: [
      { after: "Running, Ready=False ContainersNotReady, running", act: "delete" },
      { after: "gone", act: "none" },
    ],
    want: [CREATING, "Running, Ready=False ContainersNotReady, running", COMPLETED, "gone"],
  },
  {
    name: "an image that can't be pulled",
    container: { image: MISSING_IMAGE },
    steps: [
      { after: "Pending, Ready=False ContainersNotReady, waiting ErrImagePull", act: "delete" },
      { after: "gone", act: "none" },
    ],
    want: [CREATING, "Pending, Ready=False ContainersNotReady, waiting ErrImagePull", "gone"],
  },
  {
    name: "a pod that passes its deadline fails and stays",
    spec: { activeDeadlineSeconds: 2 },
    steps: [
      { after: "Failed DeadlineExceeded, Ready=False PodFailed, terminated 0", act: "delete" },
      { after: "gone", act: "none" },
    ],
    want: [CREATING, "Failed DeadlineExceeded, Ready=False PodFailed, terminated 0", "gone"],
  },
];

/** What is seen of one pod, line by line. */
class PodWatch implements AsyncDisposable {
  readonly lines: string[] = [];
  readonly #end = new AbortController();
  readonly #done: Promise<unknown>;

  constructor({ world }: WorldTest, key: ObjectKey) {
    const reflector = startReflector<Pod>({
      client: world.admin,
      type: PODS,
      selection: { namespace: key.namespace ?? "", fieldSelector: `metadata.name=${key.name}` },
      clock: SYSTEM_CLOCK,
      logger: SILENT_LOGGER,
      signal: this.#end.signal,
      onChange: () => {
        const pod = reflector.objects.get(`${key.namespace}/${key.name}`);
        const line = pod === undefined ? "gone" : podLine(pod);
        if (this.lines.at(-1) !== line) this.lines.push(line);
      },
    });
    this.#done = reflector.done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#done;
  }
}

async function create({ world, ns }: WorldTest, scenario: Scenario, name = "pod"): Promise<ObjectKey> {
  const pod = appPod({
    ...{ namespace: ns.name, name, app: name, node: "node1", serve: ["tcp/8080"], hostNetwork: false },
    stopAfterMs: undefined,
    ...scenario.app,
  });
  const [container] = pod.spec?.containers ?? [];
  const spec = { ...pod.spec, ...scenario.spec, containers: [{ ...container, ...scenario.container }] };
  // A new namespace gets its ServiceAccount a moment later.
  await waitUntil("the pod to be taken", () => world.admin.create(PODS, { ...pod, spec } as Pod));
  return { namespace: ns.name, name };
}

async function setGate({ world }: WorldTest, key: ObjectKey, status: "True" | "False"): Promise<void> {
  const body = { status: { conditions: [{ type: GATE, status }] } };
  await world.admin.patch(PODS, key, { type: "strategic", body }, { subresource: "status" });
}

/** Lines of `want` that are not in `lines` in their order. */
function missing(lines: readonly string[], want: readonly string[]): readonly string[] {
  let from = 0;
  return want.filter((line) => {
    const at = lines.indexOf(line, from);
    from = at < 0 ? from : at + 1;
    return at < 0;
  });
}

async function play(test: WorldTest, scenario: Scenario): Promise<void> {
  await using watch = new PodWatch(test, { namespace: test.ns.name, name: "pod" });
  const key = await create(test, scenario);
  let from = 0;
  for (const { after, act } of scenario.steps) {
    await waitUntil(`"${after}"`, () => {
      const at = watch.lines.indexOf(after, from);
      if (at < 0) return false;
      from = at + 1;
      return true;
    }, { explain: () => watch.lines.join("\n") });
    if (act === "delete") await test.world.admin.delete(PODS, key);
    if (act === "open gate") await setGate(test, key, "True");
    if (act === "close gate") await setGate(test, key, "False");
  }
  deepEqual(missing(watch.lines, scenario.want), [], watch.lines.join("\n"));
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0, agents: false });

  for (const scenario of SCENARIOS) {
    test(`kubelet: ${scenario.name}`, (t) => play(t, scenario));
  }

  test("kubelet: a pod whose host port another pod has is refused, in kubelet's words", async (t) => {
    const ports = [{ containerPort: HOST_PORT, hostPort: HOST_PORT }];
    const scenario = { name: "", container: { ports }, steps: [], want: [] };
    await create(t, scenario, "first");
    await t.ns.waitForPod("first");
    await create(t, scenario, "second");
    const refused = await waitUntil("the second pod to be refused", async () => {
      const pod = await t.world.admin.get(PODS, { namespace: t.ns.name, name: "second" });
      return pod.status?.phase === "Failed" && pod;
    });
    deepEqual([refused.status?.reason, refused.status?.message], [
      "NodePorts",
      "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    ]);
  });

  test("kubelet: nodes list the images that they have", async ({ world }) => {
    const node = await world.admin.get(NODES, { name: "node1" });
    const names = (node.status?.images ?? []).flatMap((image) => image.names ?? []);
    ok(names.includes(APP_IMAGE), names.join(" "));
  });
}
