// Those of Kubernetes' own end-to-end tests that need all pods behind one address: a world of one node.
// Alone: `K3SLB_WORLD=nodes deno test -A tests/upstream/one_node_test.ts`, as root.
import { enterWorld } from "../support/netns.ts";
import { ON_ONE_NODE } from "./selection.ts";
import { declareUpstreamTests } from "./upstream_world.ts";

if (await enterWorld(import.meta.url)) {
  await declareUpstreamTests({ focus: ON_ONE_NODE, skip: [], nodes: 1, log: "upstream-one-node.log" });
}
