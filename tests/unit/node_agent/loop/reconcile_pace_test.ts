// When the agent may reconcile next, and for whom.
import assert from "node:assert/strict";
import { ReconcilePace } from "../../../../node_agent/loop/reconcile_pace.ts";

function paced(namespaces: readonly string[], { startMs = 0, tookMs = 10, isIdle = false } = {}): ReconcilePace {
  const pace = new ReconcilePace();
  for (const namespace of namespaces) pace.note(namespace);
  pace.begin(startMs);
  pace.end(startMs + tookMs, { isIdle });
  return pace;
}

Deno.test("ReconcilePace: the first may begin at once, the next one of the same namespace 100 ms after it", () => {
  const pace = new ReconcilePace();
  pace.note("a");
  assert.equal(pace.dueMs, -Infinity);
  const again = paced(["a"]);
  again.note("a");
  assert.equal(again.dueMs, 100);
});

Deno.test("ReconcilePace: after one that had nothing to write 20 ms, after a long one three times that, a second at most", () => {
  for (
    const [tookMs, isIdle, want] of [[1, true, 20], [50, true, 150], [50, false, 150], [900, false, 1000]] as const
  ) {
    const pace = paced(["a"], { tookMs, isIdle });
    pace.note("a");
    assert.equal(pace.dueMs, want);
  }
});

Deno.test("ReconcilePace: another namespace, or the node itself, need not wait, but not one after the other", () => {
  for (const other of ["b", ""]) {
    const pace = paced(["a"], { tookMs: 60 });
    pace.note("a");
    pace.note(other);
    assert.equal(pace.dueMs, 20);
    pace.begin(60);
    pace.end(120, { isIdle: false });
    pace.note("c");
    assert.equal(pace.dueMs, 240);
    pace.begin(240);
    pace.note("d");
    assert.equal(pace.dueMs, 260);
  }
});
