// Problems of the folder: said when they come up, again when they come back, and known to `/readyz` while they last.
import assert from "node:assert/strict";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { StandingProblems } from "../../../../../core/manifests/folder/standing_problems.ts";
import { waitUntil } from "../../../../support/wait.ts";
import { withFolder } from "../_manifest_folder.ts";

Deno.test("StandingProblems: told once while it lasts, and again when it comes back", () => {
  const told: string[] = [];
  const problems = new StandingProblems((message) => void told.push(message));
  for (const messages of [["a"], ["a"], ["a", "b"], [], ["a"]]) problems.set("folder", messages);
  assert.deepEqual(told, ["a", "b", "a"]);
  problems.set("names", ["c", "c"]);
  assert.equal(problems.summary, "a (and 1 more)");
  problems.set("folder", []);
  problems.set("names", []);
  assert.equal(problems.summary, undefined);
});

Deno.test("what can't be looked into is a problem until it is gone, each time that it comes", () =>
  withFolder(async ({ folder, cluster, write, remove, run }) => {
    await write("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n");
    const { problem, warnings } = run();
    await waitUntil("the object", () => cluster.get("ConfigMap", "a") !== undefined);
    assert.equal(problem(), undefined);
    for (const times of [1, 2]) {
      await symlink("loop", join(folder, "loop"));
      await waitUntil("the problem", () => problem() !== undefined);
      assert.equal(warnings.filter((message) => message.includes(`/loop"`)).length, times, warnings.join());
      await remove("loop");
      await waitUntil("its end", () => problem() === undefined);
    }
  }));

Deno.test("a file with a wrong name is told each time that it comes, and is no problem of the whole", () =>
  withFolder(async ({ cluster, write, remove, run }) => {
    const { problem, warnings } = run();
    const told = (): number => warnings.filter((message) => message.includes("Wrong_name.yaml")).length;
    for (const times of [1, 2]) {
      await write("Wrong_name.yaml", "{}");
      await waitUntil("the warning", () => told() === times);
      assert.equal(problem(), undefined);
      await remove("Wrong_name.yaml");
      await write(`ok-${times}.yaml`, `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ok-${times}}\n`);
      await waitUntil("another look", () => cluster.get("ConfigMap", `ok-${times}`) !== undefined);
    }
  }));
