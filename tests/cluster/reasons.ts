// Every reason for which a node can be left out: how it comes to be on a real control plane, what is said, and what mends it. reasons_test.ts
// looks at each. The table is held by its type: a reason without a case does not compile.
import type { ResourceType } from "../../core/kube/contract.ts";
import { NODES, PODS } from "../../core/kube/resources.ts";
import type { KubeObject, Pod } from "../../core/kube/types.ts";
import { FORWARDING_CONDITION, PROGRAMMED_CONDITION } from "../../core/service/labels.ts";
import type { VerdictReason } from "../../core/service_lb/nodes/node_verdicts.ts";
import { pullCable } from "../support/network_faults.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import type { ServiceWish } from "../support/world_objects.ts";
import type { WorldTest } from "../support/world_suite.ts";

/** One way to be left out. */
export interface Case {
  /** @default {"node2"} */
  readonly node?: string;
  /** What is said of the node. */
  readonly message: RegExp;
  /** What there is to do, as it is printed. */
  readonly remedy: RegExp;
  /** Of the Service. */
  readonly wish?: Partial<ServiceWish>;
  /** Nodes with a pod of it. */
  readonly appOn?: readonly string[];
  /** Before the Service is made. */
  readonly before?: (ground: Ground) => Promise<void> | void;
  /** After it has been made. */
  readonly after?: (ground: Ground) => Promise<void> | void;
  /** Does what is printed, where that is no command of kubectl that mends it. */
  readonly mend?: (ground: Ground) => Promise<void> | void;
  /** What the printed command shows of the cause, where it does not mend it. */
  readonly shows?: RegExp;
}

/** What a case works with. */
export interface Ground extends WorldTest {
  /** Name of the case's Service. */
  readonly name: string;
  readonly port: number;
  /** What takes a fault back, by a name. */
  readonly ends: Map<string, () => Promise<void> | void>;
}

/** Of K3s's labels. */
export const K3S = "svccontroller.k3s.cattle.io";
/** Label of nodes. */
export const EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers";

const label = (key: string, value: string) => async ({ world }: Ground): Promise<void> => {
  await world.node("node2").label({ [key]: value });
};
const end = (name: string) => async ({ ends }: Ground): Promise<void> => {
  await ends.get(name)?.();
};
/** Waits until all nodes serve the case's Service. */
export const served = async ({ world, ns, name }: Ground): Promise<void> =>
  await ns.waitForIngress(name, world.nodeIps);
/** The load balancer's pod of the case's Service on a node. */
export async function lbPod({ ns, name }: Ground, node: string): Promise<{ namespace: string; name: string }> {
  return await waitUntil(`the pod of ${name} for ${node}`, async () => {
    const pod = (await ns.lbPods(name)).find(({ spec }) => JSON.stringify(spec).includes(`"${node}"`));
    return pod !== undefined && { namespace: "kube-system", name: pod.metadata?.name ?? "" };
  });
}
async function patchPod(ground: Ground, status: object): Promise<void> {
  const patch = { type: "strategic", body: { status } } as const;
  await ground.world.admin.patch(PODS, await lbPod(ground, "node2"), patch, { subresource: "status" });
}
/** Changes what stands in a Node for its agent's heartbeat. */
export async function patchForwarding(world: World, name: string, change: (before: object) => object): Promise<void> {
  const node = await world.admin.get(NODES, { name });
  const before = node.status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION) ?? {};
  const conditions = [{ type: FORWARDING_CONDITION, ...change(before) }];
  const patch = { type: "strategic", body: { status: { conditions } } } as const;
  await world.admin.patch(NODES, { name }, patch, { subresource: "status" });
}

/** The reasons that agents are in, and the nodes. */
const WITH_AGENTS = {
  NotInPool: {
    message: /^label ".*lbpool=edge" \(or .*\) is missing$/,
    remedy: /^kubectl label --overwrite node node2 \S+=edge$/,
    wish: { labels: { [`${K3S}/lbpool`]: "edge" } },
    before: ({ world }) => world.node("node1").label({ [`${K3S}/lbpool`]: "edge" }),
  },
  NoLocalEndpoint: {
    message: /^it has no ready endpoint and externalTrafficPolicy is Local$/,
    remedy: /^Run a pod of it on node2, or: kubectl patch service /,
    wish: { spec: { externalTrafficPolicy: "Local" } },
    appOn: ["node1"],
  },
  PortTaken: {
    message: /^port \d+\/TCP is taken by Service \S+\/first$/,
    remedy: /^Choose another port, or delete Service first in namespace \S+: the oldest Service has a port$/,
    before: async ({ ns, port }) => {
      await ns.createService({ name: "first", ports: [port] });
      await waitUntil("the first to be served", async () => (await ns.ingress("first")).length > 0);
    },
    mend: ({ ns }) => ns.deleteService("first"),
  },
  NotProgrammed: {
    message: /^rules are not programmed: PortInUse: TCP port \d+ is in use by /,
    remedy: /^Fix what the agent names; more on node2: journalctl -u k3slb-agent$/,
    before: async ({ world, port, ends }) => {
      const { ns } = world.node("node2");
      const listen = { protocol: "tcp", port, name: "squatter" } as const;
      await ns.listen(listen);
      ends.set("squatter", () => ns.unlisten(listen));
    },
    mend: end("squatter"),
  },
  NoAddress: {
    message: /^it has no IPv6 address$/,
    remedy: /^Give node2 an address of the Service's families, or change the Service's families$/,
    wish: { spec: { ipFamilies: ["IPv6"], ipFamilyPolicy: "SingleStack" } },
    before: ({ world }) => {
      const node = world.node("node2");
      return node.setAddresses(node.internalAddresses.filter(({ address }) => !address.includes(":")));
    },
    mend: ({ world }) => world.node("node2").setAddresses(world.node("node2").internalAddresses),
  },
  NotEnabled: {
    message: /^label ".*enablelb=true" is missing$/,
    remedy: /^kubectl label --overwrite node node2 \S+enablelb=true$/,
    before: async ({ world }) => {
      for (const name of ["node1", "node3"]) await world.node(name).label({ [`${K3S}/enablelb`]: "true" });
    },
  },
  NotLinux: {
    message: /^label "kubernetes.io\/os=linux" is missing$/,
    remedy: /^Nothing, if it runs another system; else: kubectl label --overwrite node node2 kubernetes.io\/os=linux$/,
    before: label("kubernetes.io/os", "plan9"),
  },
  Excluded: {
    message: /^label "node.kubernetes.io\/exclude-from-external-load-balancers" is set$/,
    remedy: /^kubectl label node node2 \S+-$/,
    before: label(EXCLUDE, ""),
  },
  Tainted: {
    message: /^taint "dedicated=db:NoSchedule" is not tolerated$/,
    remedy: /^Tolerate it by the annotation \S+, or: kubectl taint node node2 dedicated:NoSchedule-$/,
    before: async ({ world }) => {
      const body = { spec: { taints: [{ key: "dedicated", value: "db", effect: "NoSchedule" }] } };
      await world.admin.patch(NODES, { name: "node2" }, { type: "merge", body });
    },
  },
  NodeNotReady: {
    message: /^the node is not Ready$/,
    remedy: /^See why: kubectl describe node node2$/,
    shows: /Ready +False .*KubeletNotReady/,
    after: async (ground) => {
      await served(ground);
      await ground.world.node("node2").setReady(false);
    },
    mend: ({ world }) => world.node("node2").setReady(true),
  },
  NodeSilent: {
    message: /^the node has not answered the server at 172\.30\.0\.12 since \d{4}-/,
    remedy: /^See whether node2 runs and has its network: ping it, kubectl describe node node2$/,
    shows: /^Name: +node2/,
    after: async (ground) => {
      await served(ground);
      const { world, ends } = ground;
      ends.set("cable", await pullCable(world.topology.lan, world.node("node2")));
    },
    mend: end("cable"),
  },
  // The next three at once: who waits is told of after ten seconds.
  AgentMissing: {
    message: /^no k3slb agent has been heard of there$/,
    remedy: /^Run k3slb agent on node2: k3slb install agent$/,
    before: async ({ world }) => {
      await world.node("node2").killAgent();
      await patchForwarding(world, "node2", () => ({ $patch: "delete" }));
    },
  },
  PodOutdated: {
    message: /^its pod is to be replaced: TCP port \d+ is not held$/,
    remedy: /^Wait: its next pod comes; if not: kubectl describe daemonset -n kube-system svclb-/,
    shows: /^Name: +svclb-/,
    // What an agent says that goes by pods, of an earlier version.
    after: (ground) => {
      const said = { status: "False", reason: "PortNotHeld", message: `TCP port ${ground.port} is not held` };
      return patchPod(ground, { conditions: [{ type: PROGRAMMED_CONDITION, ...said }] });
    },
  },
  WaitingForAgent: {
    node: "node3",
    message: /^its agent has not seen the Service as it is now yet$/,
    remedy: /^Wait; if it stays so, on node3: journalctl -u k3slb-agent$/,
    before: ({ world }) => world.node("node3").agent?.pause(),
  },
  AgentSilent: {
    message: /^its agent has been silent for 3 minutes$/,
    remedy: /^On node2: systemctl status k3slb-agent; journalctl -u k3slb-agent$/,
    after: async (ground) => {
      await served(ground);
      await ground.world.node("node2").killAgent();
      // Silence is counted by the server; one that starts believes a heartbeat that is old beyond doubt.
      const long = new Date(Date.now() - 11 * 60_000).toISOString().replace(/\.\d+Z$/, "Z");
      await patchForwarding(ground.world, "node2", (before) => ({ ...before, lastHeartbeatTime: long }));
      await restartServer(ground.world, []);
    },
    mend: async ({ world }) => void await world.node("node2").startAgent(),
  },
} as const satisfies Partial<Record<VerdictReason, Case>>;

/** What only pods that forward, and the cluster's own controllers, can be in. */
export const WITH_PODS = {
  FailedCreate: {
    message: /^its pod can't be created: .*host ports are not allowed here/,
    remedy: /^Loosen what refuses it \(policy, quota, webhook\): kubectl describe daemonset -n kube-system svclb-/,
    shows: /FailedCreate.*host ports are not allowed here/,
    before: denyPort,
    mend: end("policy"),
  },
  NotScheduled: {
    message: /^its pod is not scheduled: pod \S+\/old-proxy has port \d+\/TCP of the node$/,
    remedy: /^Choose another port, or delete pod old-proxy in namespace \S+, and what makes it anew$/,
    before: async ({ world, ns, port }) => {
      const ports = [{ containerPort: 8080, hostPort: port, protocol: "TCP" }];
      await world.admin.create(PODS, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "old-proxy", namespace: ns.name },
        spec: {
          nodeName: "node2",
          priorityClassName: "system-node-critical",
          containers: [{ name: "c", image: "i", ports }],
        },
      } as Pod);
    },
    mend: ({ ns }) => ns.deletePod("old-proxy"),
  },
  PodEnding: {
    message: /^its pod is being deleted$/,
    remedy: /^Wait: its next pod comes$/,
    after: async (ground) => await ground.world.admin.delete(PODS, await lbPod(ground, "node2")),
  },
  PodFailed: {
    message: /^its pod ended: Evicted: The node was low on resource: memory$/,
    remedy: /^See why: kubectl get pods -n kube-system -l app=svclb-\S+ -o wide$/,
    shows: /svclb-\S+ .*(Evicted|Error)/,
    after: (ground) =>
      patchPod(ground, { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory" }),
  },
  PodNotReady: {
    message: /^its pod is not ready: CrashLoopBackOff: back-off 10s$/,
    remedy: /^See why: kubectl describe pods -n kube-system -l app=svclb-/,
    shows: /CrashLoopBackOff/,
    after: (ground) =>
      patchPod(ground, {
        conditions: [{ type: "Ready", status: "False" }],
        containerStatuses: [{
          ...{ name: `lb-tcp-${ground.port}`, image: "i", imageID: "", restartCount: 1, ready: false },
          state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 10s" } },
        }],
      }),
  },
  WaitingForScheduler: {
    message: /^its pod waits for the scheduler$/,
    remedy: /^Wait; if it stays so, see whether kube-scheduler runs$/,
  },
  NoPod: {
    message: /^it has no pod of the DaemonSet yet$/,
    remedy: /^Look at the DaemonSet's Events: kubectl describe daemonset -n kube-system svclb-/,
    shows: /^Name: +svclb-/,
  },
} as const satisfies Partial<Record<VerdictReason, Case>>;

/** A reason that is in neither list makes this line a fault. */
export const CASES: Readonly<Record<VerdictReason, Case>> = { ...WITH_AGENTS, ...WITH_PODS };

/** What agents, or nodes, are in. */
export type AgentReason = keyof typeof WITH_AGENTS;
/** Reasons that can be had at the same time. */
export const TOGETHER: readonly (readonly AgentReason[])[] = [
  ["NotInPool", "NoLocalEndpoint", "PortTaken", "NotProgrammed", "NoAddress"],
  ...(["NotEnabled", "NotLinux", "Excluded", "Tainted", "NodeNotReady", "NodeSilent"] as const).map((one) => [one]),
  ["AgentMissing", "PodOutdated", "WaitingForAgent"],
  ["AgentSilent"],
];

const REGISTRATION: Pick<ResourceType<KubeObject>, "group" | "version" | "namespaced"> = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  namespaced: false,
};
const POLICIES: ResourceType<KubeObject> = {
  ...REGISTRATION,
  kind: "ValidatingAdmissionPolicy",
  plural: "validatingadmissionpolicies",
};
const BINDINGS: ResourceType<KubeObject> = {
  ...REGISTRATION,
  kind: "ValidatingAdmissionPolicyBinding",
  plural: "validatingadmissionpolicybindings",
};

async function denyPort({ world, ns, port, ends }: Ground): Promise<void> {
  const apiVersion = "admissionregistration.k8s.io/v1";
  const resourceRules = [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods"] }];
  const expression =
    `object.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort != ${port}))`;
  const validations = [{ expression, message: "host ports are not allowed here" }];
  const metadata = { name: "deny-port" };
  await world.admin.create(POLICIES, {
    ...{ apiVersion, kind: POLICIES.kind, metadata },
    spec: { matchConstraints: { resourceRules }, validations },
  } as KubeObject);
  await world.admin.create(BINDINGS, {
    ...{ apiVersion, kind: BINDINGS.kind, metadata },
    spec: { policyName: "deny-port", validationActions: ["Deny"] },
  } as KubeObject);
  ends.set("policy", async () => {
    await world.admin.delete(BINDINGS, metadata);
    await world.admin.delete(POLICIES, metadata);
  });
  const containers = [{ name: "c", image: "i", ports: [{ containerPort: port, hostPort: port }] }];
  const probe = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "probe", namespace: ns.name },
    spec: { containers },
  };
  await waitUntil(
    "the policy to be in force",
    () => world.admin.create(PODS, probe as Pod, { dryRun: true }).then(() => false, () => true),
  );
}

/** One server goes, another one comes. */
export async function restartServer(world: World, args: readonly string[]): Promise<void> {
  await world.servers.at(-1)?.stop();
  await world.startServer(args);
}
