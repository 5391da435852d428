// Those of Kubernetes' own end-to-end tests that roll pods out under load: one pod after the other, five times, a minute each. They have a world of
// two nodes, the fewest that they take, and run beside the others. Alone: `K3SLB_WORLD=nodes deno test -A tests/upstream/rollouts_test.ts`, as root.
import { enterWorld } from "../support/netns.ts";
import { ROLLOUTS } from "./selection.ts";
import { declareUpstreamTests } from "./upstream_world.ts";

if (await enterWorld(import.meta.url)) {
  await declareUpstreamTests({ focus: ROLLOUTS, skip: [], nodes: 2, log: "upstream-rollouts.log" });
}
