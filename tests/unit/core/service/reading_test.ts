// When two versions of a Service say the same.
import assert from "node:assert/strict";
import { saysSame } from "../../../../core/service/reading.ts";
import { service } from "../service_lb/fixtures.ts";

type Wish = Parameters<typeof service>[0];

const MATCH = "k3slb.io/match-addresses";
const TOLERATIONS = "svccontroller.k3s.cattle.io/tolerations";
const annotated = (name: string, text: string): Wish => ({ annotations: { [name]: text } });

const CASES: readonly (readonly [name: string, a: Wish, b: Wish, isSame: boolean])[] = [
  ["nothing else", {}, {}, true],
  [
    "other words that can't be read",
    annotated(TOLERATIONS, "[".repeat(999)),
    annotated(TOLERATIONS, "{".repeat(99)),
    true,
  ],
  [
    "the same in other words",
    annotated(TOLERATIONS, "[{operator: Exists}]"),
    annotated(TOLERATIONS, "- operator: Exists"),
    true,
  ],
  ["another toleration", annotated(TOLERATIONS, "[{key: a}]"), annotated(TOLERATIONS, "[{key: b}]"), false],
  ["another address", annotated(MATCH, "192.0.2.1"), annotated(MATCH, "192.0.2.2"), false],
  ["another wish of the same address", annotated(MATCH, "192.0.2.1"), { spec: { loadBalancerIP: "192.0.2.1" } }, false],
  ["another port", {}, { spec: { ports: [{ port: 81, protocol: "TCP" }] } }, false],
  ["other pods", { spec: { selector: { app: "one" } } }, { spec: { selector: { app: "two" } } }, true],
  ["no pods", { spec: { selector: { app: "one" } } }, { spec: { selector: {} } }, false],
  ["an external IP", {}, { spec: { externalIPs: ["192.0.2.1"] } }, false],
  ["a pool", {}, { labels: { "svccontroller.k3s.cattle.io/lbpool": "blue" } }, false],
];

for (const [name, a, b, isSame] of CASES) {
  Deno.test(`saysSame(), ${name}: ${isSame}`, () => assert.equal(saysSame(service(a), service(b)), isSame));
}
