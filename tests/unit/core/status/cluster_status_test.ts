// What a status says of nodes, from the Nodes themselves and from what a server keeps of them.
import { deepEqual } from "node:assert/strict";
import type { Node } from "../../../../core/kube/types.ts";
import { FORWARDING_CONDITION } from "../../../../core/service/labels.ts";
import { clusterStatus, hasProblem, onlyProblems } from "../../../../core/status/cluster_status.ts";

const NOW_MS = Date.parse("2026-01-01T00:10:00Z");

/** A node whose agent wrote `heartbeat` so many seconds ago. */
function node(
  name: string,
  heartbeat?: { status: string; reason: string; message: string; secondsAgo?: number },
): Node {
  const ready = { type: "Ready", status: "True" };
  if (heartbeat === undefined) return { metadata: { name }, status: { conditions: [ready] } };
  const { secondsAgo = 30, ...words } = heartbeat;
  const lastHeartbeatTime = new Date(NOW_MS - secondsAgo * 1000).toISOString();
  const condition = { type: FORWARDING_CONDITION, lastHeartbeatTime, ...words };
  return { metadata: { name }, status: { conditions: [ready, condition] } } as Node;
}

Deno.test("clusterStatus: a node forwards, does not and why, is silent, has no agent or is not Ready; a server keeps no words of it", () => {
  const well = { status: "True", reason: "Forwarding", message: "2 ports; agent 1.0.0, nft, instance a1" };
  const bad = { status: "False", reason: "IptablesFailed", message: "no lock; agent 1.0.0, nft, instance a1" };
  const status = clusterStatus({
    lease: undefined,
    nodes: [
      node("a-well", well),
      node("b-bad", bad),
      node("c-silent", { ...well, secondsAgo: 241 }),
      node("d-none"),
      { metadata: { name: "e-dead" }, status: { conditions: [{ type: "Ready", status: "Unknown" }] } },
      node("f-kept", { ...well, message: "instance a1" }),
      node("g-kept", { status: "False", reason: "", message: "instance a1" }),
    ],
    services: [],
    charts: [],
    addOns: [],
    nowMs: NOW_MS,
  });
  deepEqual(status.nodes.map(({ name, state, message, problem }) => [name, state, message, problem]), [
    ["a-well", "Forwarding", well.message, false],
    ["b-bad", "IptablesFailed", bad.message, true],
    ["c-silent", "Silent", "its agent was last heard 241 s ago", true],
    ["d-none", "NoAgent", "no k3slb agent has been heard of there", false],
    ["e-dead", "NotReady", "the node is not Ready", true],
    ["f-kept", "Forwarding", "", false],
    ["g-kept", "NotForwarding", "kubectl describe node g-kept says why", true],
  ]);
  deepEqual(onlyProblems(status).nodes.map(({ name }) => name), ["b-bad", "c-silent", "e-dead", "g-kept"]);
  deepEqual([hasProblem(status), hasProblem({ ...status, nodes: [] })], [true, false]);
});
