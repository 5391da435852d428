// CoreDNS's manifest, its variables, and edits of its Corefile.
import assert from "node:assert/strict";
import { customProblems } from "../../../../core/packaged/coredns_custom.ts";
import type { ConfigMap } from "../../../../core/kube/types.ts";
import { corefile, corefileDrift, type CorefileSettings } from "../../../../core/packaged/coredns.ts";
import { corednsManifest } from "../../../../core/packaged/coredns_manifest.ts";
import { templateVariables } from "../../../../core/packaged/stage.ts";
import { at, objectsOf, VERSION, versionOf } from "./fixtures.ts";

const PLAIN = { dnsUpstreams: [], dnsHosts: [] };
const INPUT = { clusterDomain: "cluster.local", systemDefaultRegistry: "", dataDir: "/var/lib/rancher/k3s" };

function manifest(
  dnsAddresses: readonly string[],
  more: Partial<typeof INPUT> & {
    readonly version?: string;
    readonly corefile?: Omit<CorefileSettings, "clusterDomain">;
  } = {},
): ReadonlyMap<string, unknown> {
  const variables = templateVariables({ ...INPUT, ...more }, dnsAddresses);
  const version = more.version === undefined ? VERSION : versionOf(more.version);
  const text = Object.entries(variables).reduce(
    (part, [name, value]) => part.replaceAll(`%{${name}}%`, value),
    corednsManifest(version, more.corefile ?? PLAIN),
  );
  assert.doesNotMatch(text, /%\{/);
  return objectsOf(text);
}

Deno.test("corednsManifest has every object that CoreDNS needs", () => {
  assert.deepEqual([...manifest(["10.43.0.10"]).keys()], [
    "ServiceAccount/coredns",
    "ClusterRole/system:coredns",
    "ClusterRoleBinding/system:coredns",
    "ConfigMap/cluster-dns",
    "ConfigMap/coredns",
    "Deployment/coredns",
    "Service/kube-dns",
  ]);
});

Deno.test("corednsManifest: the Corefile is byte for byte what drift is measured by", () => {
  const domain = "home.example";
  const text = at(manifest(["10.43.0.10"], { clusterDomain: domain }).get("ConfigMap/coredns"), "data", "Corefile");
  assert.equal(text, corefile({ ...PLAIN, clusterDomain: domain }));
  assert.match(String(text), /kubernetes home\.example in-addr\.arpa ip6\.arpa/);
  assert.match(
    String(text),
    /\n {4}import \/etc\/coredns\/custom\/\*\.override\n\}\nimport \/etc\/coredns\/custom\/\*\.server\n$/,
  );
});

Deno.test("corednsManifest: --dns-upstream and --dns-hosts change these lines of the Corefile and no others", () => {
  const chosen = {
    dnsUpstreams: ["192.0.2.53", "[2001:db8::53]:5353"],
    dnsHosts: [{ name: "DB.example.com", ip: "10.0.0.5" }, { name: "db.example.com", ip: "fd00::5" }],
  };
  const text = at(manifest(["10.43.0.10"], { corefile: chosen }).get("ConfigMap/coredns"), "data", "Corefile");
  assert.equal(text, corefile({ ...chosen, clusterDomain: "cluster.local" }), "drift is measured by the same text");
  const plain = corefile({ ...PLAIN, clusterDomain: "cluster.local" });
  assert.equal(
    text,
    plain
      .replace("NodeHosts {\n", "NodeHosts {\n      10.0.0.5 db.example.com\n      fd00::5 db.example.com\n")
      .replace("forward . /etc/resolv.conf\n", "forward . 192.0.2.53 [2001:db8::53]:5353\n"),
  );
  assert.notEqual(text, plain);
});

const ADDRESSES = [
  { name: "one family", ips: ["10.43.0.10"], policy: "SingleStack" },
  { name: "two families", ips: ["10.43.0.10", "fd43::a"], policy: "RequireDualStack" },
  { name: "IPv6 only", ips: ["fd43::a"], policy: "SingleStack" },
];
for (const { name, ips, policy } of ADDRESSES) {
  Deno.test(`corednsManifest: Service kube-dns, ${name}`, () => {
    const objects = manifest(ips);
    const spec = at(objects.get("Service/kube-dns"), "spec");
    assert.equal(at(spec, "clusterIP"), ips[0]);
    assert.deepEqual(at(spec, "clusterIPs"), ips);
    assert.equal(at(spec, "ipFamilyPolicy"), policy);
    assert.deepEqual(at(objects.get("ConfigMap/cluster-dns"), "data"), {
      clusterDNS: ips[0],
      clusterDomain: "cluster.local",
    });
  });
}

Deno.test("corednsManifest: the registry stands before the image, and old clusters get an old CoreDNS", () => {
  const image = (more: Parameters<typeof manifest>[1]): unknown =>
    at(manifest(["10.43.0.10"], more).get("Deployment/coredns"), "spec", "template", "spec", "containers", 0, "image");
  assert.equal(image({}), "rancher/mirrored-coredns-coredns:1.14.6");
  assert.equal(image({ systemDefaultRegistry: "reg.example/" }), "reg.example/rancher/mirrored-coredns-coredns:1.14.6");
  assert.equal(image({ version: "v1.20.4" }), "rancher/coredns-coredns:1.8.3");
});

Deno.test("corednsManifest: replicas are left to the user, and a missing NodeHosts key keeps no pod from starting", () => {
  const deployment = manifest(["10.43.0.10"]).get("Deployment/coredns");
  assert.equal(at(deployment, "spec", "replicas"), undefined);
  const sources = at(deployment, "spec", "template", "spec", "volumes", 0, "projected", "sources");
  assert.deepEqual(at(sources, 1, "configMap"), {
    name: "coredns",
    optional: true,
    items: [{ key: "NodeHosts", path: "NodeHosts" }],
  });
});

function configMap(text: string | undefined, manager: string, operation = "Update"): ConfigMap {
  return {
    metadata: {
      name: "coredns",
      managedFields: [
        { manager: "k3slb-node-hosts", operation: "Apply", fieldsV1: { "f:data": { "f:NodeHosts": {} } } },
        { manager, operation, fieldsV1: { "f:data": { "f:Corefile": {} } } },
      ],
    },
    ...(text === undefined ? {} : { data: { Corefile: text } }),
  };
}

const DRIFTS = [
  { name: "nobody edited it", given: configMap("packaged", "k3slb", "Apply"), want: undefined },
  { name: "an older text of this program", given: configMap("older", "k3slb", "Apply"), want: undefined },
  { name: "an older text of K3s", given: configMap("older", "deploy@node1"), want: undefined },
  {
    name: "kubectl edit",
    given: configMap("edited", "kubectl-edit"),
    want: /edited by "kubectl-edit".*coredns-custom/,
  },
  { name: "edited back", given: configMap("packaged", "kubectl-edit"), want: undefined },
  { name: "removed", given: configMap(undefined, "k3slb"), want: /was removed.*coredns-custom/ },
];
for (const { name, given, want } of DRIFTS) {
  Deno.test(`corefileDrift: ${name}`, () => {
    const message = corefileDrift(given, "packaged");
    if (want === undefined) assert.equal(message, undefined);
    else assert.match(message ?? "", want);
  });
}

for (
  const { name, key = "a.override", text, want } of [
    {
      name: "hosts",
      text: "hosts {\n  10.0.0.5 db.example.com\n  fallthrough\n}\n",
      want: /"hosts".*--dns-hosts NAME=IP$/,
    },
    { name: "hosts with a file", text: "  hosts /etc/hosts example.com {\n fallthrough\n  }", want: /"hosts"/ },
    { name: "cache", text: "log\ncache 60", want: /"cache".*\.server$/ },
    { name: "prometheus", text: "prometheus :9154", want: /"prometheus"/ },
    { name: "a word inside another plugin's braces", text: "template IN A x {\n  hosts nothing\n}\n", want: undefined },
    { name: "a comment", text: "# hosts {\nlog # hosts", want: undefined },
    {
      name: "plugins that may be there twice",
      text: "forward example.org 192.0.2.1\nreload 5s\nhealth :9090",
      want: undefined,
    },
    {
      name: "a server block of one's own",
      key: "a.server",
      text: "example.com:53 {\n  hosts {\n  }\n}",
      want: undefined,
    },
  ] satisfies readonly { name: string; key?: string; text: string; want: RegExp | undefined }[]
) {
  Deno.test(`customProblems: ${name}`, () => {
    const problems = customProblems({ data: { [key]: text, "readme.txt": "hosts" } });
    assert.equal(problems.length, want === undefined ? 0 : 1);
    if (want !== undefined) assert.match(problems[0] ?? "", want);
  });
}
