// Which flows go stale by a change of the plan.
import assert from "node:assert/strict";
import type { FlowFilter } from "../../../node_agent/conntrack_plan.ts";
import { planConntrackChecks, planConntrackCleanup, staleFlows } from "../../../node_agent/conntrack_plan.ts";
import type { ForwardedPort } from "../../../node_agent/dataplane_contract.ts";
import { portWith } from "../../support/plans.ts";

const LOCAL_IPS = ["172.30.0.11", "fd30::11"];
const A = { ip: "10.42.1.10", port: 8080, local: true };
const B = { ip: "10.42.2.10", port: 8080, local: false };
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
    want: ["udp 53 10.42.2.10"],
  },
  {
    name: "a TCP endpoint that goes",
    given: { before: [web({ endpoints: [A, B] })], after: [web()] },
    want: ["tcp 80 10.42.2.10"],
  },
  { name: "an endpoint that comes", given: { before: [dns()], after: [dns({ endpoints: [A, B] })] }, want: [] },
  {
    name: "a port that goes",
    given: { before: [dns(), web()], after: [] },
    want: ["udp 53 10.42.1.10", "tcp 80 10.42.1.10"],
  },
  {
    name: "a UDP port that comes has flows from before its rules",
    given: { before: [], after: [dns(), web()] },
    want: ["udp 53 172.30.0.11"],
  },
  {
    name: "the first endpoint of a UDP port",
    given: { before: [dns({ endpoints: [] })], after: [dns()] },
    want: ["udp 53 172.30.0.11"],
  },
  {
    name: "a hostNetwork endpoint is no flow from before",
    given: { before: [], after: [dns({ endpoints: [{ ip: "172.30.0.11", port: 53, local: true }] })] },
    want: [],
  },
  {
    name: "policy Local leaves the remote endpoints",
    given: { before: [dns({ endpoints: [A, B] })], after: [dns({ endpoints: [A, B], trafficPolicy: "Local" })] },
    want: ["udp 53 10.42.2.10"],
  },
  { name: "SCTP is left alone", given: { before: [dns({ protocol: "SCTP" })], after: [] }, want: [] },
];

for (const { name, given, want } of CASES) {
  Deno.test(`planConntrackCleanup: ${name}`, () => {
    const planOf = (ports: readonly ForwardedPort[]): { podCidrs: string[]; ports: readonly ForwardedPort[] } => ({
      podCidrs: [],
      ports,
    });
    assert.deepEqual(planConntrackCleanup(planOf(given.before), planOf(given.after), LOCAL_IPS).map(textOf), want);
  });
}

Deno.test("staleFlows finds flows to this node that go to none of the endpoints", () => {
  const [check] = planConntrackChecks({ podCidrs: [], ports: [dns(), web()] }, LOCAL_IPS);
  assert.ok(check);
  assert.deepEqual(check, { family: "IPv4", port: 53, localIps: ["172.30.0.11"], endpointIps: ["10.42.1.10"] });
  const flow = (to: string, from: string): string =>
    `udp      17 29 src=172.30.0.101 dst=${to} sport=40000 dport=53 src=${from} dst=172.30.0.101 sport=8080 dport=40000 [ASSURED] mark=0 use=1`;
  const listing = [
    flow("172.30.0.11", "10.42.1.10"),
    flow("172.30.0.11", "10.42.1.99"),
    flow("172.30.0.11", "10.42.1.99"),
    flow("172.30.0.11", "172.30.0.11"),
    flow("8.8.8.8", "8.8.8.8"),
    "",
  ].join("\n");
  assert.deepEqual(staleFlows(check, listing).map(textOf), ["udp 53 10.42.1.99", "udp 53 172.30.0.11"]);
});

function textOf(filter: FlowFilter): string {
  return `${filter.protocol} ${filter.port} ${filter.replySource}`;
}
