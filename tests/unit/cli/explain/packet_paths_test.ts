// What explain says of packets on this machine: by rules as the agent writes them, for every kind of client, in bounded length.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { nodeHere, type PacketPath, packetPaths, type PathFacts } from "../../../../cli/explain/packet_paths.ts";
import { readRules } from "../../../../cli/explain/read_rules.ts";
import { renderPaths } from "../../../../cli/explain/render_paths.ts";
import type { Node } from "../../../../core/kube/types.ts";
import type { ServicePort } from "../../../../core/service/reading.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { IP_FAMILIES } from "../../../../core/shared/ip.ts";
import type { ForwardedPort } from "../../../../node_agent/dataplane_contract.ts";
import type { Exec, ExecResult } from "../../../../node_agent/host/exec.ts";
import { desiredRuleSet } from "../../../../node_agent/rules/desired_ruleset.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../../node_agent/rules/parse_mark_bits.ts";
import { renderRuleSet } from "../../../../node_agent/rules/render_restore.ts";
import { tracedRules } from "../../../../node_agent/rules/trace_packet.ts";
import { POD_CIDRS, portWith } from "../../../support/plans.ts";

const NODE: Node = {
  metadata: { name: "node1" },
  spec: { podCIDRs: [...POD_CIDRS] },
  status: { addresses: [{ type: "InternalIP", address: "172.30.0.11" }, { type: "InternalIP", address: "fd30::11" }] },
};
const LOCAL_IPS = ["127.0.0.1", "172.30.0.11", "fd30::11"];

function textOf(ports: readonly ForwardedPort[], family: typeof IP_FAMILIES[number]): string {
  const options = {
    marks: parseMarkBits(DEFAULT_MARK_BITS),
    features: { randomFully: true, sctp: true, recent: true, bridgeFilter: true },
  };
  return renderRuleSet(desiredRuleSet({ podCidrs: POD_CIDRS, ports }, family, options).ruleSet);
}

function pathsFor(
  ports: readonly ForwardedPort[],
  facts: Partial<Omit<PathFacts, "reading">> & { readonly asked?: readonly number[] } = {},
): ReturnType<typeof packetPaths> {
  const { asked = ports.map(({ port }) => port), ...rest } = facts;
  const sourceRanges = ports[0]?.sourceRanges;
  const reading = {
    families: ["IPv4"] as const,
    ports: asked.map((port): ServicePort => ({ name: "", protocol: ports[0]?.protocol ?? "TCP", port })),
    ...(sourceRanges === undefined ? {} : { sourceRanges }),
  };
  const rules = Object.fromEntries(IP_FAMILIES.map((family) => [family, tracedRules(textOf(ports, family))]));
  return packetPaths({ reading, published: ["172.30.0.11"], node: NODE, localIps: LOCAL_IPS, rules, ...rest });
}

function words({ client, from, ends }: PacketPath): string {
  const ways = ends.map(({ to, share, masqueraded }) => `${to} ${share}${masqueraded ? " masqueraded" : ""}`);
  return `${client} ${from}: ${ways.join(", ")}`;
}

Deno.test("packetPaths: each kind of client, by what the rules do with it", () => {
  const { paths } = pathsFor([portWith()]);
  const [local1, local2] = ["10.42.1.10:8080 0.25", "10.42.1.11:8080 0.25"];
  const remote = "10.42.2.10:8080 0.25 masqueraded, 10.42.2.11:8080 0.25 masqueraded";
  const hidden = `${local1} masqueraded, ${local2} masqueraded, ${remote}`;
  deepEqual(paths.map(words), [
    `outside 192.0.2.1: ${local1}, ${local2}, ${remote}`,
    `pod 10.42.1.0/24: ${hidden}`,
    `node 172.30.0.11: ${hidden}`,
  ]);
  const [first, , third] = paths[0]?.ends ?? [];
  match(first?.chains.join(" ") ?? "", /^K3SLB-SERVICES K3SLB-S-\w{16}$/);
  match(third?.chains.join(" ") ?? "", /^K3SLB-SERVICES K3SLB-S-\w{16} K3SLB-R-\w{16}$/);
});

Deno.test("packetPaths: source ranges tell two kinds of machines outside apart", () => {
  const ports = [portWith({ sourceRanges: ["10.0.0.0/8", "fd00::/8"], trafficPolicy: "Local" })];
  deepEqual(pathsFor(ports).paths.map(words), [
    "outside 10.0.0.0/8: 10.42.1.10:8080 0.5, 10.42.1.11:8080 0.5",
    "not-admitted 192.0.2.1: dropped 1",
    "pod 10.42.1.0/24: 10.42.1.10:8080 0.5, 10.42.1.11:8080 0.5",
    "node 172.30.0.11: dropped 1",
  ]);
  deepEqual(pathsFor([portWith({ sourceRanges: [] })]).paths.map(words).slice(0, 2), [
    "not-admitted 192.0.2.1: dropped 1",
    "pod 10.42.1.0/24: dropped 1",
  ]);
  const open = pathsFor([portWith({ sourceRanges: ["0.0.0.0/0"] })]).paths.map(({ client, from }) =>
    `${client} ${from}`
  );
  deepEqual(open, ["outside 192.0.2.1", "pod 10.42.1.0/24", "node 172.30.0.11"]);
});

Deno.test("packetPaths: what no rule takes, what is refused, and an endpoint of the node itself", () => {
  deepEqual(pathsFor([portWith()], { asked: [81] }).paths.map(words)[0], "outside 192.0.2.1: passed 1");
  deepEqual(pathsFor([portWith({ endpoints: [] })]).paths.map(words)[0], "outside 192.0.2.1: reset 1");
  const onHost = portWith({ endpoints: [{ ip: "172.30.0.11", port: 8080, local: true, outsidePodCidrs: true }] });
  deepEqual(pathsFor([onHost]).paths.map(words)[1], "pod 10.42.1.0/24: 172.30.0.11:8080 1");
});

Deno.test("packetPaths: addresses of this machine alone; where none is published, the node's own", () => {
  const addresses = (published: readonly string[]): readonly string[] => [
    ...new Set(pathsFor([portWith()], { published }).paths.map(({ address }) => address)),
  ];
  deepEqual(addresses(["172.30.0.11", "172.30.0.12"]), ["172.30.0.11"]);
  deepEqual(addresses(["203.0.113.5"]), ["172.30.0.11"]);
});

Deno.test("packetPaths: a table whose jump is gone, or a family without rules, takes nothing", () => {
  const saved = `# Generated by iptables-save\n*nat\n:PREROUTING ACCEPT [0:0]\n${textOf([portWith()], "IPv4")}`;
  for (const rules of [{ IPv4: tracedRules(saved) }, {}]) {
    const { paths } = pathsFor([portWith()], { rules });
    deepEqual(paths.map(words)[0], "outside 192.0.2.1: passed 1");
  }
});

Deno.test("nodeHere: the Node with an address of this machine", () => {
  const other: Node = {
    metadata: { name: "node2" },
    status: { addresses: [{ type: "InternalIP", address: "1.2.3.4" }] },
  };
  equal(nodeHere([other, NODE], LOCAL_IPS)?.metadata?.name, "node1");
  equal(nodeHere([other], LOCAL_IPS), undefined);
});

Deno.test("renderPaths: 80 columns; clients to whom the same happens share lines; 32 ports and 1,000 endpoints stay a screen", () => {
  const { paths } = pathsFor([portWith()]);
  equal(
    renderPaths({ node: "node1", backend: "nft", paths }, { width: 80, wide: false }).replaceAll(
      /-[0-9A-V]{16}/g,
      "-#".padEnd(17),
    ),
    `Packets on this machine, node node1 (iptables, nft):
172.30.0.11 80/TCP   BY CHAIN                  TO
outside              K3SLB-S-#                 10.42.1.10:8080, 10.42.1.11:8080
                                               (50%)
                     K3SLB-R-#                 10.42.2.10:8080, 10.42.2.11:8080
                                               (50%); masqueraded
pod here, this node  K3SLB-S-#                 10.42.1.10:8080, 10.42.1.11:8080
                                               (50%); masqueraded
                     K3SLB-R-#                 10.42.2.10:8080, 10.42.2.11:8080
                                               (50%); masqueraded
`,
  );
  const endpoints = Array.from({ length: 1_000 }, (_, index) => ({
    ip: `10.42.${1 + (index >> 8)}.${index & 255}`,
    port: 8080,
    local: index < 256,
  }));
  const many = pathsFor(Array.from({ length: 32 }, (_, index) => portWith({ port: 8_000 + index, endpoints })));
  const answer = { node: "node1", backend: "nft", ...many };
  const lines = renderPaths(answer, { width: 80, wide: false }).trimEnd().split("\n");
  ok(lines.length < 60, `${lines.length} lines`);
  for (const line of lines) ok(line.length <= 80, line);
  equal(lines.at(-1), "28 more pairs of address and port: -o wide");
  match(lines.join(" ").replaceAll(/\s+/g, " "), /and 996 more/);
  const size = JSON.stringify(answer).length;
  ok(size < 400_000, `${size} characters of JSON`);
});

Deno.test("renderPaths: what can't be said is one line", () => {
  equal(
    renderPaths({ unknown: "no agent has written rules on this machine" }, { width: 100, wide: false }),
    "Packets on this machine: not followed: no agent has written rules on this machine\n",
  );
});

/** Tools that answer by their names; one that is absent is not installed. */
function tools(answers: Readonly<Record<string, Partial<ExecResult>>>): Exec {
  return {
    run: (command) => {
      const answer = answers[command];
      if (answer === undefined) return Promise.reject(new K3slbError("none", { code: "command-missing", hint: "" }));
      return Promise.resolve({ code: 0, stdout: "", stderr: "", ...answer });
    },
  };
}

const AS_ROOT = { signal: new AbortController().signal, isRoot: true };
const SAVED = textOf([portWith()], "IPv4");

Deno.test("readRules: the back end that has our rules, read alone", async () => {
  const nft = await readRules(tools({ "iptables-nft-save": { stdout: `# v1.8.9 (nf_tables)\n${SAVED}` } }), AS_ROOT);
  ok("rules" in nft);
  deepEqual([nft.backend, Object.keys(nft.rules)], ["nft", ["IPv4"]]);
  const legacy = await readRules(
    tools({ "iptables-nft-save": {}, "ip6tables-nft-save": {}, "iptables-legacy-save": { stdout: SAVED } }),
    AS_ROOT,
  );
  ok("rules" in legacy);
  equal(legacy.backend, "legacy");
});

Deno.test("readRules: why the rules are not known, in one line", async () => {
  const why = async (answers: Readonly<Record<string, Partial<ExecResult>>>, isRoot = true): Promise<string> => {
    const read = await readRules(tools(answers), { ...AS_ROOT, isRoot });
    return "unknown" in read ? read.unknown : "known";
  };
  equal(await why({}), "no agent has written rules on this machine");
  const refused = { "iptables-nft-save": { code: 4, stderr: "Could not fetch rule set: Permission denied\nmore" } };
  equal(await why(refused), "iptables-nft-save: Could not fetch rule set: Permission denied");
  equal(
    await why(refused, false),
    "only root may read the rules (iptables-nft-save: Could not fetch rule set: Permission denied)",
  );
  equal(await why({ "iptables-nft-save": {} }, false), "only root may read the rules");
  const strange = SAVED.replace("-A K3SLB-DROP -j ACCEPT", "-A K3SLB-DROP -m owner --uid-owner 0 -j ACCEPT");
  match(await why({ "iptables-nft-save": { stdout: strange } }), /^the rules of this machine are not as .*"owner"$/);
});
