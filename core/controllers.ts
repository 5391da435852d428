// The controllers of the active server and how each is started and watched over. This is where the feature folders meet.
import type { KubeClient } from "./kube/contract.ts";
import type { Node } from "./kube/types.ts";
import type { EventRecorder } from "./kube/events.ts";
import { runHelm } from "./helm/helm_chart_controller.ts";
import { handBackCharts } from "./helm/hand_back_charts.ts";
import { helmProblems } from "./helm/releases/check_chart.ts";
import { startManifests } from "./manifests/manifest_controller.ts";
import type { RunningManifests } from "./manifests/manifests_options.ts";
import { runNodeHosts } from "./packaged/node_hosts_controller.ts";
import { isPackagedText, type StagedPackaged, stagePackaged } from "./packaged/stage.ts";
import { PAUSE_IMAGE } from "./packaged/versions.ts";
import { type Clock, pause } from "./runtime/clock.ts";
import type { ObserveQueue } from "./runtime/queue_metrics.ts";
import type { ServerOptions } from "./server_options.ts";
import { Answers, type ServiceAnswer } from "./service_lb/answers/explain_service.ts";
import type { ServiceLbOptions } from "./service_lb/service_lb_options.ts";
import { findServiceRanges } from "./service_lb/service_ranges.ts";
import { detectIpMode } from "./service_lb/status/kube_proxy_mode.ts";
import { removeServiceLb } from "./service_lb/groundwork/remove_service_lb.ts";
import { countServices, type ServiceCount } from "./service_lb/status/service_counts.ts";
import type { ServiceLb } from "./service_lb/running_service_lb.ts";
import { startServiceLb } from "./service_lb/service_lb_controller.ts";
import { errorHint, errorMessage } from "./shared/errors.ts";
import type { Logger } from "./shared/log.ts";

/** What controllers work with. */
export interface ControllerParts {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: EventRecorder;
  /** The process's environment; Helm's jobs get its proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted when this server is no longer the active one. */
  readonly signal: AbortSignal;
  /** Observes the controllers' queues, for metrics. */
  readonly observeQueue?: ObserveQueue;
  /** Name of this server's host. */
  readonly server: string;
  /** Version of the program. */
  readonly version: string;
}

/** What one controller works with. */
interface OwnParts extends ControllerParts {
  /** Called when nothing is in the way any more: what an earlier try failed of is over. */
  readonly onStarted: () => void;
}

/** A part of the active server. */
export interface Controller {
  readonly name: string;
  /** What is wrong with it now; `undefined` if nothing is. */
  readonly problem: () => string | undefined;
  /** Services by what is said of them. */
  readonly serviceCounts?: () => readonly ServiceCount[];
  /** Nodes that have stopped answering. */
  readonly silentNodes?: () => number;
  /** What is known of Services and nodes; absent before it is. */
  readonly answers?: () => ClusterAnswers | undefined;
  /** Resolves when the signal has ended it. Never rejects. */
  readonly done: Promise<void>;
}

/** Every node, and what is to be said of each Service. */
export interface ClusterAnswers {
  readonly nodes: readonly Node[];
  readonly services: readonly ServiceAnswer[];
}

/** Starts every controller that `options` leaves on. One that can't start says so and is tried again; the others go on. */
export function startControllers(options: ServerOptions, parts: ControllerParts): readonly Controller[] {
  const { servicelbNamespace: namespace } = options;
  return [
    options.disable.includes("servicelb")
      ? keepTrying("servicelb", parts, async ({ client, logger, signal }) => {
        logger.info("The service load balancer is disabled");
        await removeServiceLb({ client, namespace, logger, signal });
      })
      : serviceLb(options, parts),
    manifests(options, parts),
    helm(options, parts),
  ];
}

function serviceLb(options: ServerOptions, parts: ControllerParts): Controller {
  let running: ServiceLb | undefined;
  let settings: ServiceLbOptions | undefined;
  const controller = keepTrying("servicelb", parts, async (own) => {
    const ipMode = await detectIpMode(own);
    const serviceRanges = await findServiceRanges(own);
    // Who names an image, or a registry, wants it.
    const adoptPauseImage = options.pauseImage === PAUSE_IMAGE && options.systemDefaultRegistry === "";
    const found = {
      serviceRanges,
      adoptPauseImage,
      version: parts.version,
      ...(ipMode === undefined ? {} : { ipMode }),
    };
    settings = { ...options, ...found };
    running = startServiceLb({ ...own, options: settings });
    // Rejects only when it is stopped before.
    running.synced.then(own.onStarted, () => {});
    await running.done;
  });
  const problem = (): string | undefined => running?.isConnected === false ? "a watch is not open" : undefined;
  return {
    ...controller,
    problem: () => controller.problem() ?? problem(),
    serviceCounts: () => countServices(running?.snapshot().services ?? [], options),
    silentNodes: () => running?.silentNodes() ?? 0,
    answers: () => {
      if (running === undefined || settings === undefined) return undefined;
      const snapshot = running.snapshot();
      const answers = new Answers(snapshot, settings);
      return { nodes: snapshot.nodes, services: snapshot.services.map((service) => answers.about(service)) };
    },
  };
}

/** The folder and the packaged parts, which are files of it; CoreDNS's host names beside it. */
function manifests(options: ServerOptions, parts: ControllerParts): Controller {
  const { dataDir, disable, pruneDeletedManifests, repairManifests } = options;
  const repairIntervalMs = repairManifests ? REPAIR_INTERVAL_MS : 0;
  let staged: StagedPackaged | undefined;
  let running: RunningManifests | undefined;
  const controller = keepTrying("manifests", parts, async (own) => {
    const settings = { dataDir, disable, pruneDeletedManifests, repairIntervalMs, server: parts.server };
    // Chosen once: a second try must not say everything again.
    staged ??= await stagePackaged({ ...own, options });
    const { files: packagedFiles, nodeHosts: plan } = staged;
    const ended = new AbortController();
    const signal = AbortSignal.any([own.signal, ended.signal]);
    const nodeHosts = plan === undefined ? undefined : runNodeHosts({ ...own, signal, plan });
    try {
      running = startManifests({ ...own, options: settings, packagedFiles, isPackagedText, problemsOf: helmProblems });
      await running.done;
    } finally {
      running = undefined;
      ended.abort();
      await nodeHosts;
    }
  });
  return { ...controller, problem: () => running?.problem() ?? controller.problem() };
}

/** HelmCharts, but not if they are disabled, and not in clusters that have a Helm controller of their own built in: two would take charts from each other. */
function helm(options: ServerOptions, parts: ControllerParts): Controller {
  const { dataDir, helmJobImage, helmNamespaces: namespaces, helmClusterRole: clusterRole, clusterDomain } = options;
  return keepTrying("helm", parts, async (own) => {
    if (options.disable.includes("helm")) return await handBackCharts(own);
    const { gitVersion = "" } = await own.client.raw<{ readonly gitVersion?: string }>("GET", "/version", own);
    if (BUILT_IN_HELM_REGEXP.test(gitVersion)) {
      own.logger.info("HelmCharts are left to the cluster's own Helm controller", { version: gitVersion });
      return await handBackCharts(own);
    }
    await runHelm({ ...own, options: { dataDir, helmJobImage, namespaces, clusterRole, clusterDomain } });
  });
}

/** Runs `run` to its end; after a failure says why, once for each reason in a row, and tries again. */
function keepTrying(name: string, parts: ControllerParts, run: (own: OwnParts) => Promise<void>): Controller {
  const { clock, signal } = parts;
  let problem: string | undefined = STARTING;
  let told: string | undefined;
  const logger = parts.logger.with({ part: name });
  const onStarted = (): void => {
    if (told !== undefined) logger.info("This part runs now");
    problem = told = undefined;
  };
  const own = { ...parts, logger, onStarted };
  const work = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await run(own);
        return onStarted();
      } catch (error) {
        if (signal.aborted) return;
        problem = errorMessage(error);
        if (problem !== told) own.logger.error(`Cannot run this part: ${problem}`, { hint: errorHint(error) });
        told = problem;
        await pause(clock, RETRY_MS, signal);
      }
    }
  };
  return { name, problem: () => problem, done: work().then(() => aborted(signal)) };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const BUILT_IN_HELM_REGEXP = /\+(k3s|rke2)/;
/** Whoever waits for others has not failed, and does nothing yet. */
const STARTING = "it has not started yet";
const RETRY_MS = 10_000;
const REPAIR_INTERVAL_MS = 600_000;
