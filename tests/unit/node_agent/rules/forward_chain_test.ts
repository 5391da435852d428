// Our jump in FORWARD beside what administrators and other programs have there: who stands before whom, and what is said of it.
import assert from "node:assert/strict";
import { desiredJumps } from "../../../../node_agent/rules/desired_ruleset.ts";
import { foreignTargets } from "../../../../node_agent/rules/forward_chain.ts";
import { planJump } from "../../../../node_agent/rules/jump_plan.ts";

const FORWARD = desiredJumps("IPv4").find((jump) => jump.chain === "FORWARD");
const OURS = "-j K3SLB-FORWARD";
const BAN = "-s 203.0.113.9/32 -j DROP";
const KUBE =
  '-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL';

const F2B = { "f2b-x": ["-s 203.0.113.9/32 -j REJECT --reject-with icmp-port-unreachable", "-j RETURN"] };
const UFW_JUMPS = ["before-logging", "before", "after", "after-logging", "reject", "track"].map((name) =>
  `-j ufw-${name}-forward`
);
const UFW = {
  "ufw-before-logging-forward": [],
  "ufw-before-forward": [
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-p icmp -j ACCEPT",
    "-j ufw-user-forward",
  ],
  "ufw-user-forward": [BAN],
  "ufw-after-forward": [],
  "ufw-after-logging-forward": ['-m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "'],
  "ufw-reject-forward": ["-j REJECT --reject-with icmp-port-unreachable"],
  "ufw-track-forward": [],
};

interface PlaceCase {
  readonly name: string;
  readonly rules: readonly string[];
  readonly chains?: Readonly<Record<string, readonly string[]>>;
  /** The chain after the edits; absent: nothing is edited. */
  readonly want?: readonly string[];
  readonly remarks?: RegExp;
}

const CASES: readonly PlaceCase[] = [
  { name: "a ban that is put before ours stays", rules: [BAN, OURS] },
  { name: "a ban is there first", rules: [BAN, KUBE], want: [BAN, OURS, KUBE] },
  {
    name: "a ban in the middle is there first",
    rules: [KUBE, BAN, "-j FLANNEL-FWD"],
    want: [KUBE, BAN, OURS, "-j FLANNEL-FWD"],
  },
  { name: "a ban that is added behind ours is asked first", rules: [OURS, KUBE, BAN], want: [KUBE, BAN, OURS] },
  {
    name: "bans by list and by range",
    rules: [
      "-m set --match-set crowdsec-blacklists src -j DROP",
      "-m iprange --src-range 198.51.100.1-198.51.100.9 -j DROP",
      OURS,
    ],
  },
  { name: "a chain of fail2ban for one protocol", rules: ["-p tcp -j f2b-x", OURS], chains: F2B },
  {
    name: "a chain of fail2ban that is there first",
    rules: ["-p tcp -m multiport --dports 80,443 -j f2b-x"],
    chains: F2B,
    want: ["-p tcp -m multiport --dports 80,443 -j f2b-x", OURS],
  },
  {
    name: "a chain of fail2ban that bans nobody yet",
    rules: [OURS, "-p tcp -j f2b-x"],
    chains: { "f2b-x": ["-j RETURN"] },
    want: ["-p tcp -j f2b-x", OURS],
  },
  ...[
    "-m mac --mac-source 02:00:00:00:00:09 -j DROP",
    "-m recent --rcheck --seconds 600 --name bad --mask 255.255.255.255 --rsource -j DROP",
    "-m geoip --source-country XX,YY -j DROP",
    "-m conntrack --ctorigsrc 203.0.113.9 -j DROP",
    "-p tcp -m connlimit --connlimit-above 100 --connlimit-mask 32 --connlimit-saddr -j REJECT",
    "-p tcp -m hashlimit --hashlimit-above 50/sec --hashlimit-mode srcip --hashlimit-name x -j DROP",
    "-j NFQUEUE --queue-num 0",
  ].map((rule) => ({ name: `what asks for senders in other words, as ${rule}`, rules: [rule], want: [rule, OURS] })),
  {
    name: "a ban by a chain that logs and drops",
    rules: [OURS, "-s 203.0.113.9/32 -j LOGDROP"],
    chains: { LOGDROP: ["-j LOG", "-j DROP"] },
    want: ["-s 203.0.113.9/32 -j LOGDROP", OURS],
  },
  {
    name: "a chain of bans by a chain that logs and drops",
    rules: ["-p tcp -j f2b-x"],
    chains: { "f2b-x": ["-s 203.0.113.9/32 -j LOGDROP", "-j RETURN"], LOGDROP: ["-j LOG", "-j DROP"] },
    want: ["-p tcp -j f2b-x", OURS],
  },
  {
    name: "a chain of bans that lets friends pass first",
    rules: ["-j BANS"],
    chains: { BANS: ["-s 10.0.0.0/8 -j ACCEPT", BAN] },
    want: ["-j BANS", OURS],
  },
  {
    name: "who may not is no ban where it is said of all others, also by a list of who was seen",
    rules: ["-m recent ! --rcheck --name knocked --rsource -j DROP"],
    want: [OURS, "-m recent ! --rcheck --name knocked --rsource -j DROP"],
  },
  {
    name: "words of a comment name nobody",
    rules: ['-i eth0 -m comment --comment "was -s 203.0.113.9" -j DROP'],
    want: [OURS, '-i eth0 -m comment --comment "was -s 203.0.113.9" -j DROP'],
  },
  {
    name: "CrowdSec's chain",
    rules: [OURS, "-j CROWDSEC_CHAIN"],
    chains: { CROWDSEC_CHAIN: ["-m set --match-set crowdsec-blacklists-0 src -j DROP"] },
    want: ["-j CROWDSEC_CHAIN", OURS],
  },
  {
    name: "Docker's chain for users, whatever is in it",
    rules: [OURS, "-j DOCKER-USER", "-j DOCKER-FORWARD"],
    chains: { "DOCKER-USER": ["-i eth0 ! -s 192.0.2.0/24 -j DROP"], "DOCKER-FORWARD": ["-i docker0 -j ACCEPT"] },
    want: ["-j DOCKER-USER", OURS, "-j DOCKER-FORWARD"],
  },
  {
    name: "Docker's chain for users that lets pass only some stays where it is, and is said",
    rules: ["-j DOCKER-USER", OURS],
    chains: { "DOCKER-USER": ["-s 192.0.2.0/24 -j RETURN", "-j DROP"] },
    remarks: /Chain DOCKER-USER in FORWARD .* drops what it does not accept/,
  },
  {
    name: "ufw: behind what is before, ahead of what rejects the rest",
    rules: UFW_JUMPS,
    chains: UFW,
    want: [...UFW_JUMPS.slice(0, 4), OURS, ...UFW_JUMPS.slice(4)],
    remarks: /"-j ufw-reject-forward" in FORWARD drops all/,
  },
  {
    name: "ufw that was reloaded",
    rules: [OURS, ...UFW_JUMPS],
    chains: UFW,
    want: [...UFW_JUMPS.slice(0, 4), OURS, ...UFW_JUMPS.slice(4)],
    remarks: /ufw-reject-forward/,
  },
  {
    name: "a bare drop is gone round, and said",
    rules: ["-j DROP", OURS],
    want: [OURS, "-j DROP"],
    remarks: /^"-j DROP" in FORWARD drops all that is forwarded/,
  },
  {
    name: "a bare drop with a comment, behind bans",
    rules: [BAN, '-m comment --comment "no -s here" -j REJECT --reject-with icmp-host-prohibited', OURS],
    want: [BAN, OURS, '-m comment --comment "no -s here" -j REJECT --reject-with icmp-host-prohibited'],
    remarks: /drops all/,
  },
  {
    name: "a drop of all first packets",
    rules: ["-m conntrack --ctstate NEW -j DROP", OURS],
    want: [OURS, "-m conntrack --ctstate NEW -j DROP"],
    remarks: /drops all/,
  },
  {
    name: "a chain that drops all, two deep",
    rules: ["-j A", OURS],
    chains: { A: ["-j LOG", "-g B"], B: ["-s 192.0.2.1/32 -j DROP", "-j DROP"] },
    want: [OURS, "-j A"],
    remarks: /"-j A" in FORWARD drops all/,
  },
  {
    name: "a catch-all at the end, as some distributions have it",
    rules: ["-m conntrack --ctstate INVALID -j DROP", OURS, "-j REJECT --reject-with icmp-host-prohibited"],
    remarks: /drops all/,
  },
  {
    name: "an administrator's list of who may pass stays, and is said",
    rules: ["-j ALLOWED", OURS],
    chains: { ALLOWED: ["-s 192.0.2.0/24 -j ACCEPT", "-j DROP"] },
    remarks: /Chain ALLOWED in FORWARD stands before/,
  },
  {
    name: "a list of who may pass that was behind stays behind",
    rules: [OURS, "-j ALLOWED"],
    chains: { ALLOWED: ["-s 192.0.2.0/24 -j ACCEPT", "-j DROP"] },
  },
  {
    name: "a drop of one interface stays before, and is said",
    rules: ["-i eth0 -j DROP", OURS],
    remarks: /"-i eth0 -j DROP" in FORWARD stands before/,
  },
  { name: "a drop of one interface that was behind stays behind", rules: [OURS, "-i eth0 -j DROP"] },
  { name: "everybody but some is no ban", rules: ["! -s 10.0.0.0/8 -j DROP"], want: [OURS, "! -s 10.0.0.0/8 -j DROP"] },
  { name: "what accepts stays where it is", rules: ["-j FLANNEL-FWD", "-i docker0 -j ACCEPT", OURS] },
  {
    name: "chains that jump to each other",
    rules: ["-j A"],
    chains: { A: ["-j B"], B: ["-j A"] },
    want: ["-j A", OURS],
  },
  { name: "network policy before bans before ours", rules: ["-j KUBE-ROUTER-FORWARD", BAN, OURS, "-j KUBE-FORWARD"] },
  {
    name: "ours never stands above the network policy, whatever drops before it",
    rules: [OURS, "-j DROP", "-j cali-FORWARD"],
    want: ["-j DROP", "-j cali-FORWARD", OURS],
    remarks: /drops all/,
  },
];

for (const { name, rules, chains = {}, want, remarks } of CASES) {
  Deno.test(`planJump in FORWARD: ${name}`, () => {
    assert.ok(FORWARD);
    const linesOf = (chain: string, specs: readonly string[]): string[] => specs.map((spec) => `-A ${chain} ${spec}`);
    const known = new Map(
      Object.entries(chains).map(([chain, specs]) => [chain, [`-N ${chain}`, ...linesOf(chain, specs)]]),
    );
    const plan = planJump(FORWARD, "IPv4", linesOf("FORWARD", rules), known);
    const after = [...rules];
    for (const edit of plan.edits) {
      if (edit.kind === "delete") after.splice(after.indexOf(edit.spec), 1);
      else after.splice(edit.position - 1, 0, edit.spec);
    }
    assert.deepEqual(after, want ?? rules);
    assert.equal(plan.edits.length > 0, want !== undefined);
    assert.match((plan.remarks ?? []).join("\n"), remarks ?? /^$/);
    const again = planJump(FORWARD, "IPv4", linesOf("FORWARD", after), known);
    assert.deepEqual(again.edits, [], "a second look finds nothing");
  });
}

Deno.test("foreignTargets: chains of administrators, not of the cluster's programs and no verdicts", () => {
  const lines = [
    "-P FORWARD DROP",
    "-A FORWARD -j KUBE-FORWARD",
    "-A FORWARD -p tcp -j f2b-x",
    "-A FORWARD -g MINE",
    BAN,
    "-A FORWARD -j ACCEPT",
  ];
  assert.deepEqual(foreignTargets(lines), ["f2b-x", "MINE"]);
});
