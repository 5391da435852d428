// An API server that is slow, answers by halves, forbids, forgets history: the state of the world is right in the end.
import { equal, ok } from "node:assert/strict";
import { isNotFound } from "../../core/kube/errors.ts";
import { SERVICES } from "../../core/kube/resources.ts";
import { SERVICE_FINALIZER } from "../../core/service/labels.ts";
import type { Fault } from "../support/memory_api/faults.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_USER } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { worldSuite } from "../support/world_suite.ts";

const MEMORY_ONLY = { only: { kind: "memory", reason: "faults on order need the in-memory API server" } } as const;

const FAULTS: readonly { readonly name: string; readonly fault: Fault }[] = [
  {
    name: "every answer to the server comes 300 ms late",
    fault: { user: SERVER_USER, effect: { type: "delay", ms: 300 } },
  },
  {
    name: "the server's next 5 answers are cut in the middle",
    fault: { user: SERVER_USER, effect: { type: "half-answer" }, times: 5 },
  },
  {
    name: "the server's next 5 connections are closed",
    fault: { user: SERVER_USER, effect: { type: "close" }, times: 5 },
  },
  {
    name: "the server's next 5 writes get 500",
    fault: {
      user: SERVER_USER,
      verb: "patch",
      effect: { type: "status", code: 500, reason: "InternalError" },
      times: 5,
    },
  },
  {
    name: "the server's next 5 requests get 429",
    fault: {
      user: SERVER_USER,
      effect: { type: "status", code: 429, reason: "TooManyRequests", retryAfterSeconds: 1 },
      times: 5,
    },
  },
  {
    name: "an agent's next 5 gate writes get 409",
    fault: {
      user: "system:node:node1",
      verb: "patch",
      resource: "pods/status",
      effect: { type: "status", code: 409, reason: "Conflict" },
      times: 5,
    },
  },
];

/** Waits until the Service web says that something about DaemonSets fails. */
async function waitForWarning(ns: TestNamespace): Promise<void> {
  await waitUntil("a Warning with the reason", async () => {
    const events = await ns.events("web");
    return events.some(({ type, message }) => type === "Warning" && /daemonsets/.test(message ?? ""));
  });
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  for (const { name, fault } of FAULTS) {
    test(`${name}: the Service is served all the same`, async ({ world, ns }) => {
      const port = world.port();
      await ns.createApp({ name: "web", nodes: ["node1"] });
      let uses = 0;
      const end = world.api.addFault({ ...fault, onUse: () => uses++ });
      try {
        await ns.createService({ name: "web", ports: [port] });
        await ns.waitForIngress("web", world.nodeIps, 40_000);
        await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node2").ip4, port });
        await waitUntil("a request to meet the fault", () => uses > 0);
      } finally {
        end();
      }
    }, MEMORY_ONLY);
  }

  test("every watch ends with 410 Gone while Services change: nothing is missed", async ({ world, ns }) => {
    for (let i = 0; i < 3; i++) {
      const name = `web${i}`;
      await ns.createService({ name, ports: [world.port()] });
      world.api.expireWatches();
      await ns.waitForIngress(name, world.nodeIps, 40_000);
    }
    await ns.deleteService("web0");
    await waitUntil("its DaemonSet to be gone", async () => (await ns.daemonSets("web0")).length === 0);
  }, MEMORY_ONLY);

  test(
    "DaemonSets are forbidden: the Service is served and says so, and has its DaemonSet when they are allowed",
    async ({ world, ns }) => {
      const end = world.api.addFault({
        user: SERVER_USER,
        resource: "daemonsets",
        verb: "patch",
        effect: { type: "forbid" },
      });
      try {
        await ns.createService({ name: "web", ports: [world.port()] });
        await ns.waitForIngress("web", world.nodeIps);
        await waitForWarning(ns);
      } finally {
        end();
      }
      await ns.daemonSet("web");
    },
    MEMORY_ONLY,
  );

  test(
    "DaemonSets can't be deleted: a deleted Service stays with its finalizer until they can",
    async ({ world, ns }) => {
      await ns.createService({ name: "web", ports: [world.port()] });
      await ns.waitForIngress("web", world.nodeIps);
      await ns.daemonSet("web");
      const end = world.api.addFault({
        user: SERVER_USER,
        resource: "daemonsets",
        verb: "delete",
        effect: { type: "forbid" },
      });
      try {
        await world.admin.delete(SERVICES, { namespace: ns.name, name: "web" });
        await waitForWarning(ns);
        ok((await ns.service("web")).metadata?.finalizers?.includes(SERVICE_FINALIZER));
        equal((await ns.daemonSets("web")).length, 1);
      } finally {
        end();
      }
      await waitUntil("Service and DaemonSet to be gone", async () => {
        const gone = await ns.service("web").then(() => false, (error: unknown) => isNotFound(error));
        return gone && (await ns.daemonSets("web")).length === 0;
      }, { deadlineMs: 60_000 });
    },
    MEMORY_ONLY,
  );
}
