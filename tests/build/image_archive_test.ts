// The archive of others' images for hosts without internet access, brought from a registry that behaves as public ones do. That a container runtime
// takes it is tried on real nodes (tests/nodes/in_cluster_test.ts).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename } from "node:path";
import { foreignImages, writeImageArchive } from "../../build/release/image_archive.ts";
import {
  blobPath,
  type Descriptor,
  INDEX_TYPE,
  jsonBytes,
  MANIFEST_TYPE,
  packLayout,
  writeBlob,
} from "../../build/release/oci_layout.ts";
import { isK3slbError } from "../../core/shared/errors.ts";
import { startRegistry, type TestRegistry } from "../support/registry.ts";

const DOCKER = "application/vnd.docker";
const SEVERAL = "registry.example.com/team/several:1";
const SINGLE = "rancher/single:v2";

interface Given {
  readonly registry: TestRegistry;
  readonly layout: string;
  readonly out: string;
}

async function imageFor(layout: string, architecture: string, types: readonly string[]): Promise<Descriptor> {
  const [configType = "", layerType = "", manifestType = ""] = types;
  const layer = await writeBlob(layout, layerType, crypto.getRandomValues(new Uint8Array(30_000)));
  const config = await writeBlob(layout, configType, jsonBytes({ architecture, os: "linux" }));
  const manifest = { schemaVersion: 2, mediaType: manifestType, config, layers: [layer] };
  return { ...await writeBlob(layout, manifestType, jsonBytes(manifest)), platform: { architecture, os: "linux" } };
}

/** A registry with an image for several processors, in Docker's types, and one for amd64 alone. */
async function withRegistry(body: (given: Given) => Promise<void>): Promise<void> {
  const [layout, out] = [await Deno.makeTempDir(), await Deno.makeTempDir()];
  const docker = [`${DOCKER}.container.image.v1+json`, `${DOCKER}.image.rootfs.diff.tar.gzip`];
  const types = [...docker, `${DOCKER}.distribution.manifest.v2+json`];
  const manifests = [
    await imageFor(layout, "amd64", types),
    await imageFor(layout, "arm64", types),
    await imageFor(layout, "unknown", types),
  ];
  const list = `${DOCKER}.distribution.manifest.list.v2+json`;
  const images = new Map([
    [SEVERAL, await writeBlob(layout, list, jsonBytes({ schemaVersion: 2, mediaType: list, manifests }))],
    [SINGLE, await imageFor(layout, "amd64", ["application/vnd.oci.image.config.v1+json", "layer", MANIFEST_TYPE])],
  ]);
  await packLayout(layout, images, { archive: `${out}/given.tar`, epochSeconds: 0 });
  const registry = startRegistry(layout);
  try {
    await body({ registry, layout, out });
  } finally {
    await registry.stop();
    for (const folder of [layout, out]) await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("writeImageArchive: one processor's manifests, configurations and layers, by their full names, the same bytes twice", async () => {
  await withRegistry(async ({ registry, layout, out }) => {
    const options = { images: [SEVERAL, SINGLE], architecture: "amd64", out, registry: registry.url } as const;
    const file = await writeImageArchive(options);
    const bytes = await Deno.readFile(file);
    assert.deepEqual(await Deno.readFile(await writeImageArchive(options)), bytes);
    const read = (name: string): string => spawnSync("tar", ["-xOf", file, name], { encoding: "utf8" }).stdout;
    const { mediaType, manifests } = JSON.parse(read("./index.json"));
    assert.equal(mediaType, INDEX_TYPE);
    const names = manifests.map(({ annotations }: { annotations: Record<string, string> }) =>
      annotations["io.containerd.image.name"]
    );
    assert.deepEqual(names, [SEVERAL, `docker.io/${SINGLE}`]);
    const wanted = manifests.flatMap(({ digest }: Descriptor) => {
      const { config, layers } = JSON.parse(read(`./blobs/${digest.replace(":", "/")}`));
      assert.equal(JSON.parse(read(`./blobs/${config.digest.replace(":", "/")}`)).architecture, "amd64");
      return [digest, config.digest, ...layers.map((layer: Descriptor) => layer.digest)];
    });
    const packed = spawnSync("tar", ["-tf", file], { encoding: "utf8" }).stdout.match(/[0-9a-f]{64}$/gm) ?? [];
    assert.deepEqual(packed.map((name) => `sha256:${name}`).sort(), [...new Set<string>(wanted)].sort());
    for (const digest of wanted) assert.ok((await Deno.stat(blobPath(layout, digest))).isFile);
    // Nothing half-done stays beside the archive.
    assert.deepEqual(readdirSync(out).sort(), ["given.tar", basename(file)]);
  });
});

const REFUSALS = [
  {
    name: "an image that the registry has not got",
    images: ["rancher/other:1"],
    says: /answer for manifests\/1 is 404/,
  },
  { name: "another processor", images: [SINGLE], says: /for amd64, and there is none for linux\/arm64$/ },
] as const;

for (const { name, images, says } of REFUSALS) {
  Deno.test(`writeImageArchive refuses ${name}, by its name`, async () => {
    await withRegistry(async ({ registry, out }) => {
      const pulled = writeImageArchive({ images, architecture: "arm64", out, registry: registry.url });
      await assert.rejects(pulled, (error) => {
        assert.ok(isK3slbError(error) && error.code === "image-pull");
        assert.ok(error.message.startsWith(`Cannot bring image "${images[0]}" from ${registry.url}/v2/rancher/`));
        assert.match(error.message, says);
        return true;
      });
    });
  });
}

Deno.test("writeImageArchive refuses bytes that are not those of their digest", async () => {
  await withRegistry(async ({ registry, layout, out }) => {
    const options = { images: [SEVERAL], architecture: "arm64", out, registry: registry.url } as const;
    await writeImageArchive(options);
    const layer = registry.asked.findLast((path) => path.startsWith("/kept/"))?.slice("/kept/".length) ?? "";
    await Deno.writeTextFile(blobPath(layout, layer), "something else");
    await assert.rejects(writeImageArchive(options), /has another digest$/);
  });
});

Deno.test("foreignImages: what both data planes, DNS, ingress and charts run", () => {
  const parts = ["pause", "klipper-lb", "coredns", "traefik", "klipper-helm"];
  assert.equal(foreignImages().length, parts.length);
  for (const part of parts) assert.ok(foreignImages().some((name) => name.includes(part)), part);
});
