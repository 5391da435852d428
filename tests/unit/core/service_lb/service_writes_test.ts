// Finalizers of a Service, of which a tenant may write as many as an object holds.
import assert from "node:assert/strict";
import { OLD_SERVICE_FINALIZER, SERVICE_FINALIZER } from "../../../../core/service/labels.ts";
import { finalizersFor } from "../../../../core/service_lb/service_writes.ts";
import { service } from "./fixtures.ts";

/** Compared each with each they take a minute, in every pass. */
const MANY = Array.from({ length: 100_000 }, (_, index) => `example.com/f${index}`);

Deno.test("finalizersFor() adds and removes its own among a hundred thousand, and leaves what is there already", () => {
  const given = service();
  const having = (finalizers: readonly string[]) => ({
    ...given,
    metadata: { ...given.metadata, finalizers: [...finalizers] },
  });
  const own = [SERVICE_FINALIZER, ...MANY];
  assert.equal(finalizersFor(having(own), true), undefined);
  assert.deepEqual(finalizersFor(having(own), false), MANY);
  assert.deepEqual(finalizersFor(having([OLD_SERVICE_FINALIZER, ...MANY]), true), [...MANY, SERVICE_FINALIZER]);
  assert.equal(finalizersFor(having(MANY), false), undefined);
});
