// Where the cluster's DNS is, and when it is left to others.
import assert from "node:assert/strict";
import type { Service } from "../../../../core/kube/types.ts";
import { chooseDns, dnsAddressOf, type DnsChoice, type DnsFacts } from "../../../../core/packaged/cluster_dns.ts";
import { marksOf, VERSION, versionOf } from "./fixtures.ts";

function service(
  place: string,
  ips: readonly string[],
  more: { readonly ours?: boolean; readonly labels?: Record<string, string>; readonly port?: number } = {},
): Service {
  const [namespace = "", name = ""] = place.split("/");
  return {
    metadata: {
      name,
      namespace,
      ...(more.ours === true ? { annotations: marksOf("coredns") } : {}),
      ...(more.labels === undefined ? {} : { labels: more.labels }),
    },
    spec: { clusterIP: ips[0] ?? "None", clusterIPs: [...ips], ports: [{ port: more.port ?? 53 }] },
  };
}

const API = service("default/kubernetes", ["10.96.0.1"], { port: 443 });

const CASES: readonly {
  readonly name: string;
  readonly given: Partial<DnsFacts>;
  readonly want: RegExp;
  readonly addresses?: readonly string[];
}[] = [
  {
    name: "takes the tenth address beside the API server's Service",
    given: { services: [API] },
    want: /^Deploying CoreDNS at 10\.96\.0\.10 /,
    addresses: ["10.96.0.10"],
  },
  {
    name: "prefers the ranges of ServiceCIDR objects, both families",
    given: { services: [API], serviceCidrs: ["10.43.0.0/16", "fd43::/112"] },
    want: /in 10\.43\.0\.0\/16, fd43::\/112/,
    addresses: ["10.43.0.10", "fd43::a"],
  },
  {
    name: "takes the given addresses before all others",
    given: { services: [API], serviceCidrs: ["10.43.0.0/16"], given: ["10.43.0.53"] },
    want: /given by --cluster-dns/,
    addresses: ["10.43.0.53"],
  },
  {
    name: "keeps the addresses of its own Service, which can't change",
    given: { services: [API, service("kube-system/kube-dns", ["10.96.0.53"], { ours: true })] },
    want: /address of Service kube-dns/,
    addresses: ["10.96.0.53"],
  },
  {
    name: "leaves a DNS of the same name that is not ours alone",
    given: { services: [API, service("kube-system/kube-dns", ["10.96.0.10"])] },
    want: /already has a DNS that is not ours \(Service kube-system\/kube-dns at 10\.96\.0\.10\)/,
  },
  {
    name: "leaves a DNS of another name at that address alone",
    given: { services: [API, service("dns/coredns", ["10.96.0.10"])] },
    want: /not ours \(Service dns\/coredns/,
  },
  {
    name: "leaves a DNS alone that the label tells, in kube-system",
    given: { services: [API, service("kube-system/main", ["10.96.0.53"], { labels: { "k8s-app": "kube-dns" } })] },
    want: /not ours \(Service kube-system\/main at 10\.96\.0\.53\)/,
  },
  {
    name: "does not let a tenant's Service with that label keep it out",
    given: { services: [API, service("shop/main", ["10.96.0.53"], { labels: { "k8s-app": "kube-dns" } })] },
    want: /^Deploying CoreDNS at 10\.96\.0\.10 /,
    addresses: ["10.96.0.10"],
  },
  {
    name: "says when the address is taken by something that is no DNS",
    given: { services: [API, service("shop/web", ["10.96.0.10"], { port: 80 })] },
    want: /address is taken by Service shop\/web/,
  },
  {
    name: "leaves K3s's own DNS to a K3s that runs",
    given: {
      services: [API, service("kube-system/kube-dns", ["10.96.0.10"], { ours: true })],
      version: versionOf("v1.31.4+k3s1"),
    },
    want: /K3s itself deploys it/,
  },
  {
    name: "says when the range is not known",
    given: { services: [] },
    want: /range of Service addresses is not known/,
  },
];

for (const { name, given, want, addresses } of CASES) {
  Deno.test(`chooseDns ${name}`, () => {
    const choice: DnsChoice = chooseDns({ given: [], services: [], serviceCidrs: [], version: VERSION, ...given });
    assert.match(choice.message, want);
    assert.deepEqual(choice.deploy ? choice.addresses : undefined, addresses);
  });
}

const RANGES = [
  { cidr: "10.43.0.0/16", want: "10.43.0.10" },
  { cidr: "10.0.0.240/28", want: "10.0.0.250" },
  { cidr: "10.0.0.248/29", want: undefined },
  { cidr: "fd00:1::/108", want: "fd00:1::a" },
  { cidr: "nonsense", want: undefined },
];
for (const { cidr, want } of RANGES) {
  Deno.test(`dnsAddressOf ${cidr} is ${want ?? "nothing"}`, () => assert.equal(dnsAddressOf(cidr), want));
}
