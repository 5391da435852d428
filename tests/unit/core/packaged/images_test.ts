// What has to be brought along to a host without internet access follows the server's settings.
import assert from "node:assert/strict";
import { type ArtifactSettings, artifactsOf } from "../../../../core/packaged/images.ts";

const SETTINGS: ArtifactSettings = {
  version: { major: 1, minor: 34, text: "v1.34.0", isK3s: false },
  disable: [],
  systemDefaultRegistry: "",
  dataplane: "agent",
  reservePorts: "daemonset",
  lbImage: "lb:1",
  pauseImage: "pause:1",
  helmJobImage: "helm-job:1",
};

function parts(given: Partial<ArtifactSettings>): readonly string[] {
  return artifactsOf({ ...SETTINGS, ...given }).map(({ kind, component }) => `${kind} ${component}`);
}

function names(given: Partial<ArtifactSettings>): readonly string[] {
  return artifactsOf({ ...SETTINGS, ...given }).map(({ name }) => name);
}

Deno.test("artifactsOf: everything, images first", () => {
  assert.deepEqual(parts({}), [
    "image servicelb",
    "image coredns",
    "image traefik",
    "image helm",
    "chart traefik",
  ]);
});

for (const part of ["servicelb", "coredns", "traefik", "helm"]) {
  Deno.test(`artifactsOf: nothing of ${part} when it is disabled`, () => {
    const want = parts({}).filter((line) => !line.endsWith(` ${part}`));
    assert.deepEqual(parts({ disable: [part] }), want);
  });
}

Deno.test("artifactsOf: the data plane decides about the load balancer's image", () => {
  assert.equal(names({})[0], "pause:1");
  assert.equal(names({ dataplane: "pods" })[0], "lb:1");
  assert.equal(names({ dataplane: "pods", reservePorts: "none" })[0], "lb:1");
  assert.ok(!parts({ reservePorts: "none" }).includes("image servicelb"));
});

Deno.test("artifactsOf: a registry stands before every image and no chart", () => {
  const found = artifactsOf({ ...SETTINGS, systemDefaultRegistry: "registry.example.com" });
  for (const { kind, name } of found) assert.equal(name.startsWith("registry.example.com/"), kind === "image", name);
});
