// How long the loop is blocked at most by one object of the largest and worst kind that an API server takes: each step of a reconcile that
// runs without a pause, timed in this process. What is judged is the quickest of several runs: other work on the machine only adds.
import { planInstall } from "../../core/helm/install_plan.ts";
import type { HelmChart } from "../../core/helm/helm_chart.ts";
import { prepareValues } from "../../core/helm/values/prepare_values.ts";
import { readParts, takePart } from "../../core/manifests/objects/read_objects.ts";
import type { EndpointSlice, Node, Service } from "../../core/kube/types.ts";
import { PortIndex } from "../../core/service_lb/affected_services.ts";
import { ClusterView } from "../../core/service_lb/cluster_view.ts";
import { desiredService } from "../../core/service_lb/desired_service.ts";
import type { ServiceLbOptions } from "../../core/service_lb/service_lb_options.ts";
import { trimNode, trimPod, trimService } from "../../core/service_lb/trim_objects.ts";
import { trimForeign } from "../../core/service/foreign_ports.ts";
import { objectKey } from "../../core/service/keys.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { keepLastGood } from "../../core/service/last_good.ts";
import { readService } from "../../core/service/reading.ts";
import { trimEndpointSlice } from "../../core/service/trim.ts";
import { DEFAULT_MAX_SERVICE_RULES } from "../../node_agent/agent_options.ts";
import { trimNode as trimAgentNode, trimPod as trimAgentPod } from "../../node_agent/loop/watches/trim_objects.ts";
import { forwardingDecision } from "../../node_agent/loop/plan/forwarding_plan.ts";
import type { BenchContext } from "./bench_context.ts";
import { duration, type Figure, judged } from "./report.ts";
import { median } from "./stats.ts";
import {
  hostileServices,
  largestNode,
  largestValues,
  manifestFiles,
  serviceExternalIps,
  serviceOf,
  servicePorts,
  sliceOf,
} from "../support/largest_objects.ts";

/** What no object may cost in one go. */
const MOST_MS = 50;

/** One step that runs without a pause. */
interface Step {
  readonly what: string;
  /** A number that it returns is its time, else it is timed as a whole. */
  readonly run: () => unknown;
}

const SETTINGS: ServiceLbOptions = {
  dataplane: "agent",
  servicelbNamespace: "kube-system",
  lbImage: "rancher/klipper-lb:v0.4.9",
  pauseImage: "rancher/mirrored-pause:3.6",
  systemDefaultRegistry: "",
  lbClass: "k3slb.io/servicelb",
  lbDefault: true,
  statusAddresses: "cluster",
  honorExcludeLabel: false,
  serviceRanges: [],
};
const HONEST = trimService(serviceOf({ name: "honest" }));
const NODES = new Map(["node1", "node2", "node3"].map((name) => [name, trimNode(smallNode(name))]));

/** Measures every step and names the worst. */
export async function benchWatchdog(context: BenchContext): Promise<void> {
  const figures = (await allSteps()).map((step): Figure => {
    const times = timesOf(step.run, context.quick ? 3 : 7);
    const best = Math.min(...times);
    return judged(
      { what: step.what, value: duration(best), detail: `median ${duration(median(times))}`, count: times.length },
      best,
      { value: MOST_MS, direction: "at most", unit: "ms" },
    );
  });
  context.figures(figures);
}

function timesOf(run: () => unknown, count: number): readonly number[] {
  return Array.from({ length: count }, () => {
    const startMs = performance.now();
    const told = run();
    return typeof told === "number" ? told : performance.now() - startMs;
  });
}

async function allSteps(): Promise<readonly Step[]> {
  const helm = await helmSteps();
  return [...annotationSteps(), ...serviceSteps(), ...sliceSteps(), ...nodeSteps(), ...helm, ...fileSteps()];
}

function annotationSteps(): readonly Step[] {
  return hostileServices().map(({ what, service }) => ({
    what: `Service: ${what}: kept, read, decided`,
    run: () => decide(keepLastGood(trimService(service), new Map())),
  }));
}

function serviceSteps(): readonly Step[] {
  return [
    { what: "Service with 7,000 ports", service: servicePorts() },
    { what: "Service with 30,000 external IPs and 3,000 ports", service: serviceExternalIps() },
  ].flatMap(({ what, service }) => {
    const kept = trimService(service);
    return [
      { what: `${what}: kept and read`, run: () => readService(trimService(service)) },
      { what: `${what}: decided`, run: () => decide(kept) },
      { what: `${what}: beside another's change`, run: () => decide(HONEST, [kept]) },
      {
        what: `${what}: who shares its ports`,
        run: () => indexed([HONEST, kept]),
      },
      { what: `${what}, of type ClusterIP: kept`, run: () => trimForeign(ofClusterIp(service)) },
      {
        what: `${what}, of type ClusterIP: another's decision`,
        run: () => decide(HONEST, [], [trimForeign(ofClusterIp(service)) ?? HONEST]),
      },
      { what: `${what}: the agent's plan`, run: () => planAgent(kept, [sliceOf(7_000, 1)]) },
      { what: `${what}: the agent's plan, slice of 20,000 ports`, run: () => planAgent(kept, [sliceOf(20_000, 1)]) },
    ];
  });
}

function sliceSteps(): readonly Step[] {
  const slice = sliceOf(100, 1_000);
  const hundred = trimService(servicePorts(100));
  const local = { ...hundred, spec: { ...hundred.spec, externalTrafficPolicy: "Local" } };
  const several = Array.from({ length: 20 }, () => trimEndpointSlice(slice, "node1"));
  const one = trimService(servicePorts(1));
  const thousand = trimService(servicePorts(1_000));
  return [
    {
      what: "Service of 1,000 ports, slice of 20,000 ports: the agent's plan",
      run: () => planAgent(thousand, [sliceOf(20_000, 1)]),
    },
    { what: "Service of 1,000 ports: decided", run: () => decide(thousand) },
    { what: "EndpointSlice of 100 ports and 1,000 endpoints: kept", run: () => trimEndpointSlice(slice, "node1") },
    { what: "the same: the agent's plan", run: () => planAgent(hundred, [trimEndpointSlice(slice, "node1")]) },
    { what: "20 of them: the agent's plan", run: () => planAgent(hundred, several) },
    { what: "the same: the server's decision, policy Local", run: () => decide(local, [], [], [slice]) },
    {
      what: "9 ports and 1,000 endpoints, served: the agent's plan",
      run: () => planAgent(trimService(servicePorts(9)), [sliceOf(9, 1_000)]),
    },
    { what: "one port and 9,000 endpoints, served: the agent's plan", run: () => planAgent(one, manySlices(9)) },
  ];
}

function indexed(services: readonly Service[]): PortIndex {
  const index = new PortIndex();
  for (const after of services) index.note({ before: undefined, after });
  return index;
}

function manySlices(count: number): readonly EndpointSlice[] {
  return Array.from({ length: count }, (_, index) => {
    const slice = sliceOf(1, 1_000);
    return {
      ...slice,
      endpoints:
        slice.endpoints?.map((one, at) => ({ ...one, addresses: [`10.${50 + index}.${at >> 8}.${at & 255}`] })) ?? null,
    };
  });
}

function nodeSteps(): readonly Step[] {
  const node = largestNode();
  const kept = trimNode(node);
  const nodes = new Map([...NODES, ["node1", kept]]);
  return [
    { what: "Node of 5,000 addresses, taints, labels, images: kept by the server", run: () => trimNode(node) },
    { what: "the same: kept by the agent", run: () => trimAgentNode(node) },
    { what: "the same: a Service's decision", run: () => decide(HONEST, [], [], [], nodes) },
    { what: "Pod of 1.5 MB: kept by the server", run: () => trimPod(largestPod()) },
    { what: "the same: kept by the agent", run: () => trimAgentPod(largestPod()) },
  ];
}

function largestPod(): Parameters<typeof trimPod>[0] {
  const containers = Array.from({ length: 2_000 }, (_, index) => ({
    name: `c${index}`,
    image: "x",
    ports: Array.from({ length: 5 }, (_, port) => ({ containerPort: port + 1, hostPort: index * 5 + port + 1 })),
  }));
  return { metadata: { name: "large", namespace: "kube-system" }, spec: { nodeName: "node1", containers } } as never;
}

/** Large values are written as text by a thread before; the loop's own share is to hand them over. */
async function helmSteps(): Promise<readonly Step[]> {
  const values = largestValues();
  const chart = (spec: object): HelmChart => ({
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChart",
    metadata: { name: "app", namespace: "kube-system", uid: "u" },
    spec: { chart: "app", repo: "https://charts.example.com", ...spec },
  });
  const config = (spec: object): never => ({ metadata: { name: "app", namespace: "kube-system" }, spec }) as never;
  const mapping = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`key${index}`, { a: [1, "x"] }]));
  const set = Object.fromEntries(Array.from({ length: 40_000 }, (_, index) => [`a.b${index}`, "x,y"]));
  const dates = Array.from({ length: 80_000 }, () => "2001-01-01");
  const split = { "k3slb.io/split-image-registry": "true" };
  const steps = [
    { what: "HelmChart of 1 MiB valuesContent", chart: chart({ valuesContent: values }) },
    { what: "HelmChart of 1 MiB values", chart: chart({ values: mapping }) },
    { what: "HelmChart of 1 MiB chartContent", chart: chart({ chartContent: "QUFB".repeat(262_144) }) },
    { what: "HelmChart of 40,000 set", chart: chart({ set }) },
    { what: "HelmChartConfig of 1 MiB valuesContent", chart: chart({}), config: config({ valuesContent: values }) },
    { what: "HelmChartConfig of 1 MiB values", chart: chart({}), config: config({ values: mapping }) },
    { what: "HelmChart of 80,000 dates as values", chart: chart({ values: { dates } }) },
    { what: "HelmChart of 1 MiB commas in set", chart: chart({ set: { a: ",".repeat(1 << 20) } }) },
    { what: "HelmChart of 1 MiB repo", chart: chart({ repo: "a".repeat(1 << 20) }) },
    {
      what: "HelmChartConfig of 1 MiB valuesContent, registry split",
      chart: { ...chart({}), metadata: { ...chart({}).metadata, annotations: split } },
      config: config({ valuesContent: `image: [${"[],".repeat(350_000)}]` }),
    },
  ];
  for (const given of steps) await prepareValues(given, AbortSignal.timeout(60_000));
  return steps.map(({ what, ...given }) => ({
    what: `${what}: planned`,
    run: () => {
      JSON.stringify(given.chart.spec?.values);
      return planInstall({ ...given, secrets: new Map(), release: undefined, pods: [], failure: "", nowMs: 0 }, {
        defaultImage: "x",
        env: {},
        clusterRole: "cluster-admin",
      });
    },
  }));
}

/** Files are read by a thread: what is left to the loop is to take the objects over, with pauses. The longest step is what counts. */
function fileSteps(): readonly Step[] {
  return Object.entries(manifestFiles()).map(([what, text]) => {
    const parts = [...readParts({ bytes: new TextEncoder().encode(text), file: "worst.yaml" })];
    return { what: `manifest file of ${what}: taken over, its longest step`, run: () => longestStep(parts) };
  });
}

function longestStep(parts: readonly string[]): number {
  let longest = 0;
  for (const part of parts) {
    const startMs = performance.now();
    takePart(part);
    longest = Math.max(longest, performance.now() - startMs);
  }
  return longest;
}

/** A pass over one Service, without its requests. */
function decide(
  given: Service,
  others: readonly Service[] = [],
  foreign: readonly Service[] = [],
  slices: readonly EndpointSlice[] = [],
  nodes: ReadonlyMap<string, Node> = NODES,
): unknown {
  // Each reading is made anew, as it is for an object that has just come.
  const service = { ...given };
  const key = objectKey(service);
  const services = new Map([service, ...others.map((one) => ({ ...one }))].map((one) => [objectKey(one), one]));
  const view = new ClusterView(() => ({ services, nodes }), SETTINGS);
  for (const after of services.values()) view.noteService({ before: undefined, after });
  for (const after of foreign) view.noteForeign({ before: undefined, after });
  for (const slice of slices) view.noteSlice({ before: undefined, after: slice });
  return desiredService(service, { ...SETTINGS, facts: view.factsOf(key, new Set()) });
}

/** The agent's plan with the Service's pod here, and the rules that follow from it. */
function planAgent(given: Service, slices: readonly EndpointSlice[]): unknown {
  const service = { ...given };
  const { plan } = forwardingDecision({
    nodeName: "node1",
    pods: [podOf(service)],
    services: [service],
    slices,
    node: smallNode("node1"),
    interfaces: [{ name: "eth0", addresses: ["192.0.2.1"] }],
    listeners: [],
    hostPods: new Map(),
    reserved: [],
    maxServiceRules: DEFAULT_MAX_SERVICE_RULES,
    allowPortOverride: false,
    programmed: new Set(),
  });
  return plan;
}

function podOf(service: Service): Parameters<typeof trimPod>[0] {
  const { name = "", namespace = "" } = service.metadata ?? {};
  return {
    metadata: {
      name: "svclb",
      namespace: "kube-system",
      labels: { [SERVICE_NAME_LABEL]: name, [SERVICE_NAMESPACE_LABEL]: namespace },
    },
    spec: {
      nodeName: "node1",
      containers: [{
        name: "placeholder",
        ports: (service.spec?.ports ?? []).map(({ port }) => ({
          containerPort: port,
          hostPort: port,
          protocol: "TCP",
        })),
      }],
    },
  } as never;
}

function ofClusterIp(service: Service): Service {
  return { ...service, spec: { ...service.spec, type: "ClusterIP" } };
}

function smallNode(name: string): Node {
  return {
    metadata: { name, labels: { "kubernetes.io/os": "linux" } },
    spec: { podCIDRs: ["10.42.0.0/16"] },
    status: {
      addresses: [{ type: "InternalIP", address: "192.0.2.1" }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  };
}
