// All that somebody may try who can make Services, EndpointSlices and pods in his own namespace, at once, and again and again.
import { CONFIG_MAPS, ENDPOINT_SLICES, PODS } from "../../core/kube/resources.ts";
import type { EndpointSlice, Pod, Service } from "../../core/kube/types.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import type { World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";

/** Names of Services that the attack makes, with what it takes to see that each is refused; the others are only a burden. */
export type Refusals = ReadonlyMap<string, RegExp>;

/** A text of `size` characters that no one has read before: what is remembered of the last one does not help. */
function fresh(part: string, size: number): string {
  return part.repeat(Math.ceil(size / part.length)).slice(0, size - turn++);
}

/** Valid ones, as the API server looks at them. */
function ranges(): string {
  return Array.from({ length: 18_000 - turn++ }, () => "10.0.0.0/8").join();
}

let turn = 0;

function hostileAnnotations(): Readonly<Record<string, Readonly<Record<string, string>>>> {
  return {
    loopback: { "k3slb.io/match-addresses": "127.0.0.53,127.0.0.1,::1" },
    lo: { "k3slb.io/match-interfaces": "lo" },
    mapped: { "k3slb.io/match-addresses": "::ffff:127.0.0.1" },
    commas: { "k3slb.io/resources": fresh(",", 250_000), "svccontroller.k3s.cattle.io/tolerations": "[]" },
    bomb: { "svccontroller.k3s.cattle.io/tolerations": `[&a [x,x,x,x,x,x,x,x], ${fresh("*a,", 180_000)}]` },
    short: { "svccontroller.k3s.cattle.io/tolerations": fresh("[", 4_000) },
    greedy: { "k3slb.io/resources": "requests: {memory: 60Gi, nvidia.com/gpu: 8}" },
    everywhere: { "svccontroller.k3s.cattle.io/tolerations": "[{operator: Exists}]" },
    ranges: { "service.beta.kubernetes.io/load-balancer-source-ranges": ranges() },
    record: { "k3slb.io/last-good": fresh("{", 200_000) },
    escape: { "k3slb.io/resources": "\x1b[2J\x9b31m\u202e: [" },
  };
}

/** What is attacked. */
export interface Attack {
  readonly world: World;
  readonly evil: TestNamespace;
  /** A port at which a process of node1 listens. */
  readonly sshPort: number;
  /** An honest Service's port at an external IP, which is node2's address. */
  readonly externalPort: number;
  /** An honest load balancer's port. */
  readonly honestPort: number;
}

/** Everything at once. */
export async function attack({ world, evil, sshPort, externalPort, honestPort }: Attack): Promise<Refusals> {
  await evil.createApp({ name: "evil", nodes: ["node3"] });
  for (const [name, annotations] of Object.entries(hostileAnnotations())) {
    await evil.createService({ name, app: "evil", ports: [world.port()], annotations });
  }
  // Ports of the nodes, of processes, of the API's own ranges, of other Services.
  const ports = { kubelet: 10_250, nodeport: 30_777, ssh: sshPort, external: externalPort, taken: honestPort };
  for (const [name, port] of Object.entries(ports)) {
    await evil.createService({ name, app: "evil", ports: [port], labels: { "k8s-app": "kube-dns" } });
  }
  for (const slice of excuses(world, evil.name, sshPort)) await world.admin.create(ENDPOINT_SLICES, slice);
  await world.admin.create(PODS, spoofedPod(evil.name));
  const many = Array.from({ length: 100 }, () => world.port());
  await evil.createService({
    name: "many",
    ports: many,
    spec: { selector: null } as unknown as Service["spec"] & object,
  });
  await world.admin.create(ENDPOINT_SLICES, largestSlice(evil.name, many));
  const thousands = Array.from({ length: 1_500 }, (_, index) => 40_000 + index);
  await evil.createService({ name: "thousands", app: "evil", ports: thousands });
  await evil.createService({
    name: "class",
    app: "evil",
    ports: [4_444],
    spec: { loadBalancerClass: "example.com/none" },
  });
  return new Map([
    ["loopback", /loopback/],
    ["lo", /loopback/],
    ["mapped", /loopback/],
    ["kubelet", /10250 is reserved/],
    ["nodeport", /30777/],
    ["taken", /honest/],
    ["many", /--max-service-rules/],
    ["thousands", /ports/],
  ]);
}

/** Goes on, as fast as the API server takes it: each change is seen by the server, the agents, or both, and texts are new each time. */
export async function goOn({ world, evil }: Attack, signal: AbortSignal): Promise<void> {
  for (let round = 0; !signal.aborted; round++) {
    for (const [name, annotations] of Object.entries(hostileAnnotations())) {
      if (signal.aborted) return;
      await evil.patchService(name, { metadata: { annotations } });
    }
    const name = `come-${round}`;
    await evil.createService({ name, app: "evil", ports: [world.port()] });
    const key = { namespace: evil.name, name: "many-0" };
    const body = { endpoints: largestSlice(evil.name, []).endpoints?.slice(round % 500) };
    await world.admin.patch(ENDPOINT_SLICES, key, { type: "merge", body });
    await evil.deleteService(name);
  }
}

/** As much to write for the API server, as fast, in objects that k3slb reads nothing of: what a busy API server takes, whoever is attacked. */
export async function writeElsewhere({ world: { admin }, evil }: Attack, signal: AbortSignal): Promise<void> {
  const key = (name: string): { namespace: string; name: string } => ({ namespace: evil.name, name: `else-${name}` });
  const make = (name: string): Promise<unknown> => admin.create(CONFIG_MAPS, { metadata: key(name) });
  const write = (name: string, texts: Readonly<Record<string, string>>): Promise<unknown> => {
    // Keys of a ConfigMap have no slash.
    const data = Object.fromEntries(Object.entries(texts).map(([at, text]) => [at.replaceAll("/", "."), text]));
    return admin.patch(CONFIG_MAPS, key(name), { type: "merge", body: { data } });
  };
  for (const name of [...Object.keys(hostileAnnotations()), "slice"]) await make(name);
  for (let round = 0; !signal.aborted; round++) {
    for (const [name, texts] of Object.entries(hostileAnnotations())) {
      if (signal.aborted) return;
      await write(name, texts);
    }
    await make(`come-${round}`);
    const endpoints = largestSlice(evil.name, []).endpoints?.slice(round % 500);
    await write("slice", { endpoints: JSON.stringify(endpoints) });
    await admin.delete(CONFIG_MAPS, key(`come-${round}`));
  }
}

/** Endpoints that claim to be the process that listens. */
function excuses(world: World, namespace: string, port: number): readonly EndpointSlice[] {
  const slice = (name: string, ready: boolean, targetRef?: Record<string, string>): EndpointSlice => ({
    metadata: { name, namespace, labels: { "kubernetes.io/service-name": "ssh" } },
    addressType: "IPv4",
    ports: [{ name: `tcp-${port}`, port, protocol: "TCP" }],
    endpoints: [{
      addresses: [world.node("node1").ip4],
      nodeName: "node1",
      conditions: { ready, serving: ready, terminating: false },
      ...(targetRef ? { targetRef } : {}),
    }],
  });
  return [slice("ssh-closed", false), slice("ssh-foreign", true, { kind: "Pod", name: "evil-node3" })];
}

/** Bears the labels of a load balancer's pod, for a Service of somebody else's class. */
function spoofedPod(namespace: string): Pod {
  const labels = { [SERVICE_NAME_LABEL]: "class", [SERVICE_NAMESPACE_LABEL]: namespace, app: "svclb-class" };
  return {
    metadata: { name: "svclb-class", namespace, labels },
    spec: {
      nodeName: "node1",
      containers: [{ name: "a", image: "pause", ports: [{ containerPort: 4_444, hostPort: 4_444 }] }],
    },
  } as Pod;
}

/** As many endpoints as a slice may have, at 100 ports: 100,000 rules, which `--max-service-rules` refuses. */
function largestSlice(namespace: string, ports: readonly number[]): EndpointSlice {
  return {
    metadata: { namespace, name: "many-0", labels: { "kubernetes.io/service-name": "many" } },
    addressType: "IPv4",
    ports: ports.map((port) => ({ name: `tcp-${port}`, port: 22, protocol: "TCP" })),
    endpoints: Array.from({ length: 1_000 }, (_, index) => ({
      addresses: [`10.99.${index >> 8}.${index & 255}`],
      conditions: { ready: true },
    })),
  };
}
