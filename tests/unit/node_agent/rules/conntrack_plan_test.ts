// Which flows go stale by a change of the plan.
import assert from "node:assert/strict";
import { IP_FAMILIES } from "../../../../core/shared/ip.ts";
import {
  type FlowCheck,
  type FlowFilter,
  planConntrackCleanup,
  staleFlows,
} from "../../../../node_agent/rules/conntrack_plan.ts";
import type { ForwardedPort, ForwardingPlan } from "../../../../node_agent/dataplane_contract.ts";
import { portWith } from "../../../support/plans.ts";

const LOCAL_IPS = ["172.30.0.11", "fd30::11"];
const A = { ip: "10.42.1.10", port: 8080, local: true };
const B = { ip: "10.42.2.10", port: 8080, local: false };
const A6 = { ip: "fd42:1::10", port: 8080, local: true };
const DUAL = { families: ["IPv4", "IPv6"] } as const;
const dns = (fields: Partial<ForwardedPort> = {}): ForwardedPort =>
  portWith({ protocol: "UDP", port: 53, families: ["IPv4"], endpoints: [A], ...fields });
const web = (fields: Partial<ForwardedPort> = {}): ForwardedPort =>
  portWith({ families: ["IPv4"], endpoints: [A], ...fields });

const CASES: readonly {
  readonly name: string;
  readonly given: { readonly before: readonly ForwardedPort[]; readonly after: readonly ForwardedPort[] };
  readonly want: readonly string[];
}[] = [
  { name: "no change, nothing stale", given: { before: [dns(), web()], after: [dns(), web()] }, want: [] },
  {
    name: "a UDP endpoint that goes",
    given: { before: [dns({ endpoints: [A, B] })], after: [dns()] },
    want: ["udp 53 10.42.2.10:8080"],
  },
  {
    name: "a TCP endpoint that goes",
    given: { before: [web({ endpoints: [A, B] })], after: [web()] },
    want: ["tcp 80 10.42.2.10:8080"],
  },
  { name: "an endpoint that comes", given: { before: [dns()], after: [dns({ endpoints: [A, B] })] }, want: [] },
  {
    name: "a port that goes",
    given: { before: [dns(), web()], after: [] },
    want: ["udp 53 10.42.1.10:8080", "tcp 80 10.42.1.10:8080"],
  },
  {
    name: "a UDP port that comes has flows from before its rules",
    given: { before: [], after: [dns(), web()] },
    want: ["check IPv4 53"],
  },
  {
    name: "the first endpoint of a UDP port",
    given: { before: [dns({ endpoints: [] })], after: [dns()] },
    want: ["check IPv4 53"],
  },
  {
    name: "an endpoint that listens on another port now",
    given: { before: [dns()], after: [dns({ endpoints: [{ ...A, port: 9090 }] })] },
    want: ["udp 53 10.42.1.10:8080"],
  },
  {
    name: "the first endpoint of a family, where the other has one",
    given: { before: [dns(DUAL)], after: [dns({ ...DUAL, endpoints: [A, A6] })] },
    want: ["check IPv6 53"],
  },
  {
    name: "a family that comes to a Service",
    given: { before: [dns({ endpoints: [A, A6] })], after: [dns({ ...DUAL, endpoints: [A, A6] })] },
    want: ["check IPv6 53"],
  },
  {
    name: "an endpoint of each family that goes",
    given: { before: [dns({ ...DUAL, endpoints: [A, A6] })], after: [] },
    want: ["udp 53 10.42.1.10:8080", "udp 53 fd42:1::10:8080"],
  },
  {
    name: "one more address at which a UDP port is served",
    given: {
      before: [dns({ matchAddresses: ["172.30.0.11"] })],
      after: [dns({ matchAddresses: ["172.30.0.11", "172.30.0.12"] })],
    },
    want: ["check IPv4 53"],
  },
  {
    name: "every address instead of one",
    given: { before: [dns({ matchAddresses: ["172.30.0.11"] })], after: [dns()] },
    want: ["check IPv4 53"],
  },
  {
    name: "policy Local leaves the remote endpoints",
    given: { before: [dns({ endpoints: [A, B] })], after: [dns({ endpoints: [A, B], trafficPolicy: "Local" })] },
    want: ["udp 53 10.42.2.10:8080"],
  },
  { name: "SCTP is left alone", given: { before: [dns({ protocol: "SCTP" })], after: [] }, want: [] },
];

for (const { name, given, want } of CASES) {
  Deno.test(`planConntrackCleanup: ${name}`, () => {
    const got = IP_FAMILIES.flatMap((family) => {
      const [before, after] = [planOf(given.before), planOf(given.after)];
      const { filters, checks } = planConntrackCleanup({ family, before, after, localIps: LOCAL_IPS });
      return [...filters.map(textOf), ...checks.map((check) => `check ${check.family} ${check.port}`)];
    });
    assert.deepEqual(got, want);
  });
}

Deno.test("planConntrackCleanup at start looks through every UDP port and deletes nothing unseen", () => {
  const plan = planOf([dns({ endpoints: [A, A6] }), web(), dns({ port: 54, endpoints: [] })]);
  const cleanup = planConntrackCleanup({ family: "IPv4", before: undefined, after: plan, localIps: LOCAL_IPS });
  const check: FlowCheck = { family: "IPv4", port: 53, localIps: ["172.30.0.11"], endpoints: ["10.42.1.10 8080"] };
  assert.deepEqual(cleanup, { filters: [], checks: [check] });
});

Deno.test("staleFlows finds flows to this node that go to none of the endpoints", () => {
  const check: FlowCheck = { family: "IPv4", port: 53, localIps: ["172.30.0.11"], endpoints: ["10.42.1.10 8080"] };
  const flow = (to: string, from: string, port = 8080): string =>
    `udp      17 29 src=172.30.0.101 dst=${to} sport=40000 dport=53 src=${from} dst=172.30.0.101 sport=${port} dport=40000 [ASSURED] mark=0 use=1`;
  const listing = [
    flow("172.30.0.11", "10.42.1.10"),
    flow("172.30.0.11", "10.42.1.10", 9090),
    flow("172.30.0.11", "10.42.1.99"),
    flow("172.30.0.11", "10.42.1.99"),
    flow("172.30.0.11", "172.30.0.11", 53).replace(" src=172.30.0.11", " [UNREPLIED] src=172.30.0.11"),
    flow("8.8.8.8", "8.8.8.8"),
    "",
  ].join("\n");
  assert.deepEqual(staleFlows(check, listing).map(textOf), [
    "udp 53 10.42.1.10:9090",
    "udp 53 10.42.1.99:8080",
    "udp 53 172.30.0.11:53",
  ]);
});

function planOf(ports: readonly ForwardedPort[]): ForwardingPlan {
  return { podCidrs: [], ports };
}

function textOf(filter: FlowFilter): string {
  return `${filter.protocol} ${filter.port} ${filter.replySource}:${filter.replyPort}`;
}
