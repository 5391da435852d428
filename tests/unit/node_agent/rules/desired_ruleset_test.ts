// The rules as a whole (goldens) and what they do to packets (tracer), for every combination that a port can have.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { IP_FAMILIES, type IpFamily, type Protocol, PROTOCOLS } from "../../../../core/shared/ip.ts";
import type { ForwardedPort, ForwardingPlan } from "../../../../node_agent/dataplane_contract.ts";
import {
  affinityListName,
  MAX_CHAIN_NAME_LENGTH,
  portChainNames,
} from "../../../../node_agent/rules/desired_chain_names.ts";
import { desiredJumps, desiredRuleSet } from "../../../../node_agent/rules/desired_ruleset.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../../node_agent/rules/parse_mark_bits.ts";
import { renderRuleSet } from "../../../../node_agent/rules/render_restore.ts";
import { renderRule } from "../../../../node_agent/rules/render_rule.ts";
import { type Outcome, type Packet, tracedRules, tracePacket } from "../../../../node_agent/rules/trace_packet.ts";
import { EVERY_KIND, POD_CIDRS, portWith } from "../../../support/plans.ts";

const MARKS = parseMarkBits(DEFAULT_MARK_BITS);
const FEATURES = { randomFully: true, sctp: true, recent: true, bridgeFilter: true };

function trace(text: string, packet: Packet): readonly Omit<Outcome, "chains">[] {
  return tracePacket(tracedRules(text), packet).map(({ chains: _, ...outcome }) => outcome);
}

function textOf(plan: ForwardingPlan, family: IpFamily, features = FEATURES): string {
  return renderRuleSet(desiredRuleSet(plan, family, { marks: MARKS, features }).ruleSet);
}

for (const family of IP_FAMILIES) {
  Deno.test(`renderRuleSet writes the ${family} rules as they always were (UPDATE_GOLDEN=1 rewrites)`, () => {
    const path = new URL(`../../../golden/ruleset_${family.toLowerCase()}.txt`, import.meta.url);
    const jumps = desiredJumps(family).map((jump) =>
      `# ${jump.table} ${jump.chain}: ${renderRule(jump.rule, family)}\n`
    );
    const text = textOf(EVERY_KIND, family) + jumps.join("");
    if (Deno.env.get("UPDATE_GOLDEN") === "1") writeFileSync(path, text);
    assert.equal(text, readFileSync(path, "utf8"));
  });

  Deno.test(`desiredRuleSet gives ${family} names that iptables takes`, () => {
    const { ruleSet } = desiredRuleSet({ podCidrs: [], ports: manyPorts(600) }, family, {
      marks: MARKS,
      features: FEATURES,
    });
    for (const { name } of [...ruleSet.tables.nat, ...ruleSet.tables.filter]) {
      assert.ok(name.length <= MAX_CHAIN_NAME_LENGTH && name.startsWith("K3SLB-"), name);
    }
  });
}

Deno.test("desiredRuleSet does not depend on the order of ports, endpoints and ranges", () => {
  const reversed = (plan: ForwardingPlan): ForwardingPlan => ({
    podCidrs: [...plan.podCidrs].reverse(),
    ports: plan.ports.map((port) => ({
      ...port,
      endpoints: [...port.endpoints].reverse(),
      ...(port.sourceRanges ? { sourceRanges: [...port.sourceRanges].reverse() } : {}),
    })).reverse(),
  });
  for (const family of IP_FAMILIES) assert.equal(textOf(reversed(EVERY_KIND), family), textOf(EVERY_KIND, family));
});

const CLIENTS: Readonly<Record<IpFamily, { outside: string; denied: string; pod: string; node: string }>> = {
  IPv4: { outside: "10.0.0.9", denied: "203.0.113.9", pod: "10.42.1.10", node: "172.30.0.11" },
  IPv6: { outside: "fd00::9", denied: "2001:db8::9", pod: "fd42:1::10", node: "fd30::11" },
};
const ENDS: Readonly<Record<IpFamily, { local: readonly string[]; remote: readonly string[] }>> = {
  IPv4: { local: ["10.42.1.10 8080", "10.42.1.11 8080"], remote: ["10.42.2.10 8080", "10.42.2.11 8080"] },
  IPv6: { local: ["fd42:1::10 8080"], remote: ["fd42:2::10 8080"] },
};

Deno.test("desiredRuleSet: every protocol, family, policy, ranges, affinity and client", () => {
  let tried = 0;
  for (const family of IP_FAMILIES) {
    for (const protocol of PROTOCOLS) {
      for (const trafficPolicy of ["Cluster", "Local"] as const) {
        for (const ranges of [undefined, ["10.0.0.0/8", "fd00::/8"]]) {
          for (const [affinitySeconds, bridgeFilter] of [[undefined, true], [60, true], [60, false]] as const) {
            const port = portWith({
              protocol,
              trafficPolicy,
              ...(ranges ? { sourceRanges: ranges } : {}),
              ...(affinitySeconds ? { affinitySeconds } : {}),
            });
            const text = textOf({ podCidrs: POD_CIDRS, ports: [port] }, family, { ...FEATURES, bridgeFilter });
            for (const [who, from] of Object.entries(CLIENTS[family])) {
              tried++;
              const fromNode = who === "node";
              const packet: Packet = { from, to: CLIENTS[family].node, protocol, port: 80, fromNode };
              const outcomes = trace(text, packet);
              const name =
                `${family} ${protocol} ${trafficPolicy} ${ranges} ${affinitySeconds} ${bridgeFilter} from the ${who}`;
              const admitted = !ranges || /^(10\.|fd)/.test(from);
              if (!admitted) {
                assert.deepEqual(outcomes, [{ dest: "DROP", masquerade: false, chance: 1 }], name);
                continue;
              }
              // Under policy Local a pod here keeps its address, unless it reaches itself.
              const keeps = trafficPolicy === "Local" && bridgeFilter;
              const hides = (dest: string): boolean =>
                who === "node" || (who === "pod" && (!keeps || dest.startsWith(`${from} `)));
              const { local, remote } = ENDS[family];
              const want = [
                ...local.map((dest) => `${dest} ${hides(dest)}`),
                ...(trafficPolicy === "Local" ? [] : remote.map((dest) => `${dest} true`)),
              ];
              assert.deepEqual(outcomes.map((one) => `${one.dest} ${one.masquerade}`).sort(), want.sort(), name);
              for (const { chance } of outcomes) {
                assert.ok(Math.abs(chance - 1 / want.length) < 1e-6, `${name}: ${chance}`);
              }
            }
          }
        }
      }
    }
  }
  assert.equal(tried, 2 * 3 * 2 * 2 * 3 * 4);
});

interface TraceCase {
  readonly name: string;
  readonly given: {
    readonly ports: readonly ForwardedPort[];
    readonly packet?: Partial<Packet>;
    readonly features?: typeof FEATURES;
  };
  readonly want: string;
}

const STICKY = portWith({ affinitySeconds: 60 });
const TRACES: readonly TraceCase[] = [
  { name: "another port passes", given: { ports: [portWith()], packet: { port: 81 } }, want: "PASS" },
  { name: "another protocol passes", given: { ports: [portWith()], packet: { protocol: "UDP" } }, want: "PASS" },
  { name: "no endpoints resets TCP", given: { ports: [portWith({ endpoints: [] })] }, want: "RESET" },
  {
    name: "no endpoints rejects UDP",
    given: { ports: [portWith({ endpoints: [], protocol: "UDP" })], packet: { protocol: "UDP" } },
    want: "REJECT",
  },
  {
    name: "no endpoints still drops who is not admitted",
    given: { ports: [portWith({ endpoints: [], sourceRanges: ["192.168.0.0/16"] })] },
    want: "DROP",
  },
  {
    name: "endpoints of the other family are no endpoints",
    given: { ports: [portWith({ endpoints: [{ ip: "fd42:1::10", port: 1, local: true }] })] },
    want: "RESET",
  },
  {
    name: "policy Local with remote endpoints only drops",
    given: { ports: [portWith({ trafficPolicy: "Local", endpoints: [{ ip: "10.42.2.10", port: 1, local: false }] })] },
    want: "DROP",
  },
  {
    name: "an endpoint on the loopback interface is left out",
    given: { ports: [portWith({ endpoints: [{ ip: "127.0.0.1", port: 1, local: true }] })] },
    want: "RESET",
  },
  {
    name: "no range of the family admits no one",
    given: { ports: [portWith({ sourceRanges: ["fd00::/8"] })] },
    want: "DROP",
  },
  {
    name: "a range for everyone admits everyone",
    given: { ports: [portWith({ sourceRanges: ["0.0.0.0/0"], trafficPolicy: "Local" })] },
    want: "10.42.1.10 8080, 10.42.1.11 8080",
  },
  {
    name: "a remembered client goes to its local endpoint",
    given: { ports: [STICKY], packet: { remembered: [affinityListName(STICKY, "10.42.1.11", 8080)] } },
    want: "10.42.1.11 8080",
  },
  {
    name: "a remembered client goes to its remote endpoint, masqueraded",
    given: { ports: [STICKY], packet: { remembered: [affinityListName(STICKY, "10.42.2.11", 8080)] } },
    want: "10.42.2.11 8080 masqueraded",
  },
  {
    name: "a client remembered for an endpoint that is gone is sent on",
    given: { ports: [portWith({ affinitySeconds: 60, trafficPolicy: "Local" })], packet: { remembered: ["K3SLB-X"] } },
    want: "10.42.1.10 8080, 10.42.1.11 8080",
  },
  {
    name: "an address in a range that matches is served",
    given: {
      ports: [portWith({ matchAddresses: ["172.30.0.0/24"], endpoints: [{ ip: "10.42.1.1", port: 9, local: true }] })],
    },
    want: "10.42.1.1 9",
  },
  {
    name: "an address that does not match passes",
    given: { ports: [portWith({ matchAddresses: ["172.30.0.12", "fd30::11"] })] },
    want: "PASS",
  },
  {
    name: "SCTP without the kernel's help has no rules",
    given: {
      ports: [portWith({ protocol: "SCTP" })],
      packet: { protocol: "SCTP" },
      features: { ...FEATURES, sctp: false },
    },
    want: "PASS",
  },
];

for (const { name, given, want } of TRACES) {
  Deno.test(`desiredRuleSet: ${name}`, () => {
    const text = textOf({ podCidrs: POD_CIDRS, ports: given.ports }, "IPv4", given.features);
    const packet: Packet = { from: "10.0.0.9", to: "172.30.0.11", protocol: "TCP", port: 80, ...given.packet };
    const outcomes = trace(text, packet);
    assert.equal(outcomes.map((one) => `${one.dest}${one.masquerade ? " masqueraded" : ""}`).join(", "), want);
  });
}

Deno.test("desiredRuleSet sends each of 600 ports to its own Service, through few rules", () => {
  const ports = manyPorts(600);
  const text = textOf({ podCidrs: [], ports }, "IPv4");
  for (const port of ports.filter((_, index) => index % 20 === 0)) {
    const [outcome] = trace(text, { from: "10.0.0.9", to: "1.2.3.4", protocol: port.protocol, port: port.port });
    assert.equal(outcome?.dest, `10.42.1.${port.endpoints[0]?.ip.split(".")[3]} ${port.port}`);
  }
  const walked = Math.max(
    ...[...text.matchAll(/^-A (K3SLB-(?:SERVICES|B-\S+)) /gm)].map((match) => text.split(`-A ${match[1]} `).length - 1),
  );
  assert.ok(walked <= 64, `${walked} rules in one dispatch chain`);
});

Deno.test("desiredRuleSet says which ports it can't serve, and why, and serves the others", () => {
  const failing = [
    portWith({ protocol: "SCTP", port: 1 }),
    portWith({ affinitySeconds: 5, port: 2 }),
    portWith({ endpoints: [{ ip: "127.0.0.1", port: 1, local: true }], port: 3 }),
    portWith({ port: 4 }),
    portWith({ port: 5, protocol: "DCCP" as Protocol }),
  ];
  const { failures, ruleSet } = desiredRuleSet({ podCidrs: [], ports: failing }, "IPv4", {
    marks: MARKS,
    features: { ...FEATURES, sctp: false, recent: false },
  });
  assert.deepEqual(failures.map((failure) => `${failure.port.port}: ${failure.reason}`), [
    "1: The kernel cannot forward SCTP",
    '2: The kernel lacks the "recent" match: session affinity is not kept',
    '3: Endpoint "127.0.0.1" is not an address that other hosts can reach',
    '5: Protocol "DCCP" cannot be forwarded',
  ]);
  const text = renderRuleSet(ruleSet);
  assert.ok(
    text.includes("--dport 4 ") && text.includes("--dport 2 ") && !/recent|sctp|dccp/.test(text),
  );
});

Deno.test("desiredRuleSet refuses a second port whose chains have the names of another's", () => {
  const first = portWith({ endpoints: [{ ip: "10.42.1.10", port: 1, local: true }] });
  const again = portWith({ endpoints: [{ ip: "10.42.1.11", port: 1, local: true }], sourceRanges: ["10.0.0.0/8"] });
  const { ruleSet, failures } = desiredRuleSet({ podCidrs: [], ports: [first, again] }, "IPv4", {
    marks: MARKS,
    features: FEATURES,
  });
  assert.deepEqual(failures.map(({ port, reason }) => ({ port, reason })), [
    { port: again, reason: "Its chains have the names of those of default/web TCP 80" },
  ]);
  const names = ruleSet.tables.nat.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(renderRuleSet(ruleSet).includes("10.42.1.10") && !renderRuleSet(ruleSet).includes("10.42.1.11"));
});

Deno.test("portChainNames tells ports apart whose names were made to share 48 bits", () => {
  const made = [{ service: "c3c832c7", port: 7778 }, { service: "c1f2b75c", port: 7777 }].map((one) =>
    portChainNames(portWith({ ...one, namespace: "tenant", portName: "" }))
  );
  assert.notDeepEqual(made[0], made[1]);
  for (const { service } of made) assert.match(service, /^K3SLB-S-[0-9A-V]{16}$/);
});

Deno.test("desiredRuleSet leaves out endpoints that mean this host, whatever their spelling", () => {
  const unreachable = [
    ...["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "169.254.0.1", "224.0.0.251"],
    ...["239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"],
    ...["0:0:0:0:0:FFFF:A9FE:A9FE", "::ffff:10.0.0.1", "fe80::1", "febf::1", "ff02::1", "fe80::1%eth0", "10.0.0.1/8"],
    ...["010.0.0.1", "10.0.0.1 ", "10.0.0.1\n-j ACCEPT", "", "localhost"],
    ...["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd00:0ec2:0::0254", "fd20:ce::254", "fd00:c1::a9fe:a9fe"],
  ];
  for (const ip of unreachable) {
    const port = portWith({ endpoints: [{ ip, port: 1, local: true }] });
    assert.match(textOf({ podCidrs: [], ports: [port] }, "IPv4"), /--dport 80 .* -j K3SLB-REJECT/, ip);
    assert.match(textOf({ podCidrs: [], ports: [port] }, "IPv6"), /--dport 80 .* -j K3SLB-REJECT/, ip);
  }
});

Deno.test("desiredJumps takes no packet of a loopback address", () => {
  const specs = (family: IpFamily): string[] =>
    desiredJumps(family).slice(0, 2).map((jump) => renderRule(jump.rule, family));
  const local = "-m addrtype --dst-type LOCAL -j K3SLB-SERVICES";
  assert.deepEqual(specs("IPv4"), [`! -d 127.0.0.0/8 ${local}`, `! -d 127.0.0.0/8 ${local}`]);
  assert.deepEqual(specs("IPv6"), [`! -d ::1/128 ${local}`, `! -d ::1/128 ${local}`]);
});

function manyPorts(count: number): readonly ForwardedPort[] {
  return Array.from({ length: count }, (_, i) =>
    portWith({
      service: `s${i}`,
      port: 20_000 + i,
      protocol: PROTOCOLS[i % 3] ?? "TCP",
      endpoints: [{ ip: `10.42.1.${1 + (i % 250)}`, port: 20_000 + i, local: true }],
    }));
}
