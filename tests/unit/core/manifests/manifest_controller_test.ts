// The deployer against an API server in memory and a real folder: what is in the cluster after files came, changed and went.
import assert from "node:assert/strict";
import { mkdir, rename, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { PackagedFile } from "../../../../core/manifests/folder/packaged_files.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { waitUntil } from "../../../support/wait.ts";
import { THING_CRD } from "./_manifest_cluster.ts";
import { configMap, serverOf, untilApplied, withFolder } from "./_manifest_folder.ts";

Deno.test("startManifests applies a file that is there, and records AddOn and Events", () =>
  withFolder(async ({ cluster, events, folder, write, run }) => {
    await write("web.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  a: b\n");
    run();
    await untilApplied(cluster, "web");
    const addOn = cluster.get("Addon", "web");
    assert.equal((addOn?.["spec"] as { source: string }).source, join(folder, "web.yaml"));
    assert.equal(addOn?.metadata?.annotations?.["addon.k3s.cattle.io/gvks"], "/v1, Kind=ConfigMap");
    const object = cluster.get("ConfigMap", "web");
    assert.equal(object?.metadata?.namespace, "default");
    assert.equal(object?.metadata?.annotations?.["objectset.rio.cattle.io/owner-name"], "web");
    await waitUntil("Events", () => events.list.length === 2);
    assert.deepEqual(events.reasons, ["ApplyingManifest", "AppliedManifest"]);
    assert.equal(events.list[1]?.subject, "Addon kube-system/web");
  }));

Deno.test("startManifests applies a file that is saved later, also in a new folder", () =>
  withFolder(async ({ cluster, write, run }) => {
    run({ rescanIntervalMs: 60_000 });
    await waitUntil("start", () => cluster.get("CustomResourceDefinition", "addons.k3s.cattle.io"));
    await write("late.yaml", configMap("late"));
    await untilApplied(cluster, "late");
    await write("apps/deep/inner.yaml", configMap("inner"));
    await untilApplied(cluster, "inner");
  }));

Deno.test("startManifests prunes what left a file, and leaves what a deleted file had", () =>
  withFolder(async ({ cluster, write, remove, run }) => {
    await write("app.yaml", `${configMap("one")}\n---\n${configMap("two")}`);
    run();
    await untilApplied(cluster, "app");
    await write("app.yaml", configMap("one", { changed: "yes" }));
    await waitUntil("two pruned", () => cluster.get("ConfigMap", "two") === undefined);
    await untilApplied(cluster, "app");
    await remove("app.yaml");
    await write("other.yaml", configMap("other"));
    await untilApplied(cluster, "other");
    assert.ok(cluster.get("ConfigMap", "one"));
    assert.ok(cluster.get("Addon", "app"));
  }));

Deno.test("startManifests removes the objects of a deleted file with pruneDeletedManifests", () =>
  withFolder(async ({ cluster, events, write, remove, run }) => {
    const namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    await write("app.yaml", `${namespace}---\n${configMap("one")}`);
    run({ pruneDeletedManifests: true });
    await untilApplied(cluster, "app");
    await remove("app.yaml");
    await waitUntil("AddOn gone", () => cluster.get("Addon", "app") === undefined);
    assert.equal(cluster.get("ConfigMap", "one"), undefined);
    assert.ok(cluster.get("Namespace", "shop"), "a guarded kind stays");
    assert.ok(events.reasons.includes("KeptObjects"));
    assert.ok(events.reasons.includes("DeletingManifest"));
  }));

Deno.test("startManifests notices at its start that a file went while it was away", () =>
  withFolder(async ({ cluster, write, remove, run }) => {
    await write("app.yaml", configMap("one"));
    await write("theirs.yaml", configMap("theirs"));
    await write("other.yaml", configMap("other"));
    const first = run({ pruneDeletedManifests: true });
    await untilApplied(cluster, "app", "theirs", "other");
    await first.stop();
    cluster.edit("Addon", "theirs", ({ metadata, ...rest }) => {
      const annotations = { ...metadata?.annotations, "k3slb.io/server": "server-2" };
      return { ...rest, metadata: { ...metadata, annotations } };
    });
    await remove("app.yaml");
    await remove("theirs.yaml");
    run({ pruneDeletedManifests: true });
    await waitUntil("AddOn gone", () => cluster.get("Addon", "app") === undefined);
    assert.equal(cluster.get("ConfigMap", "one"), undefined);
    assert.ok(cluster.get("ConfigMap", "theirs"), "another server's file may still exist there");
  }));

Deno.test("startManifests writes nothing while nothing changes", () =>
  withFolder(async ({ cluster, write, run }) => {
    for (let index = 0; index < 5; index++) await write(`app${index}.yaml`, configMap(`app${index}`));
    run({ rescanIntervalMs: 5 });
    await untilApplied(cluster, "app0", "app1", "app2", "app3", "app4");
    // Another file marks the end of many rescans: its own requests are the only ones.
    const before = cluster.requests.length;
    await write("probe.yaml", configMap("probe"));
    await untilApplied(cluster, "probe");
    const others = cluster.requests.slice(before).filter(({ name }) => name.startsWith("app"));
    assert.deepEqual(others, []);
    // Saved again with the same content: read, but not applied.
    await write("app0.yaml", configMap("app0"));
    await write("probe.yaml", configMap("probe", { again: "1" }));
    await waitUntil("probe again", () =>
      (cluster.get("ConfigMap", "probe")?.["data"] as Record<string, string>)["again"]);
    assert.deepEqual(
      cluster.requests.slice(before).filter(({ name }) =>
        name.startsWith("app")
      ),
      [],
    );
  }));

Deno.test("startManifests reports a broken file once and applies the others", () =>
  withFolder(async ({ cluster, events, folder, write, run }) => {
    await write("bad.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad\n");
    // Nobody is writing it any more.
    const savedSeconds = Date.now() / 1000 - 10;
    await utimes(join(folder, "bad.yaml"), savedSeconds, savedSeconds);
    await write("good.yaml", configMap("good"));
    run({ rescanIntervalMs: 10 });
    await untilApplied(cluster, "good");
    const failed = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "ParseManifestFailed"));
    assert.match(failed.message, /bad\.yaml" \(document 1, line \d\)/);
    await write("bad.yaml", configMap("bad"));
    await untilApplied(cluster, "bad");
    assert.equal(events.reasons.filter((reason) => reason === "ParseManifestFailed").length, 1);
  }));

Deno.test("startManifests applies a custom resource once another file brings its kind", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    await write("a-thing.yaml", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\n");
    run();
    const failed = await waitUntil(
      "Event",
      () => events.list.find(({ reason }) => reason === "ValidateManifestFailed"),
    );
    assert.match(failed.message, /does not have the kind "Thing"/);
    await write("z-crd.yaml", THING_CRD);
    await untilApplied(cluster, "a-thing", "z-crd");
    assert.equal(cluster.get("Thing", "t")?.metadata?.namespace, "default");
  }));

Deno.test("startManifests keeps the first of two files with one name", () =>
  withFolder(async ({ cluster, events, write, remove, run }) => {
    await write("b/same.yaml", configMap("first"));
    run();
    await untilApplied(cluster, "same");
    await write("a/same.yaml", configMap("second"));
    const said = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "ConflictingManifest"));
    assert.match(said.message, /"a\/same.yaml" is not deployed: AddOn "same" belongs to "b\/same.yaml"/);
    assert.equal(cluster.get("ConfigMap", "second"), undefined);
    await remove("b/same.yaml");
    await waitUntil("second", () => cluster.get("ConfigMap", "second"));
  }));

Deno.test("startManifests removes what is disabled: objects, AddOn, and the file if it is packaged", () =>
  withFolder(async ({ cluster, folder, write, run }) => {
    await write("traefik.yaml", `# As packaged\n${configMap("traefik")}`);
    await write("sub/inner.yaml", configMap("inner"));
    const first = run();
    await untilApplied(cluster, "traefik", "inner");
    await first.stop();
    const packaged: PackagedFile[] = [
      { path: "traefik.yaml", content: configMap("traefik") },
      {
        path: "coredns.yaml",
        content: configMap("coredns", { ip: "%{CLUSTER_DNS}%" }),
        variables: { CLUSTER_DNS: "10.43.0.10" },
      },
    ];
    run({ disable: ["traefik", "sub"] }, {
      packagedFiles: packaged,
      isPackagedText: (text) => text.startsWith("# As packaged"),
    });
    await waitUntil(
      "AddOns gone",
      () => cluster.get("Addon", "traefik") === undefined && cluster.get("Addon", "inner") === undefined,
    );
    await untilApplied(cluster, "coredns");
    assert.deepEqual(cluster.get("ConfigMap", "coredns")?.["data"], { ip: "10.43.0.10" });
    assert.equal(cluster.get("ConfigMap", "traefik"), undefined);
    assert.equal(cluster.get("ConfigMap", "inner"), undefined);
    await assert.rejects(Deno.stat(join(folder, "traefik.yaml")));
    assert.equal(await Deno.readTextFile(join(folder, "sub/inner.yaml")), configMap("inner"));
    const mode = (await Deno.stat(join(folder, "coredns.yaml"))).mode ?? 0;
    assert.equal(mode & 0o777, 0o600);
  }));

Deno.test("startManifests leaves skipped files and their objects alone", () =>
  withFolder(async ({ cluster, write, run }) => {
    await write("web.yaml", configMap("web"));
    const first = run();
    await untilApplied(cluster, "web");
    await first.stop();
    await write("deep/web.yaml.skip", "");
    await write("web.yaml", configMap("changed"));
    await write("other.yaml", configMap("other"));
    run({ pruneDeletedManifests: true });
    await untilApplied(cluster, "other");
    assert.ok(cluster.get("ConfigMap", "web"));
    assert.equal(cluster.get("ConfigMap", "changed"), undefined);
    assert.ok(cluster.get("Addon", "web"));
  }));

Deno.test("startManifests follows a symlinked folder at the top and never deletes in it", () =>
  withFolder(async ({ cluster, dataDir, folder, run }) => {
    const outside = join(dataDir, "outside");
    await mkdir(outside);
    await writeFile(join(outside, "linked.yaml"), configMap("linked"));
    await symlink(outside, join(folder, "link"));
    const first = run();
    await untilApplied(cluster, "linked");
    await first.stop();
    run({ disable: ["linked"] });
    await waitUntil("AddOn gone", () => cluster.get("Addon", "linked") === undefined);
    assert.ok(await Deno.stat(join(outside, "linked.yaml")));
  }));

Deno.test("startManifests refuses beside a K3s server on the same folder, and beside nothing that another user calls so", () =>
  withFolder(async ({ cluster, dataDir, run, write }) => {
    const proc = join(dataDir, "proc");
    await mkdir(join(proc, "77"), { recursive: true });
    await writeFile(join(proc, "77", "cmdline"), `/usr/local/bin/k3s server\0--data-dir\0${dataDir}/\0`);
    const { uid } = await Deno.stat(dataDir);
    const startedBy = (user: number): Promise<void> =>
      writeFile(join(proc, "77", "status"), `Name:\tk3s\nUid:\t${user}\t0\t0\t0\nGid:\t0\t0\t0\t0\n`);
    for (const user of [0, uid ?? 0]) {
      await startedBy(user);
      await assert.rejects(run({ processRoot: proc }).done, { code: "manifests-k3s-running" });
    }
    assert.deepEqual(cluster.requests, []);
    await startedBy(4242);
    await write("web.yaml", configMap("web"));
    run({ processRoot: proc });
    await untilApplied(cluster, "web");
  }));

Deno.test("startManifests does not tell anyone of a file that is still being written", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    run({ rescanIntervalMs: 20 });
    await write("slow.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: slow\n");
    await waitUntil("read", () => cluster.requests.some(({ verb, name }) => verb === "get" && name === "slow"));
    await write("slow.yaml", configMap("slow"));
    await untilApplied(cluster, "slow");
    assert.deepEqual(events.reasons, ["ApplyingManifest", "AppliedManifest"]);
  }));

Deno.test("startManifests warns when another server applied another content", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    await write("app.yaml", configMap("app"));
    const first = run({ server: "server-2" });
    await untilApplied(cluster, "app");
    await first.stop();
    const second = run({ server: "server-1" });
    await waitUntil("taken over", () => serverOf(cluster, "app") === "server-1");
    assert.ok(!events.reasons.includes("ManifestsDiffer"), "the same content is fine");
    await second.stop();
    await write("app.yaml", configMap("app", { other: "1" }));
    run({ server: "server-3" });
    const said = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "ManifestsDiffer"));
    assert.match(said.message, /Server "server-1" applied another content/);
    await waitUntil("applied", () => (cluster.get("ConfigMap", "app")?.["data"] as Record<string, string>)["other"]);
  }));

Deno.test("startManifests says what is known of a refused object in place of the server's schema", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    cluster.onRequest = ({ verb, name }) => {
      if (verb === "apply" && name === "chart") throw new K3slbError("schema ".repeat(200), { code: "kube-invalid" });
    };
    await write("file.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: chart}\ndata: {a: b}\n");
    run({}, { problemsOf: ({ kind }) => kind === "ConfigMap" ? ['spec.set "a" is true'] : [] });
    const failed = await waitUntil(
      "the Event",
      () => events.list.find(({ reason }) => reason === "ApplyManifestFailed"),
    );
    assert.match(failed.message, /file.yaml" \(document 1, line 1\): ConfigMap "chart": spec.set "a" is true$/);
  }));

Deno.test("startManifests goes on with the others when the server refuses a file, and keeps secrets to itself", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    cluster.onRequest = ({ verb, name }) => {
      if (verb === "apply" && name === "refused") {
        throw new K3slbError('Invalid value: "hunter2"', { code: "kube-invalid" });
      }
    };
    await write(
      "a.yaml",
      `${JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name: "refused" } })}\n---\n${
        configMap("beside")
      }`,
    );
    await write("b.yaml", configMap("b"));
    run();
    await untilApplied(cluster, "b");
    const failed = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "ApplyManifestFailed"));
    assert.match(failed.message, /\(document 1, line 1\): Secret "refused": server refuses the Secret/);
    assert.ok(!JSON.stringify(events.list).includes("hunter2"));
    assert.ok(cluster.get("ConfigMap", "beside"), "the other objects of the file are applied");
    cluster.onRequest = () => {};
    await untilApplied(cluster, "a");
  }));

Deno.test("startManifests puts back what others changed if told to, and writes nothing else", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    await write("app.yaml", `${configMap("one", { a: "1" })}\n---\n${configMap("two")}`);
    run({ repairIntervalMs: 20, rescanIntervalMs: 20 });
    await untilApplied(cluster, "app");
    await waitUntil(
      "some rescans",
      () => cluster.requests.filter(({ verb, name }) => verb === "get" && name === "two").length > 2,
    );
    const applied = JSON.stringify(cluster.get("ConfigMap", "two")?.metadata);
    cluster.edit("ConfigMap", "one", (object) => ({ ...object, data: { a: "changed" } }));
    const said = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "RepairedObjects"));
    assert.match(said.message, /ConfigMap "one" \(data.a\)/);
    assert.deepEqual(cluster.get("ConfigMap", "one")?.["data"], { a: "1" });
    assert.equal(JSON.stringify(cluster.get("ConfigMap", "two")?.metadata), applied);
  }));

Deno.test("startManifests reads a file whose time is 0 again at each scan, and applies it when it changes", () =>
  withFolder(async ({ cluster, folder, write, run }) => {
    await write("app.yaml", configMap("one", { a: "1" }));
    await utimes(join(folder, "app.yaml"), 0, 0);
    run({ rescanIntervalMs: 10 });
    await untilApplied(cluster, "app");
    await write(".new", configMap("one", { a: "2" }));
    await utimes(join(folder, ".new"), 0, 0);
    await rename(join(folder, ".new"), join(folder, "app.yaml"));
    await waitUntil(
      "second content",
      () => (cluster.get("ConfigMap", "one")?.["data"] as Record<string, string>)["a"] === "2",
    );
  }));
