// Which image the placeholders run, from what nodes say that they have.
import { equal } from "node:assert/strict";
import type { Node } from "../../../../../core/kube/types.ts";
import { choosePauseImage } from "../../../../../core/service_lb/daemonset/pause_image.ts";
import { trimNode } from "../../../../../core/service_lb/trim_objects.ts";
import { node } from "../fixtures.ts";

const GIVEN = "registry.k8s.io/pause:3.10";
const K3S = "docker.io/rancher/mirrored-pause:3.6";
const OLD = "registry.k8s.io/pause:3.9";

function having(name: string, ...images: readonly string[]): Node {
  const status = { ...node(name).status, images: images.map((image) => ({ names: [`${image}@sha256:0`, image] })) };
  return trimNode({ ...node(name), status });
}

const TABLE: readonly {
  readonly name: string;
  readonly nodes: readonly Node[];
  readonly current?: string;
  readonly want: string;
}[] = [
  { name: "no node tells: the given one", nodes: [node("a")], want: GIVEN },
  { name: "every node has one: that", nodes: [having("a", K3S, "nginx:1"), having("b", K3S)], want: K3S },
  { name: "every node has the given one too: the given one", nodes: [having("a", K3S, GIVEN)], want: GIVEN },
  { name: "each node has another one: the given one", nodes: [having("a", K3S), having("b", OLD)], want: GIVEN },
  { name: "one node has none: the given one", nodes: [having("a", K3S), having("b", "nginx:1")], want: GIVEN },
  { name: "a node has not told yet: it does not count", nodes: [having("a", K3S), node("b")], want: K3S },
  { name: "what there is stays while all have it", nodes: [having("a", K3S, OLD, GIVEN)], current: OLD, want: OLD },
  {
    name: "what there is stays while none is better",
    nodes: [having("a", K3S), having("b", OLD)],
    current: K3S,
    want: K3S,
  },
  {
    name: "what there is goes when a new node lacks it",
    nodes: [having("a", K3S, OLD), having("b", OLD)],
    current: K3S,
    want: OLD,
  },
  { name: "somebody else's image is not kept", nodes: [having("a", "evil:1")], current: "evil:1", want: GIVEN },
  {
    name: "a name that only looks like it",
    nodes: [having("a", "rancher/not-pause:1", "rancher/pausefoo:1")],
    want: GIVEN,
  },
  ...[
    "docker.io/tenant/pause:1",
    "evil.example.com/registry.k8s.io/pause:1",
    "evil.example.com/rancher/mirrored-pause:3.6",
    "registry.k8s.io.example.com/pause:1",
    "registryxk8s.io/pause:1",
    "123456789012.dkr.ecr.eu-west-1.amazonaws.com/eks/pause:1",
  ].map((image) => ({
    name: `an image that a tenant's pods brought to all nodes: ${image}`,
    nodes: [having("a", image), having("b", image)],
    current: image,
    want: GIVEN,
  })),
  ...[
    "registry.k8s.io/pause:3.10.1",
    "index.docker.io/rancher/mirrored-pause:3.6",
    "quay.io/k0sproject/pause:3.10.1",
    "602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/pause:3.5",
    "localhost/kubernetes/pause:0.1.0",
    "mcr.microsoft.com/oss/kubernetes/pause:3.6",
    "gke.gcr.io/pause:3.8",
    "registry.aliyuncs.com/google_containers/pause:3.9",
    "registry.cn-hangzhou.aliyuncs.com/google_containers/pause:3.9",
  ].map((image) => ({ name: `the nodes' own: ${image}`, nodes: [having("a", image)], want: image })),
];

for (const { name, nodes, current, want } of TABLE) {
  Deno.test(`choosePauseImage(): ${name}`, () => equal(choosePauseImage(nodes, GIVEN, current), want));
}
