// Staging against the in-memory API server and a real folder.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SERVICES } from "../../../../core/kube/resources.ts";
import type { Service } from "../../../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { type PackagedSettings, type StagedPackaged, stagePackaged } from "../../../../core/packaged/stage.ts";
import { type TestCluster, withCluster } from "./_cluster.ts";

interface Setup extends TestCluster {
  readonly dataDir: string;
  /** Stages as an administrator, or as another user. */
  stage(settings?: Partial<PackagedSettings>, user?: string): Promise<StagedPackaged>;
  /** Messages of the log from `level` on. */
  said(pattern: RegExp): boolean;
}

async function withStage(body: (setup: Setup) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "packaged-"));
  try {
    await withCluster(async (cluster) => {
      await body({
        ...cluster,
        dataDir,
        stage: async (settings = {}, user) =>
          await stagePackaged({
            client: user === undefined ? cluster.client : await cluster.open(user),
            clock: SYSTEM_CLOCK,
            logger: cluster.logger,
            signal: AbortSignal.timeout(20_000),
            options: {
              dataDir,
              disable: [],
              enable: [],
              lbClass: "k3slb.io/node",
              lbDefault: true,
              systemDefaultRegistry: "",
              clusterDns: [],
              clusterDomain: "cluster.local",
              dnsUpstreams: [],
              dnsHosts: [],
              ...settings,
            },
          }),
        said: (pattern) => cluster.lines.some((line) => pattern.test(line)),
      });
    });
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

function paths(staged: StagedPackaged): readonly string[] {
  return staged.files.map(({ path }) => path);
}

Deno.test("stagePackaged: a bare cluster gets CoreDNS and Traefik, and the log says which and why", async () => {
  await withStage(async ({ stage, said, addApiService, writes }) => {
    await addApiService();
    const before = writes();
    const staged = await stage();
    assert.deepEqual(paths(staged), ["coredns.yaml", "traefik.yaml"]);
    assert.equal(staged.files[0]?.variables["CLUSTER_DNS"], "10.43.0.10");
    assert.ok(staged.nodeHosts?.corefile.includes("cluster.local"));
    assert.ok(said(/Deploying CoreDNS at 10\.43\.0\.10 \(beside Service default\/kubernetes\)/));
    assert.ok(said(/Deploying Traefik v3 \(chart 41\.3\.0\): Kubernetes v1\.36\.3 is 1\.32 or later/));
    assert.equal(writes(), before);
  });
});

Deno.test("stagePackaged: --disable leaves parts out; all disabled, the cluster is not asked", async () => {
  await withStage(async ({ stage, addApiService }) => {
    await addApiService();
    assert.deepEqual(paths(await stage({ disable: ["traefik"] })), ["coredns.yaml"]);
    const withoutDns = await stage({ disable: ["coredns"] });
    assert.deepEqual(paths(withoutDns), ["traefik.yaml"]);
    assert.equal(withoutDns.nodeHosts, undefined);
    assert.deepEqual(await stage({ disable: ["coredns", "traefik"] }), { files: [] });
  });
});

Deno.test("stagePackaged: a DNS of others stays, and a file of an earlier start is taken back", async () => {
  await withStage(async ({ stage, said, client, dataDir, addApiService }) => {
    await addApiService();
    const folder = join(dataDir, "server", "manifests");
    await mkdir(folder, { recursive: true });
    const [coredns] = (await stage()).files;
    await writeFile(join(folder, "coredns.yaml"), coredns?.content ?? "");
    const spec = { clusterIP: "10.43.0.10", ports: [{ name: "dns", port: 53, protocol: "UDP" }] };
    await client.create(SERVICES, { metadata: { name: "kube-dns", namespace: "kube-system" }, spec } as Service);
    assert.deepEqual(paths(await stage()), ["traefik.yaml"]);
    assert.ok(said(/Skipping CoreDNS: the cluster already has a DNS that is not ours/));
    assert.equal(existsSync(join(folder, "coredns.yaml")), false);
    await writeFile(join(folder, "coredns.yaml"), "# mine\n");
    await stage();
    assert.equal(existsSync(join(folder, "coredns.yaml")), true);
  });
});

Deno.test("stagePackaged: chart archives of this host come before the repository", async () => {
  await withStage(async ({ stage, said, dataDir, addApiService }) => {
    await addApiService();
    const charts = join(dataDir, "server", "static", "charts");
    await mkdir(charts, { recursive: true });
    await writeFile(join(charts, "traefik-41.3.0.tgz"), "archive");
    const content = (await stage()).files.find(({ path }) => path === "traefik.yaml")?.content ?? "";
    assert.match(content, /static\/charts\/traefik-41\.3\.0\.tgz/);
    assert.ok(said(/Deploying Traefik v3 \(file traefik-41\.3\.0\.tgz\)/));
  });
});

Deno.test("stagePackaged: missing rights for one part are told and hold up nothing else", async () => {
  await withStage(async ({ stage, said }) => {
    // Asked for, so that nobody looks whether something else serves ingress.
    const staged = await stage({ enable: ["traefik"] }, "nobody");
    assert.deepEqual(paths(staged), ["traefik.yaml"]);
    assert.ok(said(/ERROR Skipping CoreDNS: /));
    assert.deepEqual(paths(await stage({}, "nobody")), []);
    assert.ok(said(/ERROR Skipping Traefik: /));
  });
});

Deno.test("stagePackaged: another ingress keeps Traefik out, until it is asked for", async () => {
  await withStage(async ({ stage, said, client, dataDir, addApiService }) => {
    await addApiService();
    const folder = join(dataDir, "server", "manifests");
    await mkdir(folder, { recursive: true });
    const traefik = (await stage()).files.find(({ path }) => path === "traefik.yaml");
    await writeFile(join(folder, "traefik.yaml"), traefik?.content ?? "");
    const spec = { type: "LoadBalancer", ports: [{ name: "http", port: 80 }] };
    await client.create(SERVICES, { metadata: { name: "web", namespace: "default" }, spec } as Service);
    assert.deepEqual(paths(await stage({ enable: ["traefik"] })), ["coredns.yaml", "traefik.yaml"]);
    assert.deepEqual(paths(await stage({ disable: ["servicelb"] })), ["coredns.yaml", "traefik.yaml"]);
    assert.deepEqual(paths(await stage()), ["coredns.yaml"]);
    assert.ok(said(/Skipping Traefik: .*Service default\/web has port 80 of the nodes.*--enable traefik/));
    assert.equal(existsSync(join(folder, "traefik.yaml")), false);
  });
});
