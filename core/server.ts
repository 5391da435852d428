// The server's life: waits for the API server, waits to be the leader, lets the controllers run, ends with the signal. Which controllers there
// are is in controllers.ts.
import { randomBytes } from "node:crypto";
import { type Controller, startControllers } from "./controllers.ts";
import type { KubeClient } from "./kube/contract.ts";
import { createEventRecorder, type EventRecorder } from "./kube/events.ts";
import { runLeaderElection } from "./kube/lease.ts";
import { findNodeName } from "./node_identity/find_node_name.ts";
import { readHostFacts } from "./node_identity/host_facts.ts";
import { givenAs, givenNodeName } from "./node_identity/resolve_node_name.ts";
import { type Clock, pause } from "./runtime/clock.ts";
import type { ServeHealth } from "./runtime/health.ts";
import { createMetricRegistry, type MetricRegistry } from "./runtime/metrics.ts";
import { createQueueMetrics, type ObserveQueue } from "./runtime/queue_metrics.ts";
import type { ServerOptions } from "./server_options.ts";
import { ELECTION_LEASE_NAME } from "./service/labels.ts";
import { errorHint, errorMessage, isAbort, isK3slbError } from "./shared/errors.ts";
import { clusterStatus } from "./status/cluster_status.ts";
import { readOthers } from "./status/read_status.ts";
import type { PageFacts } from "./status/render_page.ts";
import { createStatusPage } from "./status/status_page.ts";
import type { Logger } from "./shared/log.ts";

/** The server's surroundings. Beside them it reads and watches its manifests folder, and reads what tells this host from others. */
export interface ServerParts {
  /** Whoever made it closes it. */
  readonly client: KubeClient;
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /** Where log lines go. */
  readonly logger: Logger;
  /** Ends the server. What it made stays. */
  readonly signal: AbortSignal;
  /** The process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Version of the program, for logs and signatures. */
  readonly version: string;
  /**
   * Where it counts.
   * @default {createMetricRegistry()}
   */
  readonly metrics?: MetricRegistry;
  /** Absent: nobody can ask for health and metrics. */
  readonly serveHealth?: ServeHealth;
  /** Called once, when the API server has answered. */
  readonly notifyReady?: (status: string) => void;
}

/**
 * Runs the server until `parts.signal` is aborted. Several may run: the holder of the Lease works, the others wait.
 *
 * @throws {K3slbError} if the given node name can't be one, or the address for metrics is none; an API server that is away is waited for
 */
export async function runServer(options: ServerOptions, parts: ServerParts): Promise<void> {
  const { logger, signal, metrics = createMetricRegistry() } = parts;
  logger.info("Server starts", { version: parts.version });
  try {
    await new Server(options, { ...parts, metrics }).run();
  } catch (error) {
    // Whatever was under way when the signal came ends with an abort; that is an end in order.
    if (!signal.aborted || !isAbort(error)) throw error;
  } finally {
    logger.info("Server stops; Services go on being served");
  }
}

interface LeadingParts {
  readonly events: EventRecorder;
  /** Aborted when this server is no longer the active one. */
  readonly signal: AbortSignal;
}

interface RunningParts extends ServerParts {
  readonly metrics: MetricRegistry;
}

class Server {
  readonly #options: ServerOptions;
  readonly #parts: RunningParts;
  #controllers: readonly Controller[] = [];
  #isAnswered = false;
  #isLeading = false;
  readonly #observeQueue: ObserveQueue;

  constructor(options: ServerOptions, parts: RunningParts) {
    this.#options = options;
    this.#parts = parts;
    this.#observeQueue = createQueueMetrics(parts.metrics);
  }

  async run(): Promise<void> {
    const { client, clock, logger, signal, metrics } = this.#parts;
    metrics.gaugeOf(
      { name: "k3slb_server_leading", help: "1 while this server is the active one." },
      () => Number(this.#isLeading),
    );
    metrics.gaugeOf(
      { name: "k3slb_silent_nodes", help: "Nodes that answered before and have stopped answering." },
      () => this.#controllers.reduce((sum, { silentNodes }) => sum + (silentNodes?.() ?? 0), 0),
    );
    metrics.gaugeOf(
      {
        name: "k3slb_services",
        help: "Services of this load balancer by what their condition says; none on a server that waits.",
      },
      () =>
        this.#controllers.flatMap((controller) => controller.serviceCounts?.() ?? [])
          .map(({ served, reason, count }) => [{ served, reason }, count] as const),
    );
    // A name that can't be one is said at once, not when the API server answers.
    givenNodeName(this.#givenNames());
    const health = await this.#startHealth();
    await this.#waitForApi();
    const host = await this.#findHostName();
    const events = createEventRecorder({ client, component: "k3slb", host, clock, logger });
    try {
      if (this.#options.leaderElect) await this.#elect(host, events);
      else await this.#lead(host, { events, signal });
    } finally {
      await events.flush(AbortSignal.timeout(FLUSH_MS));
    }
    await health.done;
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
      lead: (leading) => this.#lead(host, { events, signal: leading }),
      onLeader: (holder) => {
        logger.info(`${holder === identity ? "This" : "Another"} server is the active one`, { holder });
      },
    });
  }

  /** The name under which this server signs; unlike the agent's it needs no Node. */
  async #findHostName(): Promise<string> {
    const { client, clock, logger, signal } = this.#parts;
    const host = await readHostFacts();
    const given = this.#givenNames();
    const { name } = await findNodeName({ role: "server", client, ...given, host, clock, logger, signal });
    return name;
  }

  #givenNames(): ReturnType<typeof givenAs> {
    return givenAs(this.#options.nodeName, this.#parts.env);
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
        const hint = errorHint(error);
        if (message !== told) {
          logger.error("The API server does not answer as it should; it is tried again", { error: message, hint });
        }
        told = message;
        await pause(clock, API_RETRY_MS, signal);
      }
    }
  }

  async #lead(host: string, parts: LeadingParts): Promise<void> {
    this.#isLeading = true;
    try {
      this.#controllers = startControllers(this.#options, {
        ...this.#parts,
        ...parts,
        observeQueue: this.#observeQueue,
        server: host,
      });
      await Promise.all(this.#controllers.map(({ done }) => done));
    } finally {
      this.#controllers = [];
      this.#isLeading = false;
    }
  }

  async #startHealth(): Promise<{ readonly done: Promise<void> }> {
    const { metrics, serveHealth, clock, logger } = this.#parts;
    if (serveHealth === undefined) return { done: Promise.resolve() };
    // Any user of the host may have the port first: that keeps nobody's Services waiting.
    const goOn = (error: unknown): { readonly done: Promise<void> } => {
      if (!isK3slbError(error, "metrics-address-unusable")) throw error;
      logger.error("Health, metrics and the page can't be served; everything else goes on", {
        error: error.message,
        hint: error.hint,
      });
      return { done: Promise.resolve() };
    };
    return await serveHealth({
      checks: [
        {
          name: "api",
          kind: "ready",
          problem: () => this.#isAnswered ? undefined : "the API server has not answered yet",
        },
        { name: "controllers", kind: "ready", problem: () => this.#problems() },
      ],
      renderMetrics: () => metrics.render(),
      page: createStatusPage({
        read: () => this.#readPage(),
        clock,
        onFailure: (error) => logger.debug("The page can't be brought up to date", { error: errorMessage(error) }),
      }),
    }).catch(goOn);
  }

  async #readPage(): Promise<PageFacts> {
    const { client, clock, signal, version } = this.#parts;
    const found = this.#controllers.flatMap(({ answers }) => answers?.() ?? [])[0];
    const { nodes, services } = found ?? { nodes: [], services: [] };
    const isLeading = this.#isLeading;
    const others = isLeading
      ? await readOthers(client, { namespace: this.#options.servicelbNamespace, signal })
      : { lease: undefined, charts: [], addOns: [] };
    const status = clusterStatus({ ...others, nodes, services, nowMs: clock.now() });
    return { version, isLeading, status, answers: services };
  }

  #problems(): string | undefined {
    const problems = this.#controllers.flatMap(({ name, problem }) => {
      const text = problem();
      return text === undefined ? [] : [`${name}: ${text}`];
    });
    return problems.length === 0 ? undefined : problems.join("; ");
  }
}

const INSTANCE_BYTES = 4;
const FLUSH_MS = 2_000;
const API_RETRY_MS = 2_000;
