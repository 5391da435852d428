// A local HTTP(S) server that answers as a test says, and a client for it whose waits between retries take no time.
import assert from "node:assert/strict";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { createKubeClient, type KubeClientOptions } from "../../../../core/kube/client.ts";
import type { ClusterAccess, Credentials } from "../../../../core/kube/access/cluster_access.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";

/** A request as the server saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** A running server. */
export interface LocalApi extends AsyncDisposable {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  readonly connections: number;
  /** Of them, those that stand now. */
  readonly openConnections: number;
}

/** Answers one request. */
export type Answer = (request: SeenRequest, response: http.ServerResponse) => void;

/** Starts a server on a free port of 127.0.0.1. */
export async function startLocalApi(answer: Answer, tls?: https.ServerOptions): Promise<LocalApi> {
  const seen: SeenRequest[] = [];
  let connections = 0;
  let openConnections = 0;
  const handle = (request: http.IncomingMessage, response: http.ServerResponse): void => {
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const one = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      };
      seen.push(one);
      answer(one, response);
    });
  };
  const server = tls === undefined ? http.createServer(handle) : https.createServer(tls, handle);
  server.on(tls === undefined ? "connection" : "secureConnection", (socket: Socket) => {
    connections++;
    openConnections++;
    socket.once("close", () => openConnections--);
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`,
    seen,
    get connections() {
      return connections;
    },
    get openConnections() {
      return openConnections;
    },
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Sends JSON. */
export function sendJson(response: http.ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

/** A `Status` as the API sends it. */
export function statusBody(code: number, reason: string, message: string): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message };
}

/** Access to `server` with fixed credentials. */
export function accessTo(
  server: string,
  credentials: Credentials = {},
  more: Partial<ClusterAccess> = {},
): ClusterAccess {
  return {
    source: "test",
    server,
    insecureSkipTlsVerify: false,
    namespace: "default",
    impersonationHeaders: [],
    credentials: () => Promise.resolve(credentials),
    ...more,
  };
}

/** The system's clock whose sleeps take no time. */
export const IMPATIENT_CLOCK: Clock = {
  ...SYSTEM_CLOCK,
  sleep: () => Promise.resolve(),
};

/** A client that is closed at the end of its scope. */
export function openClient(
  access: ClusterAccess,
  options: Partial<KubeClientOptions> = {},
): KubeClient & Disposable {
  const client = createKubeClient({ access, clock: IMPATIENT_CLOCK, ...options });
  return Object.assign(client, { [Symbol.dispose]: () => client.close() });
}

/** What `work` fails with. */
export async function failureOf(work: Promise<unknown>): Promise<K3slbError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof K3slbError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it did not fail" });
}

/** All items of a stream. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
