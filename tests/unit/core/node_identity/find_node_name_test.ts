// What is asked of the API server to learn the node's name, and what its refusals mean.
import assert from "node:assert/strict";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { statusError } from "../../../../core/kube/errors.ts";
import { findNodeName, type FindNodeNameOptions } from "../../../../core/node_identity/find_node_name.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { isK3slbError } from "../../../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";

interface ServerState {
  /** User name that the review tells, or the status that it fails with. */
  readonly user: string | number;
  readonly nodes: readonly string[];
  /** Node that may be read by its own identity; absent: all may be read and listed. */
  readonly ownNode?: string;
  /** Reviews that fail before one succeeds. */
  readonly outages?: number;
}

function clientOf(state: ServerState, requests: string[]): KubeClient {
  let outages = state.outages ?? 0;
  const refuse = (verb: string, httpStatus: number): never => {
    throw statusError({}, { action: { verb, resource: "nodes" }, httpStatus });
  };
  const calls = {
    raw: () => {
      requests.push("review");
      if (outages-- > 0) return refuse("create", 503);
      if (typeof state.user === "number") return refuse("create", state.user);
      return { status: { userInfo: { username: state.user } } };
    },
    get: (_: unknown, { name }: { name: string }) => {
      requests.push(`get ${name}`);
      if (state.ownNode !== undefined && name !== state.ownNode) return refuse("get", 403);
      if (!state.nodes.includes(name)) return refuse("get", 404);
      return { metadata: { name } };
    },
    list: () => {
      requests.push("list");
      if (state.ownNode !== undefined) return refuse("list", 403);
      const items = state.nodes.map((name) => ({
        metadata: { name },
        status: { nodeInfo: { machineID: `id-of-${name}`, systemUUID: "" }, addresses: [] },
      }));
      return { items, resourceVersion: "1" };
    },
  };
  return new Proxy({} as KubeClient, {
    get: (_, method) => (...args: [unknown, { name: string }]) =>
      Promise.resolve().then(() => calls[method as keyof typeof calls](...args)),
  });
}

interface Case {
  readonly name: string;
  readonly server: ServerState;
  readonly options?: Partial<FindNodeNameOptions>;
  readonly hostName?: string;
  readonly want: string;
  readonly requests: readonly string[];
}

const CASES: readonly Case[] = [
  {
    name: "a flag needs no review",
    server: { user: "admin", nodes: ["n1"] },
    options: { flag: "n1" },
    want: "n1",
    requests: ["get n1"],
  },
  {
    name: "a node's identity knows its name in two requests",
    server: { user: "system:node:n1", nodes: ["n1"], ownNode: "n1" },
    want: "n1",
    requests: ["review", "get n1"],
  },
  {
    name: "an administrator's credentials leave it to the host",
    server: { user: "kubernetes-admin", nodes: ["host"] },
    want: "host",
    requests: ["review", "get host"],
  },
  {
    name: "a host name without a Node leads to the machine's Node",
    server: { user: "kubernetes-admin", nodes: ["n1", "n2"] },
    hostName: "unknown",
    want: "n2",
    requests: ["review", "get unknown", "list"],
  },
  {
    name: "a server without reviews",
    server: { user: 404, nodes: ["host"] },
    want: "host",
    requests: ["review", "get host"],
  },
  {
    name: "nobody may say whether the host name has a Node",
    server: { user: 403, nodes: [], ownNode: "other" },
    want: "host",
    requests: ["review", "get host", "list"],
  },
  {
    name: "an API server that is away for a moment is waited for",
    server: { user: "system:node:n1", nodes: ["n1"], ownNode: "n1", outages: 2 },
    want: "n1",
    requests: ["review", "review", "review", "get n1"],
  },
  {
    name: "the server asks for no Node",
    server: { user: "kubernetes-admin", nodes: [] },
    options: { role: "server" },
    want: "host",
    requests: ["review"],
  },
];

for (const { name, server, options, hostName, want, requests } of CASES) {
  Deno.test(`findNodeName: ${name}`, async () => {
    const seen: string[] = [];
    const identity = await findNodeName(optionsFor(clientOf(server, seen), { hostName, options }));
    assert.equal(identity.name, want);
    assert.deepEqual(seen, requests);
  });
}

Deno.test("findNodeName: a given name without a Node fails with close names", async () => {
  const client = clientOf({ user: "admin", nodes: ["worker-1"] }, []);
  await assert.rejects(findNodeName(optionsFor(client, { options: { flag: "worker-2" } })), (error) => {
    assert.ok(isK3slbError(error, "node-name-unknown"));
    assert.match(error.hint ?? "", /worker-1/);
    return true;
  });
});

Deno.test("findNodeName: a name that is not valid fails before anything is asked", async () => {
  const seen: string[] = [];
  const client = clientOf({ user: "admin", nodes: [] }, seen);
  await assert.rejects(findNodeName(optionsFor(client, { options: { env: "my_node" } })), {
    code: "node-name-unknown",
  });
  assert.deepEqual(seen, []);
});

interface Given {
  readonly hostName?: string | undefined;
  readonly options?: Partial<FindNodeNameOptions> | undefined;
}

function optionsFor(client: KubeClient, { hostName, options }: Given): FindNodeNameOptions {
  return {
    role: "agent",
    client,
    host: { hostName: hostName ?? "host", machineId: "id-of-n2", systemUuid: "", addresses: [] },
    clock: { ...SYSTEM_CLOCK, sleep: () => Promise.resolve() },
    logger: SILENT_LOGGER,
    signal: new AbortController().signal,
    ...options,
  };
}
