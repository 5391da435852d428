// The Helm controller against the in-memory API server, for its tests.
import { HELM_CHART_CONFIG_CRD, HELM_CHART_CRD } from "../../../../core/helm/crds.ts";
import {
  HELM_CHART_CONFIGS,
  HELM_CHARTS,
  type HelmChart,
  type HelmChartSpec,
} from "../../../../core/helm/helm_chart.ts";
import { type HelmSettings, runHelm } from "../../../../core/helm/helm_chart_controller.ts";
import { createKubeClient } from "../../../../core/kube/client.ts";
import type { KubeClient, Selection, WatchEvent } from "../../../../core/kube/contract.ts";
import type { EventContent } from "../../../../core/kube/events.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, JOBS } from "../../../../core/kube/resources.ts";
import type { Job, KubeObject } from "../../../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { startMemoryApi } from "../../../support/memory_api/memory_api.ts";
import { waitUntil } from "../../../support/wait.ts";
import { parseKubeconfigText } from "../service_lb/kubeconfig_text.ts";

export interface Setup {
  readonly client: KubeClient;
  readonly events: EventContent[];
  /** Kind and name of what each Event is about. */
  readonly subjects: string[];
  /** Verbs and kinds of the controller's writes, Events apart. */
  readonly writes: string[];
  /** Milliseconds by which the controller hears later of charts that went. */
  newsDelayMs: number;
  /** Throws for requests that shall fail. */
  fault: (verb: string, plural: string, selection?: Selection) => void;
  createChart(name: string, spec?: HelmChartSpec, metadata?: HelmChart["metadata"]): Promise<HelmChart>;
  job(name: string): Promise<Job>;
  condition(name: string, type: string): Promise<{ readonly status: string; readonly message?: string } | undefined>;
}

/** A controller with a quick resync, whose requests can be looked at and failed. What `test` returns is run without the controller. */
export async function withController(
  test: (setup: Setup) => Promise<void | (() => Promise<void>)>,
  settings: Partial<HelmSettings> = {},
  options: { readonly hasCrds?: boolean } = {},
): Promise<void> {
  const api = await startMemoryApi({ controllers: ["customResourceDefinitions", "garbageCollector"] });
  const access = await parseKubeconfigText(await api.kubeconfig("admin"));
  const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
  const own = createKubeClient({ access, clock: SYSTEM_CLOCK });
  const events: EventContent[] = [];
  const writes: string[] = [];
  const subjects: string[] = [];
  const ending = new AbortController();
  const setup: Setup = {
    client,
    events,
    subjects,
    writes,
    newsDelayMs: 0,
    fault: () => {},
    createChart: (name, spec = {}, metadata = {}) =>
      client.create(HELM_CHARTS, {
        apiVersion: "helm.cattle.io/v1",
        kind: "HelmChart",
        metadata: { name, namespace: "default", ...metadata },
        spec: { chart: "app", repo: "https://charts.example.com", ...spec },
      }),
    job: (name) => waitUntil(`Job ${name}`, () => client.get(JOBS, { namespace: "default", name })),
    condition: async (name, type) =>
      (await client.get(HELM_CHARTS, { namespace: "default", name })).status?.conditions?.find((one) =>
        one.type === type
      ),
  };
  const watched = new Proxy(own, {
    get: (target, verb: keyof KubeClient) => (...args: unknown[]): unknown => {
      const type = args[0] as { readonly plural?: string };
      setup.fault(verb, type?.plural ?? "", args[1] as Selection);
      if (["create", "update", "patch", "apply", "delete"].includes(verb)) writes.push(`${verb} ${type.plural}`);
      const result = (target[verb] as (...all: unknown[]) => unknown).apply(target, args);
      return verb === "watch" && type.plural === HELM_CHARTS.plural
        ? lateNews(result as AsyncIterable<WatchEvent<KubeObject>>, setup)
        : result;
    },
  });
  if (options.hasCrds !== false) await establishCrds(client);
  const done = runHelm({
    client: watched,
    clock: SYSTEM_CLOCK,
    logger: SILENT_LOGGER,
    events: {
      record: (reference, content) => {
        events.push(content);
        subjects.push(`${reference.kind} ${reference.name}`);
      },
    },
    signal: ending.signal,
    env: {},
    options: { dataDir: "/nonexistent", helmJobImage: "helm", resyncIntervalMs: 10, ...settings },
  });
  try {
    await waitUntil("the CRDs", async () => {
      await client.list(HELM_CHARTS);
      await client.list(HELM_CHART_CONFIGS);
      return true;
    });
    const rest = await test(setup);
    if (rest !== undefined) {
      ending.abort();
      await done;
      await rest();
    }
  } finally {
    ending.abort();
    await done;
    own.close();
    client.close();
    await api.stop();
  }
}

/** As an earlier server left them: waiting for new ones takes a server a part of a second. */
async function establishCrds(client: KubeClient): Promise<void> {
  for (const crd of [HELM_CHART_CRD, HELM_CHART_CONFIG_CRD]) await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd);
  await waitUntil("established CRDs", async () => {
    const { items } = await client.list(CUSTOM_RESOURCE_DEFINITIONS);
    return items.every(({ status }) => status?.conditions?.some(({ type }) => type === "Established"));
  }, { intervalMs: 2 });
}

/** A watch that tells of deletions later. */
async function* lateNews(
  events: AsyncIterable<WatchEvent<KubeObject>>,
  setup: Setup,
): AsyncGenerator<WatchEvent<KubeObject>> {
  for await (const event of events) {
    if (event.type === "DELETED") await SYSTEM_CLOCK.sleep(setup.newsDelayMs);
    yield event;
  }
}

/** As the Job controller writes it. */
export function setCondition(client: KubeClient, name: string, type: string): Promise<Job> {
  const now = new Date().toISOString();
  const body = { status: { conditions: [{ type, status: "True", lastTransitionTime: now, lastProbeTime: now }] } };
  return client.patch(JOBS, { namespace: "default", name }, { type: "merge", body }, { subresource: "status" });
}
