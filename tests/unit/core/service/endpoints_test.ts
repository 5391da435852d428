// Which endpoints of a Service port take new connections, by the rules of the EndpointSlice API.
import assert from "node:assert/strict";
import { forwardingDecision, type ForwardingFacts } from "../../../../node_agent/loop/plan/forwarding_plan.ts";
import { frozen } from "../../../support/frozen.ts";
import { CLOSED, EMPTY, ENDING, READY, web } from "../../node_agent/_facts.ts";
import { endpoint, NODE, slice } from "../../node_agent/_objects.ts";

interface EndpointCase {
  readonly name: string;
  readonly policy?: "Local";
  readonly spec?: NonNullable<Parameters<typeof web>[0]>["spec"];
  readonly slices: ForwardingFacts["slices"];
  /** `IP:port`, with `!` for local ones. */
  readonly want: readonly string[];
}

const ENDPOINT_CASES: readonly EndpointCase[] = [
  { name: "no slice", slices: [], want: [] },
  {
    name: "an absent ready is ready",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, {})])],
    want: ["!10.42.1.5:8080"],
  },
  { name: "not ready", slices: [slice("web", [endpoint("10.42.1.5", NODE, CLOSED)])], want: [] },
  {
    name: "ready ones before terminating ones",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2", READY)])],
    want: ["10.42.2.5:8080"],
  },
  {
    name: "terminating ones that serve, when no other is left",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2", CLOSED)])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "terminating ones that don't serve never",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, { ready: false, serving: false, terminating: true })])],
    want: [],
  },
  {
    name: "Local takes local ones only",
    policy: "Local",
    slices: [slice("web", [endpoint("10.42.1.5"), endpoint("10.42.2.5", "node-2")])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "Local falls back to a local terminating one although another node has a ready one",
    policy: "Local",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2")])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "Local names the others where it has none, so that packets are dropped and not refused",
    policy: "Local",
    slices: [slice("web", [endpoint("10.42.2.5", "node-2")])],
    want: ["10.42.2.5:8080"],
  },
  {
    name: "an endpoint in two slices counts once",
    slices: [slice("web", [endpoint("10.42.1.5")]), slice("web", [endpoint("10.42.1.5")], { name: "web-2" })],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "a target port differs by slice",
    slices: [
      slice("web", [endpoint("10.42.1.5")]),
      slice("web", [endpoint("10.42.2.5", "node-2")], { name: "web-2", ports: [{ port: 9090 }] }),
    ],
    want: ["!10.42.1.5:8080", "10.42.2.5:9090"],
  },
  {
    name: "ports of other names and protocols are others",
    slices: [
      slice("web", [endpoint("10.42.1.5")], {
        ports: [{ name: "x", port: 1 }, { name: "", port: 2, protocol: "UDP" }, { name: "", port: 3 }],
      }),
    ],
    want: ["!10.42.1.5:3"],
  },
  {
    name: "slices of another family or of names",
    slices: [
      slice("web", [endpoint("fd00::5")], { addressType: "IPv6" }),
      slice("web", [endpoint("host.example.org")], { name: "web-2", addressType: "FQDN" }),
    ],
    want: [],
  },
  { name: "slices of another Service", slices: [slice("other", [endpoint("10.42.1.5")])], want: [] },
  {
    name: "only an endpoint's first address counts",
    slices: [slice("web", [{ ...endpoint("10.42.1.5"), addresses: ["10.42.1.5", "10.42.1.6"] }])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "a slice without a port number",
    slices: [slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "" }] })],
    want: [],
  },
  {
    name: "a port that was renamed is found by its number until slices have its new name",
    spec: { selector: { app: "web" }, ports: [{ name: "new", port: 80, targetPort: 8080 }] },
    slices: [
      slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "old", port: 8080 }, { name: "admin", port: 9090 }] }),
    ],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "of the same number, protocols differ",
    spec: { selector: { app: "web" }, ports: [{ name: "new", port: 80, targetPort: 8080, protocol: "UDP" }] },
    slices: [slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "old", port: 8080 }] })],
    want: [],
  },
  {
    name: "once some slice has the new name, the others are waited for",
    spec: { selector: { app: "web" }, ports: [{ name: "new", port: 80, targetPort: 8080 }] },
    slices: [
      slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "new", port: 8080 }] }),
      slice("web", [endpoint("10.42.1.6")], { name: "web-2", ports: [{ name: "old", port: 8080 }] }),
    ],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "another name in slices that somebody writes for a Service without a selector is another port",
    spec: { ports: [{ name: "new", port: 80, targetPort: 8080 }] },
    slices: [slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "old", port: 8080 }] })],
    want: [],
  },
];

for (const { name, policy, spec, slices, want } of ENDPOINT_CASES) {
  Deno.test(`forwardingDecision: endpoints: ${name}`, () => {
    const facts = {
      ...EMPTY,
      ...web({ spec: { ...spec, ...(policy ? { externalTrafficPolicy: policy } : {}) } }),
      slices,
    };
    const [first] = forwardingDecision(frozen(facts)).plan.ports;
    assert.deepEqual(first?.endpoints.map((one) => `${one.local ? "!" : ""}${one.ip}:${one.port}`), want);
  });
}
