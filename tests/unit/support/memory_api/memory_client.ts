// A few words to talk to an in-memory API server in its own tests.
import { type MemoryApi, type MemoryApiOptions, startMemoryApi } from "../../../support/memory_api/memory_api.ts";
import type { ApiObject } from "../../../support/memory_api/store.ts";

/** Sends one request as a user. */
export function ask(
  api: MemoryApi,
  method: string,
  request: { readonly path: string; readonly body?: unknown; readonly type?: string; readonly user?: string },
): Promise<Response> {
  return fetch(api.url + request.path, {
    method,
    headers: {
      authorization: `Bearer ${api.token(request.user ?? "admin")}`,
      "content-type": request.type ?? "application/json",
    },
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
  });
}

/** Creates an object and fails if the server refuses. */
export async function create(api: MemoryApi, path: string, body: unknown): Promise<ApiObject> {
  const response = await ask(api, "POST", { path, body });
  const text = await response.text();
  if (response.status !== 201) throw new Error(text);
  return JSON.parse(text) as ApiObject;
}

/** Runs `body` with a server that is stopped afterwards. */
export async function withMemoryApi(
  body: (api: MemoryApi) => Promise<void>,
  options: MemoryApiOptions = {},
): Promise<void> {
  const api = await startMemoryApi(options);
  try {
    await body(api);
  } finally {
    await api.stop();
  }
}

/** A node that is ready. */
export function readyNode(name: string, labels: Record<string, string> = {}): unknown {
  return { metadata: { name, labels }, status: { conditions: [{ type: "Ready", status: "True" }] } };
}

/** A DaemonSet that takes a port of each node. */
export function portSet(name: string, port: number, more: Record<string, unknown> = {}): unknown {
  const container = { name: "c", image: "example.com/pause:1", ports: [{ containerPort: port, hostPort: port }] };
  return {
    metadata: { name },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { hostNetwork: true, containers: [container], ...more } },
    },
  };
}
