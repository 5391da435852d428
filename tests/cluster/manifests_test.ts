// The manifests folder end to end: what is saved, edited, renamed, broken, skipped and deleted in it, and what becomes of that in
// the cluster. Facts of K3s: docs "Auto-Deploying Manifests" and "Managing Packaged Components".
import { deepEqual, equal, match, ok } from "node:assert/strict";
import type { ResourceType } from "../../core/kube/contract.ts";
import { CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { enterWorld } from "../support/netns.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";
import { find, ServerFolder } from "./server_folder.ts";

interface AddOn extends KubeObject {
  readonly spec?: { readonly source?: string; readonly checksum?: string };
}

const ADD_ONS: ResourceType<AddOn> = {
  group: "k3s.cattle.io",
  version: "v1",
  kind: "Addon",
  plural: "addons",
  namespaced: true,
};
const WIDGETS: ResourceType<KubeObject> = {
  group: "example.com",
  version: "v1",
  kind: "Widget",
  plural: "widgets",
  namespaced: true,
};
const ON = ["--disable=coredns,traefik"];

function configMap(namespace: string, name: string, value = "1"): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, namespace: ${namespace}}\ndata: {value: "${value}"}\n---\n`;
}

async function withFolder(
  { world }: WorldTest,
  body: (folder: ServerFolder) => Promise<void>,
  args: readonly string[] = ON,
): Promise<void> {
  const folder = new ServerFolder(world);
  try {
    await folder.start(...args);
    await body(folder);
  } finally {
    await folder.remove();
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 1, servers: 0, agents: false });

  test("A file that is saved is applied, changes are applied, and what leaves the file is pruned", async (t) => {
    await withFolder(t, async (folder) => {
      const { name: namespace } = t.ns;
      folder.write("app.yaml", configMap(namespace, "one") + configMap(namespace, "two"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "one" });
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "two" });
      const addOn = await folder.waitForObject(
        ADD_ONS,
        { namespace: "kube-system", name: "app" },
        ({ spec }) => spec?.checksum !== "" && spec?.checksum !== undefined,
      );
      equal(addOn.spec?.source, folder.path("app.yaml"));
      await folder.waitForEvent({ namespace: "kube-system", name: "app" }, "AppliedManifest");
      folder.write("app.yaml", configMap(namespace, "one", "2"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "one" }, ({ data }) => data?.["value"] === "2");
      await folder.waitUntilGone(CONFIG_MAPS, { namespace, name: "two" });
    });
  });

  test("Deleting a file leaves its objects; with --prune-deleted-manifests they go", async (t) => {
    const { name: namespace } = t.ns;
    await withFolder(t, async (folder) => {
      folder.write("kept.yaml", configMap(namespace, "kept"));
      await folder.waitForEvent({ namespace: "kube-system", name: "kept" }, "AppliedManifest");
      folder.delete("kept.yaml");
      await staysTrue("it stays", async () => {
        return await find(t.world.admin, CONFIG_MAPS, { namespace, name: "kept" }) !== undefined;
      }, 1000);
    });
    await withFolder(t, async (folder) => {
      folder.write("gone.yaml", configMap(namespace, "gone"));
      await folder.waitForEvent({ namespace: "kube-system", name: "gone" }, "AppliedManifest");
      folder.delete("gone.yaml");
      await folder.waitUntilGone(CONFIG_MAPS, { namespace, name: "gone" });
    }, [...ON, "--prune-deleted-manifests"]);
  });

  test("--disable NAME removes the objects and keeps them from coming back; a file of one's own stays", async (t) => {
    const { name: namespace } = t.ns;
    await withFolder(t, async (folder) => {
      folder.write("extra.yaml", configMap(namespace, "extra"));
      folder.write("other/deep.yaml", configMap(namespace, "deep"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "extra" });
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "deep" });
      await folder.stop();
      await folder.start("--disable=coredns,traefik,extra,other");
      await folder.waitUntilGone(CONFIG_MAPS, { namespace, name: "extra" });
      await folder.waitUntilGone(CONFIG_MAPS, { namespace, name: "deep" });
      folder.write("extra.yaml", configMap(namespace, "extra", "2"));
      folder.write("witness.yaml", configMap(namespace, "witness"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "witness" });
      for (const file of ["extra.yaml", "other/deep.yaml"]) await folder.waitForFile(file, true);
      equal(await find(t.world.admin, CONFIG_MAPS, { namespace, name: "extra" }), undefined);
    });
  });

  for (const skip of ["skipped.yaml.skip", "skipped.skip"]) {
    test(`A ${skip} keeps the file from being deployed; made later, it leaves what is there`, async (t) => {
      const { name: namespace } = t.ns;
      await withFolder(t, async (folder) => {
        folder.write(skip, "");
        folder.write("skipped.yaml", configMap(namespace, "skipped"));
        folder.write("witness.yaml", configMap(namespace, "witness"));
        await folder.waitForObject(CONFIG_MAPS, { namespace, name: "witness" });
        equal(await find(t.world.admin, CONFIG_MAPS, { namespace, name: "skipped" }), undefined);
        folder.delete(skip);
        await folder.waitForObject(CONFIG_MAPS, { namespace, name: "skipped" });
        folder.write(skip, "");
        folder.write("skipped.yaml", "");
        folder.write("witness.yaml", configMap(namespace, "witness", "2"));
        await folder.waitForObject(CONFIG_MAPS, { namespace, name: "witness" }, ({ data }) => data?.["value"] === "2");
        ok(await find(t.world.admin, CONFIG_MAPS, { namespace, name: "skipped" }) !== undefined);
      });
    });
  }

  test("A Namespace, a CRD and their objects in one file work in any order", async (t) => {
    const space = `${t.ns.name}-made`;
    await withFolder(t, async (folder) => {
      folder.write(
        "all.yaml",
        `apiVersion: example.com/v1
kind: Widget
metadata: {name: first, namespace: ${space}}
spec: {size: 3}
---
${configMap(space, "settings")}apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
---
apiVersion: v1
kind: Namespace
metadata: {name: ${space}}
`,
      );
      await folder.waitForObject(WIDGETS, { namespace: space, name: "first" });
      await folder.waitForObject(CONFIG_MAPS, { namespace: space, name: "settings" });
      // What other people's objects hang on stays when it leaves the file.
      folder.write("all.yaml", configMap(space, "settings", "2"));
      await folder.waitForObject(
        CONFIG_MAPS,
        { namespace: space, name: "settings" },
        ({ data }) => data?.["value"] === "2",
      );
      await folder.waitForEvent({ namespace: "kube-system", name: "all" }, "KeptObjects");
      ok(await find(t.world.admin, NAMESPACES, { name: space }) !== undefined);
      ok(await find(t.world.admin, CUSTOM_RESOURCE_DEFINITIONS, { name: "widgets.example.com" }) !== undefined);
    });
  });

  test("A file that fails holds up no other, says where it is wrong, and is applied as soon as it is right", async (t) => {
    const { name: namespace } = t.ns;
    await withFolder(t, async (folder) => {
      folder.write("a-broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n");
      folder.write(
        "b-unknown.yaml",
        `${configMap(namespace, "known")}apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n`,
      );
      folder.write("d-refused.yaml", configMap(`${namespace}-missing`, "refused"));
      folder.write("c-good.yaml", configMap(namespace, "good"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "good" });
      const parse = await folder.waitForEvent({ namespace: "kube-system", name: "a-broken" }, "ParseManifestFailed");
      match(parse.message ?? "", /a-broken\.yaml.*line 3/);
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "known" });
      await folder.waitForEvent({ namespace: "kube-system", name: "b-unknown" }, "ValidateManifestFailed");
      await folder.waitForEvent({ namespace: "kube-system", name: "d-refused" }, "ApplyManifestFailed");
      folder.write("a-broken.yaml", configMap(namespace, "mended"));
      await folder.waitForObject(CONFIG_MAPS, { namespace, name: "mended" });
    });
  });

  test("A restart without a change writes no object", async (t) => {
    const { name: namespace } = t.ns;
    await withFolder(t, async (folder) => {
      folder.write("steady.yaml", configMap(namespace, "steady"));
      await folder.waitForEvent({ namespace: "kube-system", name: "steady" }, "AppliedManifest");
      const key = { namespace, name: "steady" };
      const before = await folder.waitForObject(CONFIG_MAPS, key);
      await folder.stop();
      await folder.start(...ON);
      await waitUntil("the file to be looked at", () => /Applied manifest/.test(folder.log()));
      const after = await folder.waitForObject(CONFIG_MAPS, key);
      deepEqual(after.metadata?.resourceVersion, before.metadata?.resourceVersion);
    });
  });
}
