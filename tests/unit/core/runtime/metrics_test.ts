import assert from "node:assert/strict";
import { createMetricRegistry } from "../../../../core/runtime/metrics.ts";

Deno.test("registry.render writes Prometheus' text format", () => {
  const registry = createMetricRegistry();
  const requests = registry.counter({ name: "k3slb_requests_total", help: "Requests." });
  const rules = registry.gauge({ name: "k3slb_rules", help: 'Rules,\n"all"' });
  registry.gaugeOf({ name: "k3slb_depth", help: "Depth." }, () => 4);
  registry.counterOf({ name: "k3slb_reads_total", help: "Reads." }, () => [[{ file: "a" }, 1], [{ file: "b" }, 2]]);
  const durations = registry.histogram({ name: "k3slb_sync_seconds", help: "Syncs.", buckets: [0.1, 1] });
  requests.add({ verb: "get", code: "200" });
  requests.add({ code: "200", verb: "get" }, 2);
  requests.add({ verb: 'a"b\\c\nd', code: "0" });
  rules.set(3, { family: "ipv4" });
  rules.set(5, { family: "ipv6" });
  rules.remove({ family: "ipv6" });
  for (const value of [0.05, 0.1, 0.5, 7]) durations.observe(value);
  assert.equal(
    registry.render(),
    `# HELP k3slb_requests_total Requests.
# TYPE k3slb_requests_total counter
k3slb_requests_total{code="200",verb="get"} 3
k3slb_requests_total{code="0",verb="a\\"b\\\\c\\nd"} 1
# HELP k3slb_rules Rules,\\n"all"
# TYPE k3slb_rules gauge
k3slb_rules{family="ipv4"} 3
# HELP k3slb_depth Depth.
# TYPE k3slb_depth gauge
k3slb_depth 4
# HELP k3slb_reads_total Reads.
# TYPE k3slb_reads_total counter
k3slb_reads_total{file="a"} 1
k3slb_reads_total{file="b"} 2
# HELP k3slb_sync_seconds Syncs.
# TYPE k3slb_sync_seconds histogram
k3slb_sync_seconds_bucket{le="0.1"} 2
k3slb_sync_seconds_bucket{le="1"} 3
k3slb_sync_seconds_bucket{le="+Inf"} 4
k3slb_sync_seconds_sum 7.65
k3slb_sync_seconds_count 4
`,
  );
});

Deno.test("registry refuses bad names, second registrations and falling counters", () => {
  const registry = createMetricRegistry();
  const counter = registry.counter({ name: "a_total", help: "" });
  assert.throws(() => registry.gauge({ name: "a_total", help: "" }), RangeError);
  assert.throws(() => registry.gauge({ name: "a-b", help: "" }), RangeError);
  assert.throws(() => counter.add({}, -1), RangeError);
});
