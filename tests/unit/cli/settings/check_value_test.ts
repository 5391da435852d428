// What each check of a flag value takes and refuses. Every exported check must have its row.
import assert from "node:assert/strict";
import * as checks from "../../../../cli/settings/check_value.ts";
import type { ValueCheck } from "../../../../cli/settings/flag.ts";

interface Case {
  readonly check: ValueCheck;
  readonly good: readonly string[];
  readonly bad: readonly string[];
}

const CASES: Readonly<Record<keyof typeof checks, Case>> = {
  checkDnsLabel: {
    check: checks.checkDnsLabel,
    good: ["a", "kube-system", "0a", "a".repeat(63)],
    bad: ["", "-a", "a-", "A", "a.b", "a_b", "a".repeat(64)],
  },
  checkDnsSubdomain: {
    check: checks.checkDnsSubdomain,
    good: ["a", "Node-1", "node-1.example.org", "10.0.0.1"],
    bad: ["", ".", "a.", "a..b", "a_b", "a b", `${"a.".repeat(127)}`],
  },
  checkHttpPath: {
    check: checks.checkHttpPath,
    good: ["", "/", "/healthz?full=1"],
    bad: ["healthz", "/a b", "/a\r\nHost: b", "http://a/"],
  },
  checkIp: {
    check: checks.checkIp,
    good: ["10.43.0.10", "fd00::1"],
    bad: ["", "10.43.0", "10.43.0.10/32", "a", "10.43.0.256"],
  },
  checkNameServer: {
    check: checks.checkNameServer,
    good: ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:53", "169.254.169.253"],
    bad: [
      ...["", "dns.example", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[192.0.2.53]:53", "[2001:db8::53]"],
      ...["127.0.0.53", "127.0.0.53:53", "[::1]:53", "0:0::1", "0.0.0.0", "tls://192.0.2.53", "192.0.2.53 192.0.2.54"],
    ],
  },
  checkEnabledPart: {
    check: checks.checkEnabledPart,
    good: ["traefik"],
    bad: ["", "coredns", "Traefik"],
  },
  checkHostEntry: {
    check: checks.checkHostEntry,
    good: ["db.example.com=10.0.0.5", "Db=fd00::5"],
    bad: ["", "db", "db=", "=10.0.0.5", "db=10.0.0", "db=10.0.0.5=", "a b=10.0.0.5", "10.0.0.5=db", "db {=10.0.0.5"],
  },
  checkAddressAndPort: {
    check: checks.checkAddressAndPort,
    good: ["", "127.0.0.1:1", ":9000", "localhost:65535", "[::1]:80"],
    bad: ["1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "[127.0.0.1]:80", "host:80", "127.0.0.1:99999"],
  },
  checkCount: {
    check: checks.checkCount,
    good: ["1", "10000"],
    bad: ["", "0", "-1", "1.5", "1e3", "01", "9999999999"],
  },
  checkPortRange: {
    check: checks.checkPortRange,
    good: ["1", "65535", "22/tcp", "10-20", "10-10/UDP", "5/sctp"],
    bad: ["", "0", "65536", "20-10", "1-", "a", "22/icmp", "1,2"],
  },
  checkNodePortRange: {
    check: checks.checkNodePortRange,
    good: ["", "30000-32767", "1-65535"],
    bad: ["30000", "30000-", "2-1", "0-5", "1-65536", "1-2/tcp"],
  },
  checkImage: {
    check: checks.checkImage,
    good: ["a", "rancher/klipper-lb:v0.4.17", "host:5000/a/b:1", `a@sha256:${"0".repeat(64)}`],
    bad: ["", " a", "a b", "-a", "https://host/a?b"],
  },
  checkFolder: { check: checks.checkFolder, good: ["/var/lib", "a b", "."], bad: [""] },
  checkRegistry: {
    check: checks.checkRegistry,
    good: ["", "registry.example.com", "localhost:5000", "10.0.0.1:5000/mirror/", "[fd00::1]:5000", "host/a/b-c"],
    bad: ["http://host", "host:port", "a b", "host//a", "/a", "host?a"],
  },
  checkLoadBalancerClass: {
    check: checks.checkLoadBalancerClass,
    good: ["k3slb.io/node-addresses", "internal-vip", "Example_1"],
    bad: ["", "a b", "a/b/c", "/a", "a/", "A.example/b", "-a", "a".repeat(64)],
  },
};

for (const [name, { check, good, bad }] of Object.entries(CASES)) {
  Deno.test(`${name}: takes what is right`, () => {
    assert.deepEqual(good.filter((value) => check(value) !== undefined), []);
  });
  Deno.test(`${name}: says what is wrong`, () => {
    assert.deepEqual(bad.filter((value) => check(value) === undefined), []);
  });
}
