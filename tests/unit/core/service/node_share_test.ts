// What one node is to serve, decided by itself: case by case, and that it agrees with the server's view of all nodes.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node, Service } from "../../../../core/kube/types.ts";
import { serviceClaim } from "../../../../core/service/claim.ts";
import {
  type ClusterFacts,
  type ContestedPort,
  parseFacts,
  renderFacts,
} from "../../../../core/service/cluster_facts.ts";
import { isAllowListMode } from "../../../../core/service/node_selection.ts";
import { CLUSTER_FACTS } from "../../../support/cluster_facts.ts";
import { nodeShare } from "../../../../core/service/node_share.ts";
import { portIds } from "../../../../core/service/port_owners.ts";
import { readService } from "../../../../core/service/reading.ts";
import { serviceId } from "../../../../core/service/service_id.ts";
import { ClusterView } from "../../../../core/service_lb/cluster_view.ts";
import { desiredDaemonSet } from "../../../../core/service_lb/daemonset/desired_daemonset.ts";
import { candidateNodes } from "../../../../core/service_lb/desired_service.ts";
import { heldPorts } from "../../../../core/service_lb/daemonset/held_ports.ts";
import { node, service, SERVICE_OPTIONS } from "../service_lb/fixtures.ts";

const ENABLE = "svccontroller.k3s.cattle.io/enablelb";
const POOL = "svccontroller.k3s.cattle.io/lbpool";
const EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers";

const port = (number: number, protocol = "TCP"): { port: number; protocol: string } => ({ port: number, protocol });
const taint = (effect: string): Parameters<typeof node>[1] => ({ taints: [{ key: "dedicated", value: "db", effect }] });

interface ShareCase {
  readonly name: string;
  readonly service?: Parameters<typeof service>[0];
  readonly node?: Parameters<typeof node>[1];
  readonly facts?: Partial<ClusterFacts>;
  /** Beside the Service. */
  readonly others?: readonly Service[];
  /** Services by name that the node forwards already. */
  readonly serves?: readonly string[];
  /** The part, and the words that belong to it. */
  readonly want: readonly [part: string, reason?: string, words?: RegExp];
}

const older = service({ name: "older", created: "2025-01-01T00:00:00Z" });
const younger = service({ name: "younger", created: "2027-01-01T00:00:00Z" });

const GIVEN = (to: Service): ContestedPort => ({ service: serviceId(to), without: new Set() });

const CASES: readonly ShareCase[] = [
  { name: "a Service", want: ["serve"] },
  {
    name: "another class",
    service: { spec: { loadBalancerClass: "other" } },
    want: ["none", "OtherClass", /class "other"/],
  },
  { name: "no class, where none is served", facts: { lbDefault: false }, want: ["none", "NoClass"] },
  {
    name: "our class, where no other is served",
    service: { spec: { loadBalancerClass: "k3slb.io/node-addresses" } },
    facts: { lbDefault: false },
    want: ["serve"],
  },
  { name: "opted out", service: { annotations: { "k3slb.io/enabled": "false" } }, want: ["none", "OptedOut"] },
  { name: "another type", service: { spec: { type: "ClusterIP" } }, want: ["none", "NotLoadBalancer"] },
  {
    name: "a list of nodes that this one is not on",
    facts: { allowList: true },
    want: ["elsewhere", "NotEnabled", /enablelb=true/],
  },
  {
    name: "a list of nodes that this one is on",
    facts: { allowList: true },
    node: { labels: { [ENABLE]: "true" } },
    want: ["serve"],
  },
  {
    name: "a list of nodes that begins with this node, before the server says so",
    node: { labels: { [ENABLE]: "false" } },
    want: ["elsewhere", "NotEnabled"],
  },
  { name: "a pool", service: { labels: { [POOL]: "blue" } }, want: ["elsewhere", "NotInPool"] },
  {
    name: "the node's pool",
    service: { labels: { [POOL]: "blue" } },
    node: { labels: { [POOL]: "blue" } },
    want: ["serve"],
  },
  { name: "an excluded node", node: { labels: { [EXCLUDE]: "" } }, want: ["serve"] },
  {
    name: "an excluded node, where that counts",
    node: { labels: { [EXCLUDE]: "" } },
    facts: { honorExcludeLabel: true },
    want: ["elsewhere", "Excluded"],
  },
  { name: "a taint", node: taint("NoSchedule"), want: ["elsewhere", "Tainted", /dedicated=db:NoSchedule/] },
  { name: "a taint that came later", node: taint("NoSchedule"), serves: ["web"], want: ["serve"] },
  { name: "a taint that sends away", node: taint("NoExecute"), serves: ["web"], want: ["elsewhere", "Tainted"] },
  {
    name: "a taint that the Service tolerates",
    node: taint("NoExecute"),
    service: { annotations: { "svccontroller.k3s.cattle.io/tolerations": `[{"operator":"Exists"}]` } },
    want: ["serve"],
  },
  {
    name: "an older Service",
    others: [older],
    want: ["lost", "PortTaken", /80\/TCP is taken by Service default\/older/],
  },
  { name: "a younger Service", others: [younger], want: ["serve"] },
  { name: "a younger Service that is served", others: [younger], serves: ["younger"], want: ["lost", "PortTaken"] },
  { name: "an older Service, while it is served itself", others: [older], serves: ["web"], want: ["serve"] },
  {
    name: "an older Service of another class",
    others: [service({ name: "older", created: "2025-01-01T00:00:00Z", spec: { loadBalancerClass: "other" } })],
    want: ["serve"],
  },
  {
    name: "a port that the server has given to another, whatever is served here",
    others: [younger],
    serves: ["web"],
    facts: { contested: new Map([["80/TCP", [{ service: serviceId(younger), without: new Set() }]]]) },
    want: ["lost", "PortTaken", /younger/],
  },
  {
    name: "a port that an older one has elsewhere, and would have here since it is chosen for this node too",
    others: [older],
    serves: ["web"],
    facts: { contested: new Map([["80/TCP", [GIVEN(older), GIVEN(service())]]]) },
    want: ["serve"],
  },
  {
    name: "a port that an older one has everywhere, and this one too by what the server says",
    others: [older],
    facts: { contested: new Map([["80/TCP", [GIVEN(older), GIVEN(service())]]]) },
    want: ["lost", "PortTaken", /older/],
  },
  {
    name: "a port that a younger one has elsewhere and here, and this one has on other nodes",
    others: [younger],
    serves: ["younger"],
    facts: { contested: new Map([["80/TCP", [GIVEN(service()), GIVEN(younger)]]]) },
    want: ["lost", "PortTaken", /younger/],
  },
  {
    name: "a port that the server has given to another, but not here",
    others: [younger],
    facts: { contested: new Map([["80/TCP", [{ service: serviceId(younger), without: new Set(["n1"]) }]]]) },
    want: ["serve"],
  },
  {
    name: "a port that the server had given to one that is gone",
    others: [older],
    serves: ["web"],
    facts: { contested: new Map([["80/TCP", [{ service: "gone", without: new Set() }]]]) },
    want: ["serve"],
  },
  {
    name: "the node port of an older Service",
    service: { spec: { ports: [port(30080)] } },
    facts: {
      foreign: [
        service({ name: "np", created: "2025-01-01T00:00:00Z", spec: { ports: [{ ...port(80), nodePort: 30080 }] } }),
      ],
    },
    want: ["lost", "PortTaken", /node port of Service default\/np/],
  },
  {
    name: "the node port of a younger Service",
    service: { spec: { ports: [port(30080)] } },
    facts: { foreign: [service({ name: "np", created: "2027-01-01T00:00:00Z" })] },
    want: ["serve"],
  },
  {
    name: "the node port of an older load balancer",
    service: { spec: { ports: [port(30080)] } },
    others: [
      service({ name: "older", created: "2025-01-01T00:00:00Z", spec: { ports: [{ ...port(81), nodePort: 30080 }] } }),
    ],
    want: ["lost", "PortTaken", /node port of Service default\/older/],
  },
  {
    name: "an older Service's external IP that is this node's",
    node: { internal: ["192.0.2.1"] },
    facts: {
      foreign: [service({ name: "ip", created: "2025-01-01T00:00:00Z", spec: { externalIPs: ["192.0.2.1"] } })],
    },
    want: ["lost", "PortTaken", /192\.0\.2\.1/],
  },
  {
    name: "an older Service's external IP that is another node's",
    node: { internal: ["192.0.2.2"] },
    facts: {
      foreign: [service({ name: "ip", created: "2025-01-01T00:00:00Z", spec: { externalIPs: ["192.0.2.1"] } })],
    },
    want: ["serve"],
  },
  {
    name: "ports that are kept for node ports",
    service: { spec: { ports: [port(30500)] } },
    facts: { nodePortRange: { from: 30000, to: 32767 } },
    want: ["lost", "PortTaken", /kept for node ports/],
  },
  {
    name: "tolerations that can't be read",
    service: { annotations: { "svccontroller.k3s.cattle.io/tolerations": "[" } },
    want: ["lost", "InvalidAnnotation"],
  },
  {
    name: "tolerations that can't be read any more",
    service: { annotations: { "svccontroller.k3s.cattle.io/tolerations": "[" } },
    serves: ["web"],
    want: ["serve"],
  },
];

for (const { name, want: [part, reason, words], ...given } of CASES) {
  Deno.test(`nodeShare(), ${name}: ${part}`, () => {
    const own = service(given.service);
    const share = nodeShare([own, ...given.others ?? []], {
      node: node("n1", given.node),
      facts: { ...CLUSTER_FACTS, ...given.facts },
      served: (one) => new Set(given.serves?.includes(one.metadata?.name ?? "") ? portIds(one) : []),
    }).get("default/web");
    assert.ok(share !== undefined);
    assert.equal(share.part, part);
    if (share.part === "serve") return;
    if (reason !== undefined) assert.equal(share.problem.reason, reason);
    assert.match(share.problem.message, words ?? /./);
  });
}

Deno.test("nodeShare() looks through the ports on nodes of those Services alone that are others than before", () => {
  let looks = 0;
  const watched = (name: string): Service => {
    const one = service({ name, created: "2025-01-01T00:00:00Z" });
    const spec = {
      ...one.spec,
      get externalIPs() {
        looks++;
        return [];
      },
    };
    return { ...one, spec };
  };
  const known = { node: node("n1"), facts: { ...CLUSTER_FACTS }, served: () => new Set<string>() };
  const [one, two] = [watched("one"), watched("two")];
  nodeShare([one, two], known);
  const first = looks;
  nodeShare([one, two], known);
  assert.equal(looks, first);
  nodeShare([one, watched("two")], known);
  assert.ok(looks > first && looks < 2 * first + 2, String(looks));
});

const serviceSketch = fc.record({
  created: fc.constantFrom("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z", "2025-01-03T00:00:00Z"),
  ports: fc.uniqueArray(fc.constantFrom(80, 81, 30080), { minLength: 1 }),
  nodePort: fc.constantFrom(30080, 30081),
  pool: fc.constantFrom("", "blue"),
  lbClass: fc.constantFrom("", "", CLUSTER_FACTS.lbClass, "other"),
  enabled: fc.constantFrom("true", "true", "false"),
  tolerates: fc.boolean(),
  /** Whether it has its DaemonSet, and where not. */
  has: fc.boolean(),
  without: fc.uniqueArray(fc.constantFrom("n1", "n2", "n3")),
});
const nodeSketch = fc.record({
  enable: fc.constantFrom(undefined, undefined, undefined, "true", "false"),
  pool: fc.constantFrom("", "blue"),
  excluded: fc.boolean(),
  taint: fc.constantFrom("", "", "NoSchedule", "NoExecute", "PreferNoSchedule"),
});
const foreignSketch = fc.record({
  created: fc.constantFrom("2025-01-01T00:00:00Z", "2025-01-04T00:00:00Z"),
  nodePort: fc.constantFrom(80, 30080),
  ip: fc.constantFrom("", "192.0.2.1", "192.0.2.2"),
});

Deno.test("nodeShare() says for every node what the server says, by the facts that the server publishes", () => {
  const world = fc.record({
    services: fc.array(serviceSketch, { maxLength: 5 }),
    nodes: fc.tuple(nodeSketch, nodeSketch, nodeSketch),
    foreign: fc.array(foreignSketch, { maxLength: 2 }),
    lbDefault: fc.boolean(),
    honorExcludeLabel: fc.boolean(),
    keepsNodePorts: fc.boolean(),
  });
  fc.assert(
    fc.property(world, (given) => {
      const services = given.services.map((one, i) => sketched(one, `s${i}`));
      const nodes = new Map(given.nodes.map((one, i) => [`n${i + 1}`, sketchedNode(one, i + 1)]));
      const foreign = given.foreign.map((one, i) =>
        service({
          name: `f${i}`,
          created: one.created,
          spec: {
            type: "NodePort",
            ports: [{ port: 81, protocol: "TCP", nodePort: one.nodePort }],
            ...(one.ip === "" ? {} : { externalIPs: [one.ip] }),
          },
        })
      );
      const options = {
        ...SERVICE_OPTIONS,
        lbClass: CLUSTER_FACTS.lbClass,
        lbDefault: given.lbDefault,
        honorExcludeLabel: given.honorExcludeLabel,
        ...(given.keepsNodePorts ? { nodePortRange: { from: 30000, to: 32767 } } : {}),
      };
      const view = new ClusterView(() => ({
        services: new Map(services.map((one) => [readService(one).key, one])),
        nodes,
      }), options);
      for (const after of services) view.noteService({ before: undefined, after });
      for (const after of foreign) view.noteForeign({ before: undefined, after });
      const allowList = isAllowListMode(nodes.values());
      const selection = { allowList, honorExcludeLabel: options.honorExcludeLabel };
      const contested = new Map<string, { service: string; without: ReadonlySet<string> }[]>();
      const ours = services.filter((one) => serviceClaim(one, options).ours);
      for (const [i, one] of services.entries()) {
        const sketch = given.services[i];
        if (!sketch?.has) continue;
        const built = desiredDaemonSet(one, { ...options, selection, without: sketch.without });
        assert.ok("daemonSet" in built);
        view.noteDaemonSet({ before: undefined, after: built.daemonSet });
        const held = heldPorts([built.daemonSet]);
        for (const id of portIds(one)) {
          if (!ours.includes(one) || ours.filter((other) => portIds(other).includes(id)).length < 2) continue;
          const entry = { service: serviceId(one), without: held?.without ?? new Set<string>() };
          contested.set(id, [...contested.get(id) ?? [], entry]);
        }
      }
      const published = renderFacts({
        ...CLUSTER_FACTS,
        ...options,
        allowList,
        foreign,
        contested,
        reservePorts: "daemonset",
      });
      const facts = parseFacts(published);
      assert.ok(facts !== undefined);
      for (const [name, own] of nodes) {
        const share = nodeShare(services.toReversed(), { node: own, facts, served: () => new Set() });
        for (const one of services) {
          const { key } = readService(one);
          const isOurs = serviceClaim(one, options).ours;
          const isCandidate = candidateNodes(one, { ...selection, nodes: [own] }).length > 0;
          const lost = view.factsOf(key, new Set()).conflicts.get(name);
          const want = !isOurs ? "none" : !isCandidate ? "elsewhere" : lost === undefined ? "serve" : "lost";
          assert.equal(share.get(key)?.part, want, `${key} on ${name}`);
        }
      }
    }),
    { numRuns: 400 },
  );
});

function sketched(
  sketch: Record<string, unknown> & { ports: number[]; nodePort: number; created: string },
  name: string,
): Service {
  const { pool, lbClass, enabled, tolerates } = sketch;
  return service({
    name,
    created: sketch.created,
    labels: pool === "" ? {} : { [POOL]: String(pool) },
    annotations: {
      "k3slb.io/enabled": String(enabled),
      ...(tolerates ? { "svccontroller.k3s.cattle.io/tolerations": `[{"operator":"Exists"}]` } : {}),
    },
    spec: {
      ports: sketch.ports.map((number, i) => ({ ...port(number), nodePort: sketch.nodePort + i })),
      ...(lbClass === "" ? {} : { loadBalancerClass: String(lbClass) }),
    },
  });
}

function sketchedNode(
  sketch: { enable: string | undefined; pool: string; excluded: boolean; taint: string },
  number: number,
): Node {
  return node(`n${number}`, {
    internal: [`192.0.2.${number}`],
    labels: {
      ...(sketch.enable === undefined ? {} : { [ENABLE]: sketch.enable }),
      ...(sketch.pool === "" ? {} : { [POOL]: sketch.pool }),
      ...(sketch.excluded ? { [EXCLUDE]: "" } : {}),
    },
    ...(sketch.taint === "" ? {} : taint(sketch.taint)),
  });
}
