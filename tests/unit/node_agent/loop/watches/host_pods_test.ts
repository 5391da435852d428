// Which ports of the node a pod has as its own.
import assert from "node:assert/strict";
import type { Pod } from "../../../../../core/kube/types.ts";
import { hostPortsOf, trimHostPod } from "../../../../../node_agent/loop/watches/host_pods.ts";

type ContainerPort = NonNullable<NonNullable<Pod["spec"]>["containers"][number]["ports"]>[number];

function withPorts(ports: readonly ContainerPort[], field: "containers" | "initContainers" = "containers"): Pod {
  const container = { name: "x", image: "x", ports: [...ports] };
  return { metadata: { name: "p", namespace: "n" }, spec: { containers: [], [field]: [container] } };
}

Deno.test("hostPortsOf() names ports of addresses that clients can reach", () => {
  const cases: readonly (readonly [Pod, readonly string[]])[] = [
    [withPorts([{ containerPort: 80 }]), []],
    [withPorts([{ containerPort: 80, hostPort: 8080 }]), ["TCP port 8080"]],
    [withPorts([{ containerPort: 53, hostPort: 53, protocol: "UDP" }]), ["UDP port 53"]],
    [withPorts([{ containerPort: 80, hostPort: 80, hostIP: "0.0.0.0" }]), ["TCP port 80"]],
    [withPorts([{ containerPort: 80, hostPort: 80, hostIP: "::" }]), ["TCP port 80"]],
    [withPorts([{ containerPort: 80, hostPort: 80, hostIP: "192.0.2.1" }]), ["TCP port 80"]],
    [withPorts([{ containerPort: 80, hostPort: 80, hostIP: "127.0.0.1" }]), []],
    [withPorts([{ containerPort: 80, hostPort: 80, hostIP: "::1" }]), []],
    [withPorts([{ containerPort: 80, hostPort: 80 }], "initContainers"), ["TCP port 80"]],
  ];
  for (const [pod, ports] of cases) {
    assert.deepEqual(hostPortsOf(pod), ports);
    assert.deepEqual(hostPortsOf(trimHostPod(pod)), ports);
  }
});
