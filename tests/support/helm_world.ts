// A real control plane with the Helm controller in this process and a node that runs its Jobs, and what tests ask of it.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HELM_CHART_CONFIGS, HELM_CHARTS, type HelmChart, type HelmChartSpec } from "../../core/helm/helm_chart.ts";
import { runHelm } from "../../core/helm/helm_chart_controller.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { isNotFound } from "../../core/kube/errors.ts";
import { createEventRecorder } from "../../core/kube/events.ts";
import { CONFIG_MAPS, EVENTS } from "../../core/kube/resources.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { createLogger } from "../../core/shared/log.ts";
import { type ControlPlane, startControlPlane } from "./control_plane.ts";
import { type HelmJobRunner, startHelmJobRunner } from "./helm_job_runner.ts";
import { execHere, isInWorld } from "./netns.ts";
import { openTestClient } from "./test_client.ts";
import { waitUntil } from "./wait.ts";

/** The controller's own user, for the audit log. */
export const CONTROLLER_USER = "helm-controller-test";
const API_IP = "172.30.0.1";
const DEADLINE_MS = 60_000;

/** The running world. */
export interface HelmWorld {
  readonly plane: ControlPlane;
  readonly client: KubeClient;
  readonly runner: HelmJobRunner;
  readonly dataDir: string;
  readonly logLines: string[];
  stop(): Promise<void>;
}

/** An address for the API server: a private world has only loopback, which can't be advertised. */
async function hostAddress(): Promise<string> {
  if (!isInWorld()) return "127.0.0.1";
  const done = await execHere("ip", ["address", "replace", `${API_IP}/32`, "dev", "lo"]);
  if (done.code !== 0) throw new Error(`Cannot add an address: ${done.stderr}`);
  return API_IP;
}

async function startHelmWorld(image: string, clusterRole: string | undefined): Promise<HelmWorld> {
  const dir = mkdtempSync(join(tmpdir(), "helm-world-"));
  const [planeDir, nodeDir, dataDir] = ["plane", "node", "data"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const one of [planeDir, nodeDir, dataDir]) mkdirSync(one);
  const plane = await startControlPlane({
    host: await hostAddress(),
    dir: planeDir,
    liftClientLimits: true,
    nodeMonitorGracePeriodSeconds: 600,
  });
  const client = await openTestClient(plane.adminKubeconfig, "tests");
  const own = await openTestClient(await plane.kubeconfigFor(CONTROLLER_USER, ["system:masters"]), "helm-test");
  const runner = await startHelmJobRunner({ client, server: plane.server, dir: nodeDir });
  const logLines: string[] = [];
  const logger = createLogger({ level: "debug", format: "text", write: (line) => logLines.push(line), now: Date.now });
  const events = createEventRecorder({
    client: own,
    component: "helm-controller",
    host: "test",
    clock: SYSTEM_CLOCK,
    logger,
  });
  const ending = new AbortController();
  const helm = runHelm({
    client: own,
    clock: SYSTEM_CLOCK,
    logger,
    events,
    signal: ending.signal,
    env: {},
    options: {
      dataDir,
      helmJobImage: image,
      resyncIntervalMs: 500,
      ...(clusterRole === undefined ? {} : { clusterRole }),
    },
  });
  return {
    plane,
    client,
    runner,
    dataDir,
    logLines,
    stop: async () => {
      ending.abort();
      await helm;
      await runner.stop();
      own.close();
      client.close();
      await plane.stop();
      rmSync(dir, { recursive: true });
    },
  };
}

/** One condition of a chart. */
export type ChartCondition = NonNullable<NonNullable<HelmChart["status"]>["conditions"]>[number];

/** The tests of one file, in one world whose Jobs have `image` unless a chart names another. */
export class HelmSuite {
  #started: HelmWorld | undefined;
  #broken: unknown;

  /** @param options.clusterRole The role of Jobs. @default {"cluster-admin"} */
  constructor(image: string, options: { readonly clusterRole?: string } = {}) {
    Deno.test.beforeAll(async () => {
      if (Deno.env.get("K3SLB_WORLD") !== "real") return;
      try {
        this.#started = await startHelmWorld(image, options.clusterRole);
        const { client } = this.#started;
        await waitUntil("the CRDs", () => client.list(HELM_CHARTS).then(() => true), { deadlineMs: DEADLINE_MS });
        await waitUntil("the other CRD", () => client.list(HELM_CHART_CONFIGS).then(() => true));
      } catch (error) {
        this.#broken = error;
      }
    });
    Deno.test.afterAll(async () => await this.#started?.stop());
  }

  get world(): HelmWorld {
    if (this.#started === undefined) throw new Error("The world has not started");
    return this.#started;
  }

  /** A test that is skipped, with the reason, where there is no whole API server. */
  test(name: string, fn: () => Promise<void>): void {
    const isReal = Deno.env.get("K3SLB_WORLD") === "real";
    Deno.test({
      name: isReal ? name : `${name} (skipped: helm needs a whole API server)`,
      ignore: !isReal,
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        if (this.#broken !== undefined) throw this.#broken;
        await fn();
      },
    });
  }

  createChart(name: string, spec: HelmChartSpec, namespace = "default"): Promise<HelmChart> {
    return this.world.client.create(HELM_CHARTS, {
      apiVersion: "helm.cattle.io/v1",
      kind: "HelmChart",
      metadata: { name, namespace },
      spec,
    });
  }

  async waitForShown(name: string, want: Readonly<Record<string, string>>): Promise<void> {
    await waitUntil(`${name} to show ${JSON.stringify(want)}`, async () => {
      const { data } = await this.world.client.get(CONFIG_MAPS, { namespace: "default", name: `${name}-shown` });
      assert.deepEqual(data, want);
      return true;
    }, this.waiting());
  }

  async condition(name: string, type: string): Promise<ChartCondition | undefined> {
    const { status } = await this.world.client.get(HELM_CHARTS, { namespace: "default", name });
    return status?.conditions?.find((one) => one.type === type);
  }

  waitForCondition(name: string, type: string, value: string, message = /(?:)/): Promise<ChartCondition> {
    return waitUntil(`${name} to be ${type}=${value}`, async () => {
      const found = await this.condition(name, type);
      return found?.status === value && message.test(found.message ?? "") ? found : undefined;
    }, this.waiting());
  }

  async eventsOf(name: string): Promise<readonly { reason?: string; message?: string }[]> {
    const { items } = await this.world.client.list(EVENTS, {
      namespace: "default",
      fieldSelector: `involvedObject.name=${name}`,
    });
    return items;
  }

  waiting(): { readonly deadlineMs: number; readonly explain: () => string } {
    const explain = (): string =>
      [
        ...this.world.logLines.slice(-30),
        ...[...this.world.runner.logs].map(([pod, log]) => `--- ${pod}\n${log.slice(-1500)}`),
      ]
        .join("\n");
    return { deadlineMs: DEADLINE_MS, explain };
  }
}

/** Whether the object that is asked for does not exist. */
export async function isGone(object: Promise<unknown>): Promise<boolean> {
  try {
    await object;
    return false;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}
