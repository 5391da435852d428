// What a tenant's Service must never take from the node, tried with real packets through real rules.
import assert from "node:assert/strict";
import { createLogger } from "../../core/shared/log.ts";
import type { ApplyReport, ForwardedPort } from "../../node_agent/dataplane_contract.ts";
import { createTopology, type Topology, type TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, hostOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";
import type { Host } from "../support/net_topology.ts";

interface Scene {
  readonly topology: Topology;
  readonly node: TopologyNode;
  /** The tenant's pod; it answers at port 8080 as "tenant". */
  readonly pod: Host;
  readonly client: Host;
}

async function setScene(): Promise<Scene & AsyncDisposable> {
  const topology = await createTopology({ nodes: 1 });
  const [node, client] = [topology.nodes[0], topology.clients[0]];
  const pod = node?.pods[0];
  assert.ok(node && pod && client);
  for (const protocol of ["tcp", "udp"] as const) await pod.ns.listen({ protocol, port: 8080, name: "tenant" });
  return { topology, node, pod, client, [Symbol.asyncDispose]: () => topology.remove() };
}

/** Name of who answers a machine at an address, or how it ends. */
async function answers(from: Host, ip: string, port: number, protocol: "tcp" | "udp" = "tcp"): Promise<string> {
  const answer = await from.ns.request({ protocol, ip, port, timeoutMs: 500 });
  return answer.outcome === "answer" ? answer.server : answer.outcome;
}

if (await enterWorld(import.meta.url)) {
  Deno.test("a loopback address of the node is never answered by a Service, whatever it asks to match", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    // As kube-proxy sets it in iptables mode.
    await node.ns.setSysctl("net.ipv4.conf.all.route_localnet", 1);
    const loopback = ["127.0.0.1", "127.0.0.53", "::1"];
    for (const protocol of ["tcp", "udp"] as const) {
      for (const ip of loopback) await node.ns.listen({ protocol, port: 53, name: "resolver", ip });
    }
    const endpoints = [
      { ip: pod.ip4, port: 8080, local: true },
      { ip: pod.ip6, port: 8080, local: true },
    ];
    const dataplane = await dataplaneOf(node.ns);
    const asked = [undefined, ["127.0.0.53", "::1"], ["127.0.0.0/8", "::/0"], ["0.0.0.0/0", "::ffff:127.0.0.1"]];
    for (const matchAddresses of asked) {
      const fields = { port: 53, endpoints, ...(matchAddresses ? { matchAddresses } : {}) };
      const ports = [portOf(fields), portOf({ ...fields, protocol: "UDP" })];
      await dataplane.apply({ podCidrs: node.podCidrs, ports });
      for (const protocol of ["tcp", "udp"] as const) {
        for (const ip of loopback) assert.equal(await answers(node, ip, 53, protocol), "resolver", `${ip} ${protocol}`);
        const takesAll = matchAddresses === undefined || matchAddresses.includes("0.0.0.0/0");
        if (takesAll) assert.equal(await answers(client, node.ip4, 53, protocol), "tenant");
      }
      assert.deepEqual((await dataplane.repair()).repairs, []);
    }
  });

  Deno.test("a Service whose rules can't be written is left out and named, and the others go on", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    const [tools, lines] = ["/run/k3slb-slow-tools", [] as string[]];
    await Deno.mkdir(tools);
    const script = 'f=$(mktemp); cat > "$f"; if [ "$(wc -l < "$f")" -gt 2000 ]; then exec sleep 600; fi; exec ' +
      '/usr/sbin/iptables-nft-restore "$@" < "$f"';
    await Deno.writeTextFile(`${tools}/iptables-nft-restore`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const host = hostOf(node.ns, { path: `${tools}:/usr/sbin:/usr/bin:/sbin:/bin` });
    const log = createLogger({ level: "info", format: "text", write: (line) => lines.push(line), now: () => 0 });
    const dataplane = await dataplaneOf(node.ns, { host, log, timeoutMs: 2000, iptablesMode: "nft" });
    const endpoints = [{ ip: pod.ip4, port: 8080, local: true }];
    const honest = (port: number): ForwardedPort =>
      portOf({ service: `honest-${port}`, port, endpoints, families: ["IPv4"] });
    const big = portOf({
      service: "big",
      port: 9000,
      families: ["IPv4"],
      endpoints: Array.from({ length: 3000 }, (_, i) => ({
        ip: `10.99.${i >> 8}.${i & 255}`,
        port: 8080,
        local: false,
      })),
    });
    const apply = (ports: readonly ForwardedPort[]): Promise<ApplyReport> =>
      dataplane.apply({ podCidrs: node.podCidrs, ports });
    await apply([honest(80)]);
    const report = await apply([honest(80), honest(81), big]);
    assert.deepEqual(report.failures.map((one) => one.port.service), ["big"]);
    assert.match(report.failures[0]?.reason ?? "", /^Left out, with its 3000 rules, .* did not end within/);
    assert.ok(lines.some((line) => line.includes("left out") && line.includes("default/big")), lines.join("\n"));
    assert.equal(await answers(client, node.ip4, 81), "tenant");
    // The next change does not wait for it again.
    const startMs = performance.now();
    await apply([honest(80), honest(81), honest(82), big]);
    assert.ok(performance.now() - startMs < 4000);
    assert.equal(await answers(client, node.ip4, 82), "tenant");
    assert.deepEqual((await dataplane.repair()).repairs, []);
  });

  Deno.test("a family whose rules can't be written is reported, and the other one goes on", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    const tools = "/run/k3slb-broken-tools";
    await Deno.mkdir(tools);
    const flag = `${tools}/broken`;
    const script = `test -e ${flag} && exit 3; exec /usr/sbin/ip6tables-nft-restore "$@"`;
    await Deno.writeTextFile(`${tools}/ip6tables-nft-restore`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const host = hostOf(node.ns, { path: `${tools}:/usr/sbin:/usr/bin:/sbin:/bin` });
    const dataplane = await dataplaneOf(node.ns, { host, iptablesMode: "nft" });
    await Deno.writeTextFile(flag, "");
    const endpoints = [{ ip: pod.ip4, port: 8080, local: true }];
    const report = await dataplane.apply({ podCidrs: node.podCidrs, ports: [portOf({ endpoints })] });
    assert.deepEqual(report.unwritten?.map((one) => one.family), ["IPv6"]);
    assert.deepEqual(report.families, ["IPv4"]);
    assert.equal(await answers(client, node.ip4, 80), "tenant");
    await Deno.remove(flag);
    const next = await dataplane.apply({ podCidrs: node.podCidrs, ports: [portOf({ endpoints })] });
    assert.deepEqual([next.unwritten, next.families], [undefined, ["IPv4", "IPv6"]]);
  });

  Deno.test("cluster addresses that are local, as kube-proxy has them in IPVS mode, are nobody's Service", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    // No IPVS is needed: what matters is that the addresses are local. A bridge stands for the dummy interface.
    await node.ns.addBridge("kube-ipvs0");
    await node.ns.addAddress("kube-ipvs0", "10.43.0.1/32");
    await node.ns.addAddress("kube-ipvs0", "fd43::1/128");
    for (const ip of ["10.43.0.1", "fd43::1"]) await node.ns.listen({ protocol: "tcp", port: 443, name: "api", ip });
    await client.ns.addRoute("10.43.0.0/16", node.ip4);
    await client.ns.addRoute("fd43::/64", node.ip6);
    const endpoints = [{ ip: pod.ip4, port: 8080, local: true }, { ip: pod.ip6, port: 8080, local: true }];
    const dataplane = await dataplaneOf(node.ns);
    const plan = { podCidrs: node.podCidrs, ports: [portOf({ port: 443, endpoints })] };
    await dataplane.apply(plan);
    assert.equal(await answers(node, "10.43.0.1", 443), "tenant");
    for (const matchAddresses of [undefined, ["10.43.0.1", "fd43::1", node.ip4, node.ip6]]) {
      const ports = plan.ports.map((port) => ({ ...port, ...(matchAddresses ? { matchAddresses } : {}) }));
      await dataplane.apply({ ...plan, ports, ownAddresses: [node.ip4, node.ip6] });
      for (const from of [node, client]) {
        for (const ip of ["10.43.0.1", "fd43::1"]) assert.equal(await answers(from, ip, 443), "api");
        for (const ip of [node.ip4, node.ip6]) assert.equal(await answers(from, ip, 443), "tenant");
      }
      assert.deepEqual((await dataplane.repair()).repairs, []);
    }
    await dataplane.apply(plan);
    assert.ok(!(await node.ns.run("iptables-save")).includes("K3SLB-LOCAL"));
    await dataplane.remove();
    assert.ok(!(await node.ns.run("iptables-save")).includes("K3SLB"));
  });

  Deno.test("of two ports whose chains have one name the second gets no rules and no traffic of the first", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    await node.ns.listen({ protocol: "tcp", port: 8081, name: "other" });
    const dataplane = await dataplaneOf(node.ns);
    // No names that the API takes do so within a lifetime: these two are spelt alike.
    const families = ["IPv4"] as const;
    const first = portOf({ portName: "x/http", families, endpoints: [{ ip: pod.ip4, port: 8080, local: true }] });
    const second = portOf({
      service: "web/x",
      families,
      endpoints: [{ ip: node.ip4, port: 8081, local: true }],
    });
    const { failures } = await dataplane.apply({ podCidrs: node.podCidrs, ports: [first, second] });
    assert.deepEqual(failures.map(({ port }) => port), [second]);
    assert.match(failures[0]?.reason ?? "", /^Its chains have the names of those of /);
    for (let i = 0; i < 16; i++) assert.equal(await answers(client, node.ip4, 80), "tenant");
  });

  Deno.test("an endpoint at loopback, at this host's link or at a cloud's metadata service gets no packet", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    const [metadata, link] = [["169.254.169.254", "168.63.129.16"], "fe80::a9fe:a9fe"];
    await node.ns.addBridge("cloud0");
    for (const ip of metadata) {
      await node.ns.addAddress("cloud0", `${ip}/32`);
      await node.ns.listen({ protocol: "tcp", port: 80, name: "metadata", ip });
    }
    await node.ns.setSysctl("net.ipv4.conf.all.route_localnet", 1);
    await node.ns.listen({ protocol: "tcp", port: 80, name: "loopback", ip: "127.0.0.1" });
    const dataplane = await dataplaneOf(node.ns);
    const hostile = [...metadata, link, "127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "fd00:ec2::254"];
    const endpoints = [
      ...hostile.map((ip) => ({ ip, port: 80, local: false })),
      { ip: pod.ip4, port: 8080, local: true },
    ];
    await dataplane.apply({ podCidrs: node.podCidrs, ports: [portOf({ endpoints })] });
    for (let i = 0; i < 16; i++) assert.equal(await answers(client, node.ip4, 80), "tenant");
    const rules = await Promise.all(["iptables-save", "ip6tables-save"].map((save) => node.ns.run(save)));
    assert.doesNotMatch(rules.join("\n"), /--to-destination \[?(?:169\.254|168\.63|127\.|fe80|::ffff|fd00:ec2)/);
    // Alone they are none.
    await dataplane.apply({ podCidrs: node.podCidrs, ports: [portOf({ endpoints: endpoints.slice(0, -1) })] });
    for (const ip of [node.ip4, node.ip6]) assert.equal(await answers(client, ip, 80), "refused");
  });
}
