// NodeHosts: the text that CoreDNS serves names of nodes from.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node } from "../../../../core/kube/types.ts";
import { desiredNodeHosts } from "../../../../core/packaged/node_hosts.ts";

function node(name: string, addresses: Readonly<Record<string, readonly string[]>>): Node {
  const list = Object.entries(addresses).flatMap(([type, ips]) => ips.map((address) => ({ type, address })));
  return { metadata: { name }, status: { addresses: list } };
}

const CASES: readonly {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly present?: string;
  readonly recorded?: readonly string[];
  readonly want: string;
  readonly faulty?: readonly string[];
}[] = [
  {
    name: "one line a node, in the order of addresses, not of texts",
    nodes: [node("b", { InternalIP: ["10.0.0.10"] }), node("a", { InternalIP: ["10.0.0.9"] })],
    want: "10.0.0.9 a\n10.0.0.10 b\n",
  },
  {
    name: "the host name is a second word only where it differs",
    nodes: [
      node("a", { InternalIP: ["10.0.0.1"], Hostname: ["a"] }),
      node("b", { InternalIP: ["10.0.0.2"], Hostname: ["b.lan"] }),
      node("c", { InternalIP: ["10.0.0.3"], Hostname: ["pi4"] }),
    ],
    want: "10.0.0.1 a\n10.0.0.2 b b.lan\n10.0.0.3 c pi4\n",
  },
  {
    name: "a node answers for no name of somebody else",
    nodes: [
      node("a", { InternalIP: ["10.0.0.1"], Hostname: ["b"] }),
      node("b", { InternalIP: ["10.0.0.2"], Hostname: ["registry.example.com"] }),
      node("c", { InternalIP: ["10.0.0.3"], Hostname: ["x\n10.0.0.3 www.example.com"] }),
      node("d", { InternalIP: ["10.0.0.4"], Hostname: ["localhost"] }),
      node("e", { InternalIP: ["10.0.0.5"], Hostname: ["pi4"] }),
      node("f", { InternalIP: ["10.0.0.6"], Hostname: ["pi4"] }),
    ],
    want: "10.0.0.1 a\n10.0.0.2 b\n10.0.0.3 c\n10.0.0.4 d\n10.0.0.5 e\n10.0.0.6 f\n",
  },
  {
    name: "one InternalIP a family, no external ones",
    nodes: [node("a", { ExternalIP: ["203.0.113.1"], InternalIP: ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"] })],
    want: "10.0.0.1 a\nfd00::1 a\n",
  },
  { name: "a node without an address has no line", nodes: [node("a", {})], want: "" },
  { name: "addresses that are none are left out", nodes: [node("a", { InternalIP: ["localhost"] })], want: "" },
  {
    name: "a node that is gone leaves",
    nodes: [node("a", { InternalIP: ["10.0.0.1"] })],
    present: "10.0.0.1 a\n10.0.0.2 b\n",
    recorded: ["a", "b"],
    want: "10.0.0.1 a\n",
  },
  {
    name: "a node that changes its address has one line",
    nodes: [node("a", { InternalIP: ["10.0.0.7"] })],
    present: "10.0.0.1 a\n",
    recorded: ["a"],
    want: "10.0.0.7 a\n",
  },
  {
    name: "lines of users stay, comments are cut",
    nodes: [node("a", { InternalIP: ["10.0.0.1"] })],
    present: "# mine\n192.168.1.5   nas nas.lan # the box\n10.0.0.1 a\n",
    recorded: ["a"],
    want: "10.0.0.1 a\n192.168.1.5 nas nas.lan\n",
  },
  {
    name: "lines under two words and without an address are told",
    nodes: [],
    present: "10.0.0.1\nnas 10.0.0.2\n",
    want: "",
    faulty: ["10.0.0.1", "nas 10.0.0.2"],
  },
];

for (const { name, nodes, present = "", recorded = [], want, faulty = [] } of CASES) {
  Deno.test(`desiredNodeHosts: ${name}`, () => {
    const hosts = desiredNodeHosts({ nodes, present, recorded });
    assert.equal(hosts.text, want);
    assert.deepEqual(hosts.faulty, faulty);
  });
}

Deno.test("desiredNodeHosts: writing it again changes nothing, whatever the nodes and the order", () => {
  const nodes = fc.uniqueArray(
    fc.record({ name: fc.stringMatching(/^[a-z]{1,6}$/), ip: fc.ipV4(), ip6: fc.ipV6() }),
    { selector: ({ name }) => name, maxLength: 8 },
  );
  const others = fc.array(fc.record({ name: fc.stringMatching(/^[A-Z]{1,6}$/), ip: fc.ipV4() }), { maxLength: 4 });
  fc.assert(fc.property(nodes, others, (nodes, others) => {
    const list = nodes.map(({ name, ip, ip6 }) => node(name, { InternalIP: [ip, ip6] }));
    const present = others.map(({ name, ip }) => `${ip} ${name}\n`).join("");
    const once = desiredNodeHosts({ nodes: list, present, recorded: [] });
    const again = desiredNodeHosts({ nodes: list.toReversed(), present: once.text, recorded: once.nodeNames });
    assert.equal(again.text, once.text);
    const emptied = desiredNodeHosts({ nodes: [], present: once.text, recorded: once.nodeNames });
    assert.equal(emptied.text, desiredNodeHosts({ nodes: [], present, recorded: [] }).text);
  }));
});
