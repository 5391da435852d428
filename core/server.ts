// The server's wiring: builds the adapters, waits to be the leader, starts the controllers, ends with the signal.
// Nothing is decided here.
import { randomBytes } from "node:crypto";
import { createKubeClient } from "./kube/client.ts";
import type { KubeClient } from "./kube/contract.ts";
import { createEventRecorder, type EventRecorder } from "./kube/events.ts";
import { loadKubeconfig } from "./kube/kubeconfig.ts";
import { SERVER_KUBECONFIG_PATHS } from "./kube/kubeconfig_paths.ts";
import { runLeaderElection } from "./kube/lease.ts";
import { createRequestMetrics } from "./kube/request_metrics.ts";
import { findNodeName } from "./node_identity/find_node_name.ts";
import { readHostFacts } from "./node_identity/host_facts.ts";
import type { Clock } from "./runtime/clock.ts";
import { startHealthServer } from "./runtime/health.ts";
import { createMetricRegistry, type MetricRegistry } from "./runtime/metrics.ts";
import type { ServerOptions } from "./server_options.ts";
import { detectIpMode } from "./service_lb/kube_proxy_mode.ts";
import { ELECTION_LEASE_NAME } from "./service_lb/labels.ts";
import { removeServiceLb } from "./service_lb/remove_service_lb.ts";
import { startServiceLb } from "./service_lb/service_lb_controller.ts";
import { errorMessage, isAbort, isK3slbError } from "./shared/errors.ts";
import type { Logger } from "./shared/log.ts";

/** The server's surroundings. */
export interface ServerParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the server. What it made stays. */
  readonly signal: AbortSignal;
  /** The process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Called once, when the API server has answered. */
  readonly notifyReady?: (status: string) => void;
}

/**
 * Runs the server until `parts.signal` is aborted. Several may run: the holder of the Lease works, the others wait.
 *
 * @throws {K3slbError} if the kubeconfig or the metrics address can't be used; an API server that is away is waited for
 */
export async function runServer(options: ServerOptions, parts: ServerParts): Promise<void> {
  const { clock, logger } = parts;
  const access = await loadKubeconfig({
    ...(options.kubeconfig === undefined ? {} : { path: options.kubeconfig }),
    env: parts.env,
    defaultPaths: SERVER_KUBECONFIG_PATHS,
    clock,
  });
  const metrics = createMetricRegistry();
  const client = createKubeClient({
    access,
    clock,
    userAgent: `k3slb/${parts.version} server`,
    onRequest: createRequestMetrics(metrics),
  });
  logger.info("Server starts", { version: parts.version, cluster: access.server, kubeconfig: access.source });
  try {
    await new Server(options, { ...parts, client, metrics }).run();
  } finally {
    client.close();
    logger.info("Server stops; Services go on being served");
  }
}

interface RunningParts extends ServerParts {
  readonly client: KubeClient;
  readonly metrics: MetricRegistry;
}

/** A controller that runs until its signal is aborted. */
interface Running {
  readonly name: string;
  /** What is wrong with it now; `undefined` if nothing is. */
  readonly problem: () => string | undefined;
  readonly done: Promise<unknown>;
}

class Server {
  readonly #options: ServerOptions;
  readonly #parts: RunningParts;
  #running: readonly Running[] = [];
  #isAnswered = false;
  #isLeading = false;

  constructor(options: ServerOptions, parts: RunningParts) {
    this.#options = options;
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { client, clock, logger, signal, metrics } = this.#parts;
    metrics.gaugeOf(
      { name: "k3slb_server_leading", help: "1 while this server is the active one" },
      () => Number(this.#isLeading),
    );
    const health = await this.#startHealth();
    await this.#waitForApi();
    const host = await this.#findHostName();
    const events = createEventRecorder({ client, component: "k3slb", host, clock, logger });
    try {
      if (this.#options.leaderElect) await this.#elect(host, events);
      else await this.#lead(events, signal);
    } finally {
      await events.flush(AbortSignal.timeout(FLUSH_MS));
    }
    await health;
  }

  async #elect(host: string, events: EventRecorder): Promise<void> {
    const { client, clock, logger, signal } = this.#parts;
    // As Kubernetes' own components sign their Leases: the host and something that is new with each run.
    const identity = `${host}_${randomBytes(INSTANCE_BYTES).toString("hex")}`;
    await runLeaderElection({
      client,
      clock,
      logger,
      signal,
      namespace: this.#options.servicelbNamespace,
      name: ELECTION_LEASE_NAME,
      identity,
      lead: (leading) => this.#lead(events, leading),
      onLeader: (holder) => {
        logger.info(`${holder === identity ? "This" : "Another"} server is the active one`, { holder });
      },
    });
  }

  /** The name under which this server signs; unlike the agent's it needs no Node. */
  async #findHostName(): Promise<string> {
    const { client, clock, logger, signal } = this.#parts;
    const { nodeName } = this.#options;
    const given = nodeName === undefined ? {} : { flag: nodeName };
    const host = await readHostFacts();
    const { name } = await findNodeName({ role: "server", client, ...given, host, clock, logger, signal });
    return name;
  }

  /** Says once what is wrong while the API server can't be reached, and goes on trying. */
  async #waitForApi(): Promise<void> {
    const { client, clock, logger, signal, notifyReady } = this.#parts;
    let told = "";
    while (!signal.aborted) {
      try {
        const { gitVersion } = await client.raw<{ readonly gitVersion?: string }>("GET", "/version", { signal });
        this.#isAnswered = true;
        notifyReady?.(`Connected to Kubernetes ${gitVersion ?? "of unknown version"}`);
        return;
      } catch (error) {
        if (isAbort(error) || signal.aborted) return;
        const message = errorMessage(error);
        const hint = isK3slbError(error) ? error.hint : undefined;
        if (message !== told) {
          logger.error("The API server does not answer as it should; trying on", { error: message, hint });
        }
        told = message;
        await clock.sleep(API_RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #lead(events: EventRecorder, signal: AbortSignal): Promise<void> {
    this.#isLeading = true;
    try {
      this.#running = [await this.#startServiceLb(events, signal)];
      await Promise.all(this.#running.map(({ done }) => done));
    } finally {
      this.#running = [];
      this.#isLeading = false;
    }
  }

  async #startServiceLb(events: EventRecorder, signal: AbortSignal): Promise<Running> {
    const { client, clock, logger, metrics } = this.#parts;
    const log = logger.with({ part: "servicelb" });
    if (this.#options.disable.includes("servicelb")) {
      return { name: "servicelb", problem: () => undefined, done: this.#removeServiceLb(signal) };
    }
    const ipMode = await detectIpMode({ client, logger: log, signal });
    const running = startServiceLb({
      client,
      options: { ...this.#options, ...(ipMode === undefined ? {} : { ipMode }) },
      clock,
      logger: log,
      events,
      signal,
    });
    metrics.gaugeOf(
      { name: "k3slb_servicelb_queue_length", help: "Services that wait for a pass" },
      () => running.queueLength,
    );
    return {
      name: "servicelb",
      problem: () => running.isConnected ? undefined : "a watch is not open",
      done: running.done,
    };
  }

  /** Tried until it works: a removal that was cut short would leave addresses that nobody serves. */
  async #removeServiceLb(signal: AbortSignal): Promise<void> {
    const { client, clock, logger } = this.#parts;
    const log = logger.with({ part: "servicelb" });
    log.info("The service load balancer is disabled");
    while (!signal.aborted) {
      try {
        await removeServiceLb({ client, namespace: this.#options.servicelbNamespace, logger: log, signal });
        break;
      } catch (error) {
        if (signal.aborted) return;
        log.warn("Cannot remove the load balancer's objects; trying again", { error: errorMessage(error) });
        await clock.sleep(API_RETRY_MS, signal).catch(() => {});
      }
    }
    await aborted(signal);
  }

  /** Resolves when the health server is closed, at once if there is none. */
  async #startHealth(): Promise<{ readonly done: Promise<void> }> {
    const { signal, metrics } = this.#parts;
    if (this.#options.metricsAddress === "") return { done: Promise.resolve() };
    return await startHealthServer({
      address: this.#options.metricsAddress,
      checks: [
        {
          name: "api",
          kind: "ready",
          problem: () => this.#isAnswered ? undefined : "the API server has not answered yet",
        },
        { name: "controllers", kind: "ready", problem: () => this.#problems() },
      ],
      renderMetrics: () => metrics.render(),
      signal,
    });
  }

  #problems(): string | undefined {
    const problems = this.#running.flatMap(({ name, problem }) => {
      const text = problem();
      return text === undefined ? [] : [`${name}: ${text}`];
    });
    return problems.length === 0 ? undefined : problems.join("; ");
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

const INSTANCE_BYTES = 4;
const FLUSH_MS = 2_000;
const API_RETRY_MS = 2_000;
