// Why a pod's Service is or is not served on its node: each reason, and what else is then served.
import assert from "node:assert/strict";
import {
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
} from "../../../core/service/labels.ts";
import type { EndpointSlice } from "../../../core/kube/types.ts";
import { forwardingDecision, type ForwardingFacts } from "../../../node_agent/loop/plan/forwarding_plan.ts";
import { parseReservedPorts } from "../../../node_agent/loop/plan/reserved_ports.ts";
import { frozen } from "../../support/frozen.ts";
import { CLOSED, EMPTY, ENDING, web } from "./_facts.ts";
import { endpoint, pod, port, service, slice } from "./_objects.ts";

interface VerdictCase {
  readonly name: string;
  readonly given: Partial<ForwardingFacts>;
  readonly pod?: string;
  readonly reasons: readonly string[];
  readonly message?: RegExp;
  /** Ports of the verdict. */
  readonly ports?: readonly number[];
  readonly notes?: number;
}

const NGINX = { protocol: "TCP", ip: "0.0.0.0", port: 80, process: { name: "nginx", pid: 812 } } as const;

/** A slice that says that pod `web-pod` listens at port 80 of this node, with what `change` says otherwise. */
function hostSlice(change: Partial<EndpointSlice["endpoints"][number]> & { readonly port?: number }): EndpointSlice {
  const { port = 80, ...rest } = change;
  const targetRef = { kind: "Pod", namespace: "default", name: "web-pod" };
  return slice("web", [{ ...endpoint("192.0.2.1"), targetRef, ...rest }], { ports: [{ port }] });
}

const FALSE_EXCUSES: readonly (readonly [string, Parameters<typeof hostSlice>[0]])[] = [
  ["it is not ready", { conditions: CLOSED }],
  ["it is ending", { conditions: ENDING }],
  ["it names no pod", { targetRef: {} }],
  ["it names something else", { targetRef: { kind: "Node", name: "web-pod" } }],
  ["it names a pod that is not in the host's network, or not here", { targetRef: { kind: "Pod", name: "other" } }],
  ["it names another namespace's pod", { targetRef: { kind: "Pod", namespace: "kube-system", name: "web-pod" } }],
  ["it is at another port", { port: 8080 }],
  ["it is on another node", { nodeName: "node-2" }],
  ["it is at another address", { addresses: ["192.0.2.77"] }],
];

const VERDICT_CASES: readonly VerdictCase[] = [
  { name: "a served pod", given: web(), reasons: [], ports: [80] },
  { name: "no such Service", given: { pods: [pod("web")] }, reasons: ["NoSuchService"], message: /default\/web/ },
  {
    name: "labels that don't say which Service",
    given: { pods: [{ ...pod("web"), metadata: { name: "x", namespace: "y" } }] },
    reasons: ["NoSuchService"],
    message: /don't name a Service/,
  },
  {
    name: "a bad source range closes the Service",
    given: web({ spec: { loadBalancerSourceRanges: ["10.0.0.0/8", "10.0.0.0/99"] } }),
    reasons: ["InvalidSourceRange"],
    message: /"10.0.0.0\/99"/,
    ports: [],
  },
  {
    name: "an address is no range, as Kubernetes has it",
    given: web({ annotations: { [SOURCE_RANGES_ANNOTATION]: "10.0.0.1" } }),
    reasons: ["InvalidSourceRange"],
    ports: [],
  },
  {
    name: "a bad matched address",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "eth0" } }),
    reasons: ["InvalidMatchAddress"],
    ports: [],
  },
  ...["127.0.0.53", "127.0.0.1/32, 192.0.2.1", "::1", "::ffff:127.0.0.1"].map((asked): VerdictCase => ({
    name: `a loopback address to match: ${asked}`,
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: asked } }),
    reasons: ["InvalidMatchAddress"],
    message: /is loopback, which is never served/,
    ports: [],
  })),
  {
    name: "the loopback interface to match",
    given: {
      ...web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "lo,eth0" } }),
      interfaces: [{ name: "lo", addresses: ["127.0.0.1", "::1"] }, ...EMPTY.interfaces],
    },
    reasons: ["InvalidMatchAddress"],
    message: /^Interface "lo" in .* is loopback/,
    ports: [],
  },
  {
    name: "a loopback address as spec.loadBalancerIP",
    given: web({ spec: { loadBalancerIP: "127.0.0.1" } }),
    reasons: ["InvalidMatchAddress"],
    message: /spec.loadBalancerIP can't be used: "127.0.0.1" is loopback/,
    ports: [],
  },
  {
    name: "an interface that isn't here",
    given: web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "wg0" } }),
    reasons: ["NoMatchingAddress"],
    message: /wg0/,
    ports: [],
  },
  {
    name: "an address that isn't here: rules ready, gate closed",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "203.0.113.7" } }),
    reasons: ["NoMatchingAddress"],
    ports: [80],
  },
  {
    name: "a Service that asks for more rules than one may, by ports times endpoints",
    given: {
      ...web({ spec: { ports: [port(80, { name: "a" }), port(81, { name: "b" })] } }),
      slices: [
        slice("web", Array.from({ length: 51 }, (_, i) => endpoint(`10.42.1.${i}`)), {
          ports: ["a", "b", "unused"].map((name, i) => ({ name, port: 8080 + i })),
        }),
      ],
    },
    reasons: ["TooManyRules"],
    message: /^The Service asks for 102 rules here .* more than 100 \(--max-service-rules\)$/,
    ports: [],
  },
  {
    name: "a Service that asks for more rules than one may, by ports that slices know by their number only",
    given: {
      ...web({
        spec: { selector: { app: "web" }, ports: [80, 81].map((n) => port(n, { name: `p${n}`, targetPort: 8080 })) },
      }),
      slices: [
        slice("web", Array.from({ length: 51 }, (_, i) => endpoint(`10.42.1.${i}`)), {
          ports: [{ name: "other", port: 8080 }],
        }),
      ],
    },
    reasons: ["TooManyRules"],
    message: /^The Service asks for 102 rules here /,
    ports: [],
  },
  {
    name: "a Service that asks for more rules than one may, by source ranges",
    given: web({
      spec: {
        ports: [port(80), port(81, { name: "b" })],
        loadBalancerSourceRanges: Array.from({ length: 60 }, (_, i) => `10.${i}.0.0/16`),
      },
    }),
    reasons: ["TooManyRules"],
    ports: [],
  },
  {
    name: "a reserved port",
    given: web({ spec: { ports: [port(22)] } }),
    reasons: ["ReservedPort"],
    message: /TCP port 22 is reserved/,
    ports: [],
  },
  {
    name: "a reserved protocol leaves the other one",
    given: web({ spec: { ports: [port(10255), port(10255, { protocol: "UDP" })] } }),
    reasons: ["ReservedPort"],
    ports: [10255],
    notes: 1,
  },
  {
    name: "a port of an older Service takes the node from the younger one",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a"),
        service("b", { created: "2026-02-01T00:00:00Z", spec: { ports: [port(80), port(81)] } }),
      ],
    },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
    message: /TCP port 80 is taken by the older Service default\/a/,
    ports: [],
  },
  {
    name: "of the same age, the first name wins",
    given: { pods: [pod("a"), pod("b")], services: [service("b"), service("a")] },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
  },
  {
    name: "a Service that is refused keeps its port",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a", { spec: { loadBalancerSourceRanges: ["nonsense"] } }),
        service("b", { created: "2026-02-01T00:00:00Z" }),
      ],
    },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
  },
  {
    name: "a port that the pod doesn't hold: it may be another pod's hostPort",
    given: { ...web({ spec: { ports: [port(443)] } }), pods: [pod("web", { hostPorts: [80] })] },
    reasons: ["PortNotHeld"],
    message: /^TCP port 443 is not among the host ports/,
    ports: [],
  },
  {
    name: "a port that was added waits for the pod's successor; the others are served",
    given: { ...web({ spec: { ports: [port(80), port(443)] } }), pods: [pod("web", { hostPorts: [80] })] },
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "a port of the other protocol than the one that the pod holds",
    given: { ...web({ spec: { ports: [port(80, { protocol: "UDP" })] } }), pods: [pod("web", { hostPorts: [80] })] },
    reasons: ["PortNotHeld"],
    ports: [],
  },
  {
    name: "an old Service takes no younger one's port by an edit",
    given: {
      pods: [pod("old", { hostPorts: [80] }), pod("young", { hostPorts: [443] })],
      services: [
        service("old", { spec: { ports: [port(80), port(443)] } }),
        service("young", { created: "2026-02-01T00:00:00Z", spec: { ports: [port(443)] } }),
      ],
    },
    pod: "svclb-young-x",
    reasons: [],
    ports: [443],
    notes: 1,
  },
  {
    name: "one protocol doesn't take the other's port",
    given: {
      pods: [pod("a"), pod("b")],
      services: [service("a"), service("b", { spec: { ports: [port(80, { protocol: "UDP" })] } })],
    },
    pod: "svclb-b-x",
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "a pod in the host's network listens: its name is said",
    given: { ...web(), listeners: [NGINX], hostPods: new Map([["shop/ingress-x", ["TCP port 443", "TCP port 80"]]]) },
    reasons: ["PortInUse"],
    message: /^TCP port 80 is in use by pod shop\/ingress-x; stop it/,
    ports: [],
  },
  {
    name: "a process listens",
    given: { ...web(), listeners: [NGINX] },
    reasons: ["PortInUse"],
    message: /TCP port 80 is in use by process "nginx" \(pid 812\)/,
    ports: [],
  },
  {
    name: "a process that nobody knows listens",
    given: { ...web(), listeners: [{ protocol: "TCP", ip: "::", port: 80 }] },
    reasons: ["PortInUse"],
    message: /in use by a process on this node/,
  },
  {
    name: "a service listens whose process can't be seen",
    given: { ...web(), listeners: [{ protocol: "TCP", ip: "::", port: 80, owner: "nginx.service" }] },
    reasons: ["PortInUse"],
    message: /TCP port 80 is in use by nginx\.service on this node/,
  },
  {
    name: "a process on loopback",
    given: { ...web(), listeners: [{ ...NGINX, ip: "127.0.0.1" }] },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process on another port",
    given: { ...web(), listeners: [{ ...NGINX, port: 81 }] },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process of the other protocol",
    given: { ...web(), listeners: [{ ...NGINX, protocol: "UDP" }] },
    reasons: [],
  },
  {
    name: "a process of the other family",
    given: { ...web(), listeners: [{ ...NGINX, ip: "2001:db8::1" }] },
    reasons: [],
  },
  {
    name: "a process on one address",
    given: { ...web(), listeners: [{ ...NGINX, ip: "192.0.2.1" }] },
    reasons: ["PortInUse"],
  },
  {
    name: "a process on an address that isn't matched",
    given: {
      ...web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "eth1" } }),
      listeners: [{ ...NGINX, ip: "192.0.2.1" }],
    },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process may be overridden",
    given: { ...web(), listeners: [NGINX], allowPortOverride: true },
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "a socket that came just now doesn't take the port away",
    given: { ...web(), listeners: [NGINX], programmed: new Set(["default/web/TCP/80"]) },
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "a process that listens and stays has its port back",
    given: {
      ...web(),
      listeners: [{ ...NGINX, ip: "192.0.2.1" }, { ...NGINX, settled: true }],
      programmed: new Set(["default/web/TCP/80"]),
    },
    reasons: ["PortInUse"],
    ports: [],
  },
  {
    name: "a ready endpoint that is a pod in this host's network is no foreign process",
    given: { ...web(), slices: [hostSlice({})], listeners: [{ ...NGINX, settled: true }] },
    reasons: [],
    ports: [80],
  },
  ...FALSE_EXCUSES.map(([name, change]): VerdictCase => ({
    name: `an endpoint on this host is no excuse: ${name}`,
    given: { ...web(), slices: [hostSlice(change)], listeners: [{ ...NGINX, settled: true }] },
    reasons: ["PortInUse"],
    ports: [],
  })),
  {
    name: "an endpoint in another host's network is no excuse",
    given: {
      ...web(),
      slices: [slice("web", [endpoint("192.0.2.2", "node-2")], { ports: [{ port: 80 }] })],
      listeners: [NGINX],
    },
    reasons: ["PortInUse"],
  },
];

for (const { name, given, pod: podName = "svclb-web-x", reasons, message, ports, notes } of VERDICT_CASES) {
  Deno.test(`forwardingDecision: verdict: ${name}`, () => {
    const { verdicts } = forwardingDecision(frozen({ ...EMPTY, ...given }));
    const verdict = verdicts.find((one) => one.pod.metadata?.name === podName) ?? verdicts[0];
    assert.deepEqual(verdict?.refusals.map((one) => one.reason), reasons);
    if (message) assert.match(verdict?.refusals[0]?.message ?? "", message);
    if (ports) assert.deepEqual(verdict?.ports.map((one) => one.port), ports);
    assert.equal(verdict?.notes.length, notes ?? 0);
  });
}

Deno.test("parseReservedPorts: refuses what is no port", () => {
  for (const text of ["x", "0", "65536", "9-1", "80/icmp", "1-2-3"]) {
    assert.throws(() => parseReservedPorts([text]), { code: "usage" }, text);
  }
});
