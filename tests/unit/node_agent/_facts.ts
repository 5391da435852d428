// Facts for tests of the forwarding plan: a node with two interfaces, and what one Service with its pod adds.
import type { ForwardingFacts } from "../../../node_agent/loop/plan/forwarding_plan.ts";
import { parseReservedPorts } from "../../../node_agent/loop/plan/reserved_ports.ts";
import { endpoint, NODE, node, pod, service, slice } from "./_objects.ts";

/** A node without load balancers. */
export const EMPTY: ForwardingFacts = {
  nodeName: NODE,
  pods: [],
  services: [],
  slices: [],
  node: node(),
  interfaces: [
    { name: "eth0", addresses: ["192.0.2.1", "2001:db8::1"] },
    { name: "eth1", addresses: ["198.51.100.1"] },
  ],
  listeners: [],
  hostPods: new Map([["default/web-pod", []]]),
  reserved: parseReservedPorts(["22", "10250-10259/tcp"]),
  maxServiceRules: 100,
  allowPortOverride: false,
  programmed: new Set(),
};

/** One Service `web` with its pod. */
export function web(change: Parameters<typeof service>[1] = {}): Partial<ForwardingFacts> {
  return { pods: [pod("web")], services: [service("web", change)], slices: [slice("web", [endpoint("10.42.1.5")])] };
}

/** Conditions of an endpoint. */
export const READY = { ready: true };
/** Conditions of an endpoint. */
export const CLOSED = { ready: false };
/** Conditions of an endpoint. */
export const ENDING = { ready: false, serving: true, terminating: true };
