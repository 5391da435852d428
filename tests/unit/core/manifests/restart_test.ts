// A start over files that are known already: what is written, and what is told.
import assert from "node:assert/strict";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { waitUntil } from "../../../support/wait.ts";
import { configMap, untilApplied, withFolder } from "./_manifest_folder.ts";

Deno.test("startManifests applies known files again at its start, without a new record and without Events", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    const names = Array.from({ length: 20 }, (_, i) => `app${i}`);
    for (const name of names) await write(`${name}.yaml`, configMap(name));
    const first = run();
    await untilApplied(cluster, ...names);
    await waitUntil("Events", () => events.list.length === 2 * names.length);
    await first.stop();
    const [requests, told] = [cluster.requests.length, events.list.length];
    run();
    // The search for what left a file is the last request of its pass.
    const passes = (): number => cluster.requests.slice(requests).filter(({ verb }) => verb === "list").length;
    await waitUntil("all files to be passed", () => passes() >= names.length);
    await write("late.yaml", configMap("late"));
    await untilApplied(cluster, "late");
    await waitUntil("Events of the new file", () => events.reasons.at(-1) === "AppliedManifest");
    const applied = cluster.requests.slice(requests).filter(({ verb, name }) => verb === "apply" && name !== "late");
    assert.deepEqual(
      applied.map(({ kind, name }) => `${kind} ${name}`).sort(),
      names.map((n) => `ConfigMap ${n}`).sort(),
    );
    assert.deepEqual(events.list.slice(told).map(({ subject }) => subject), Array(2).fill("Addon kube-system/late"));
  }));

Deno.test("startManifests tells of a known file that fails at its start, and when it no longer does", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    await write("app.yaml", configMap("app"));
    const first = run();
    await untilApplied(cluster, "app");
    await waitUntil("Events", () => events.list.length === 2);
    await first.stop();
    cluster.onRequest = ({ verb, kind }) => {
      if (verb === "apply" && kind === "ConfigMap") throw new K3slbError("Denied", { code: "kube-forbidden" });
    };
    run();
    await waitUntil("the failure", () => events.reasons.at(-1) === "ApplyManifestFailed");
    cluster.onRequest = () => {};
    await waitUntil("the end of it", () => events.reasons.at(-1) === "AppliedManifest");
    assert.equal(events.reasons.filter((reason) => reason === "AppliedManifest").length, 2);
  }));
