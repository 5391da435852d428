// Kubernetes' own end-to-end tests against this program on three real nodes: what they say of LoadBalancer Services, traffic policies, session
// affinity, UDP, host ports and connection tracking. `deno task test:upstream`, as root, which leaves dist/upstream.log and takes half an
// hour. One of them: `K3SLB_WORLD=nodes K3SLB_UPSTREAM_FOCUS="switch session affinity for LoadBalancer" deno test -A tests/upstream/upstream_test.ts`.
import { enterWorld } from "../support/netns.ts";
import { FOCUS, ON_ONE_NODE, ROLLOUTS, SKIPPED } from "./selection.ts";
import { declareUpstreamTests } from "./upstream_world.ts";

if (await enterWorld(import.meta.url)) {
  const skip = [...ROLLOUTS, ...ON_ONE_NODE, ...SKIPPED.map(({ name }) => name)];
  await declareUpstreamTests({ focus: FOCUS, skip, nodes: 3, log: "upstream.log" });
  for (const { name, why } of SKIPPED) {
    Deno.test({ name: `upstream: ${name} (skipped: ${why})`, ignore: true, fn: () => {} });
  }
}
