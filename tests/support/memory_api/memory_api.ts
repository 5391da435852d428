// An API server that keeps everything in memory and answers as a real one does, for tests and the demo. Kubelets are not
// part of it: they talk to it over HTTP, as they would to a real one.
import { createServer as createHttpServer, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { type CertificateAuthority, renderKubeconfig } from "../certificates.ts";
import { Api } from "./api.ts";
import { groupsOf, tokenOf, type User } from "./authentication.ts";
import { type ControllerName, startControllers } from "./controllers/controllers.ts";
import { Faults } from "./faults.ts";
import { HttpHandler } from "./http_handler.ts";
import { RequestCounts } from "./request_counts.ts";
import { ResourceTable, storeKey } from "./resources.ts";
import { DEFAULT_SERVICE_RANGES, type ServiceRanges } from "./service_allocation.ts";
import { DEFAULT_HISTORY_LENGTH, Store } from "./store.ts";
import type { Watch } from "./watch.ts";

/** What {@linkcode startMemoryApi} takes. */
export interface MemoryApiOptions {
  /** @default {"127.0.0.1"} */
  readonly host?: string;
  /**
   * `0` takes a free one.
   * @default {0}
   */
  readonly port?: number;
  /** Serve HTTPS with a certificate of this authority and accept its client certificates; plain HTTP if absent. */
  readonly authority?: CertificateAuthority;
  /** Bearer tokens besides those in {@linkcode MemoryApi.kubeconfig}. */
  readonly tokens?: ReadonlyMap<string, User>;
  /** Which controllers run; all if absent. */
  readonly controllers?: readonly ControllerName[];
  /** Time without a Lease renewal after which a node is Unknown, in milliseconds; never if absent. */
  readonly nodeGraceMs?: number;
  /** Changes kept for watches that start in the past. */
  readonly historyLength?: number;
  /**
   * Milliseconds between bookmarks of a watch.
   * @default {60000}
   */
  readonly bookmarkIntervalMs?: number;
  readonly serviceRanges?: ServiceRanges;
  /** @default {() => new Date()} */
  readonly now?: () => Date;
}

/** A running server. */
export interface MemoryApi {
  readonly url: string;
  /** Certificate of the authority, if HTTPS is served. */
  readonly ca: string | undefined;
  /** Requests by user, verb and resource. */
  readonly requests: RequestCounts;
  /** What shall go wrong. */
  readonly faults: Faults;
  /** Objects and history, for tests that look inside. */
  readonly store: Store;
  /** Reads and writes without HTTP and without authorization. */
  readonly api: Api;
  /** Kubeconfig text for a user; groups follow from the name (`admin`, `system:node:NAME`, service accounts). */
  kubeconfig(user: string): Promise<string>;
  /** Bearer token for a user. */
  token(user: string): string;
  /** Cuts every connection, also those of watches. */
  closeConnections(): void;
  /** Ends every watch with 410 and forgets history. */
  expireWatches(): void;
  /** Safe to call twice. */
  stop(): Promise<void>;
}

const NAMESPACES = ["default", "kube-node-lease", "kube-public", "kube-system"];
const DEFAULT_BOOKMARK_INTERVAL_MS = 60_000;
/** For how long a connection may be without a request, as kube-apiserver has it (k8s.io/apiserver, secure_serving.go). */
const KEEP_ALIVE_MS = 90_000;

/** Namespaces and priority classes that every cluster has. */
export function addFirstObjects(api: Api): void {
  const namespaces = api.resources.find("", "v1", "namespaces");
  const services = api.resources.find("", "v1", "services");
  const classes = api.resources.find("scheduling.k8s.io", "v1", "priorityclasses");
  if (namespaces === undefined || services === undefined || classes === undefined) return;
  for (const name of NAMESPACES) {
    api.putRaw(namespaces, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
      spec: { finalizers: ["kubernetes"] },
      status: { phase: "Active" },
    });
  }
  for (
    const [name, value] of [["system-cluster-critical", 2_000_000_000], [
      "system-node-critical",
      2_000_001_000,
    ]] as const
  ) {
    api.putRaw(classes, {
      apiVersion: "scheduling.k8s.io/v1",
      kind: "PriorityClass",
      metadata: { name, generation: 1 },
      value,
      preemptionPolicy: "PreemptLowerPriority",
    });
  }
}

/** Has the kinds of CustomResourceDefinitions served while these are there. */
export function serveDefinitions({ store, resources }: Api): void {
  store.subscribe((event) => {
    if (event.resource !== CRDS) return;
    if (event.type === "DELETED") resources.undefine(event.object.metadata.name);
    else resources.define(event.object);
  });
}

function fileNameOf(user: string): string {
  return `client-${user.replaceAll(/[^A-Za-z0-9-]/g, "_")}`;
}

/** Kubeconfig with a bearer token inside. */
function renderTokenKubeconfig(server: string, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "memory", cluster: { server } }],
    users: [{ name: "user", user: { token } }],
    contexts: [{ name: "memory", context: { cluster: "memory", user: "user" } }],
    "current-context": "memory",
  });
}

/** Starts a server that is ready when the promise resolves. */
export async function startMemoryApi(options: MemoryApiOptions = {}): Promise<MemoryApi> {
  const host = options.host ?? "127.0.0.1";
  const { authority } = options;
  const store = new Store(options.historyLength ?? DEFAULT_HISTORY_LENGTH);
  const resources = new ResourceTable();
  const now = options.now ?? ((): Date => new Date());
  const api = new Api({ store, resources, now, serviceRanges: options.serviceRanges ?? DEFAULT_SERVICE_RANGES });
  serveDefinitions(api);
  addFirstObjects(api);

  const faults = new Faults();
  const requests = new RequestCounts();
  const watches = new Set<Watch>();
  const handler = new HttpHandler({
    api,
    faults,
    counts: requests,
    watches,
    tokens: options.tokens ?? new Map(),
    bookmarkIntervalMs: options.bookmarkIntervalMs ?? DEFAULT_BOOKMARK_INTERVAL_MS,
  });
  const server = await makeServer(handler, { authority, host });
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client that went away is no failure of the server.
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const url = `${authority === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
  const stopControllers = startControllers(api, {
    counts: requests,
    ...(options.controllers === undefined ? {} : { only: options.controllers }),
    ...(options.nodeGraceMs === undefined ? {} : { nodeGraceMs: options.nodeGraceMs }),
  });

  let stopped: Promise<void> | undefined;
  const closeConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url,
    ca: authority?.ca,
    requests,
    faults,
    store,
    api,
    kubeconfig: async (user) => {
      if (authority === undefined) return renderTokenKubeconfig(url, tokenOf(user));
      const request = { file: fileNameOf(user), commonName: user, organizations: groupsOf(user) };
      return renderKubeconfig(url, authority.ca, await authority.issue(request));
    },
    token: tokenOf,
    closeConnections,
    expireWatches: () => {
      store.compact();
      for (const watch of [...watches]) watch.fail();
    },
    stop: () =>
      stopped ??= (async () => {
        stopControllers();
        for (const watch of [...watches]) watch.end();
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        closeConnections();
        await closed;
      })(),
  };
}

const CRDS = storeKey({ group: "apiextensions.k8s.io", plural: "customresourcedefinitions" });

async function makeServer(
  handler: HttpHandler,
  options: { authority: CertificateAuthority | undefined; host: string },
): Promise<Server> {
  const { authority, host } = options;
  const connections = { keepAliveTimeout: KEEP_ALIVE_MS };
  if (authority === undefined) {
    return createHttpServer(connections, (request, response) => void handler.handle(request, response));
  }
  const certificate = await authority.issue({
    file: "memory-api",
    commonName: "kube-apiserver",
    hosts: [...new Set([host, "127.0.0.1", "localhost"])],
  });
  return createHttpsServer(
    {
      ...connections,
      key: certificate.key,
      cert: certificate.cert,
      ca: authority.ca,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => void handler.handle(request, response),
  );
}
