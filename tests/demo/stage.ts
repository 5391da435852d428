// What scenes act on: the world, the demo's namespace in it, and what all of them ask: who answers, whose address is this.
import type { Service } from "../../core/kube/types.ts";
import { SERVICES } from "../../core/kube/resources.ts";
import { SERVED_CONDITION } from "../../core/service/labels.ts";
import type { PeerAnswer } from "../support/netns.ts";
import type { World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { expect } from "./story.ts";

/** The stage; numbers for the closing line are counted on it. */
export interface Stage {
  readonly world: World;
  readonly ns: TestNamespace;
  /** The server's manifests folder. */
  readonly manifestsDir: string;
  /** Names of the Services that scenes made, in the order of their creation. */
  readonly serviceNames: string[];
  readonly counts: { answers: number };
}

/** An address and port of a Service. */
export interface Target {
  readonly protocol: "tcp" | "udp";
  readonly ip: string;
  readonly port: number;
}

/** Who answered, and whose address that pod saw. */
export interface Answer {
  readonly server: string;
  readonly peer: string;
}

/** One connection (or datagram) of the client on the LAN, which must be answered. */
export async function ask(stage: Stage, target: Target): Promise<Answer> {
  const answer = await tryToAsk(stage, target);
  expect(answer.outcome === "answer", `${describeTarget(target)} gives "${answer.outcome}" instead of an answer`);
  return { server: answer.server, peer: answer.peer };
}

/** As {@linkcode ask}, and any outcome is one. */
export async function tryToAsk(stage: Stage, target: Target): Promise<PeerAnswer> {
  const answer = await stage.world.client.ns.request({ ...target, timeoutMs: TIMEOUT_MS });
  if (answer.outcome === "answer") stage.counts.answers++;
  return answer;
}

/** `172.30.0.11:80/TCP`. */
export function describeTarget({ ip, port, protocol }: Target): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}/${protocol.toUpperCase()}`;
}

/** The name of the machine that has an address: a node's, or `client`. */
export function whoIs(stage: Stage, ip: string): string {
  const { client, nodes } = stage.world;
  if (ip === client.ip4 || ip === client.ip6) return "client";
  const node = nodes.find(({ ip4, ip6 }) => ip === ip4 || ip === ip6);
  expect(node !== undefined, `nobody on the LAN has the address ${ip}`);
  return node.name;
}

/** The node that an app's pod is on, which its name says. */
export function nodeOfPod(stage: Stage, pod: string): string {
  const node = stage.world.nodes.find(({ name }) => pod.endsWith(`-${name}`));
  expect(node !== undefined, `the pod "${pod}" is on no node`);
  return node.name;
}

/** The demo's Services that are there, in the order of their creation. */
export async function listServices(stage: Stage): Promise<readonly Service[]> {
  const { items } = await stage.world.admin.list(SERVICES, { namespace: stage.ns.name });
  return stage.serviceNames.flatMap((name) => items.find(({ metadata }) => metadata?.name === name) ?? []);
}

/** The addresses in a Service's status. */
export function ingressIps(service: Service): readonly string[] {
  return (service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? "");
}

/** What a Service's condition says about being served. */
export function servedCondition(service: Service): { readonly status: string; readonly reason: string } {
  const found = service.status?.conditions?.find(({ type }) => type === SERVED_CONDITION);
  return { status: found?.status ?? "Unknown", reason: found?.reason ?? "" };
}

/** Where the client reaches a Service: its first port on each of `ips`. */
export function targetsOf(service: Service, ips: readonly string[]): readonly Target[] {
  const [port] = service.spec?.ports ?? [];
  expect(port !== undefined, `Service "${service.metadata?.name}" has no port`);
  return ips.map((ip) => ({ protocol: port.protocol === "UDP" ? "udp" : "tcp", ip, port: port.port }));
}

/** `120 ms`. */
export function milliseconds(ms: number): string {
  return `${Math.round(ms)} ms`;
}

/** How often scenes look while they measure a time. */
export const LOOK = { intervalMs: 5 } as const;

const TIMEOUT_MS = 1_500;
