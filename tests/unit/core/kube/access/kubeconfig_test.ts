import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { ClusterAccess } from "../../../../../core/kube/access/cluster_access.ts";
import { loadKubeconfig, type LoadKubeconfigOptions } from "../../../../../core/kube/access/kubeconfig.ts";
import { parseKubeconfig } from "../../../../../core/kube/access/kubeconfig_file.ts";
import { K3slbError } from "../../../../../core/shared/errors.ts";
import { createCertificateAuthority } from "../../../../support/certificates.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { waitUntil } from "../../../../support/wait.ts";

const CLOCK = createFakeClock();

async function inTempDir(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "k3slb-kubeconfig-"));
  try {
    await work(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

function load(options: Partial<LoadKubeconfigOptions>): Promise<ClusterAccess> {
  return loadKubeconfig({ env: {}, defaultPaths: [], clock: CLOCK, ...options });
}

interface ConfigParts {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
  readonly rest?: object;
}

function config({ cluster = {}, user = {}, context = {}, rest = {} }: ConfigParts = {}): string {
  return JSON.stringify({
    kind: "Config",
    "current-context": "x",
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u", ...context } }],
    ...rest,
  });
}

const BAD_TABLE: readonly { name: string; given: string; code: string; want: RegExp }[] = [
  { name: "text that is no YAML", given: "a: [", code: "kubeconfig-invalid", want: /bad\.yaml/ },
  { name: "a list", given: "[]", code: "kubeconfig-invalid", want: /not a map/ },
  { name: "another kind", given: '{"kind":"Pod"}', code: "kubeconfig-invalid", want: /"Pod"/ },
  { name: "an empty file", given: "", code: "kubeconfig-invalid", want: /no current context/ },
  {
    name: "a missing context",
    given: config({ rest: { "current-context": "y" } }),
    code: "kubeconfig-invalid",
    want: /no context "y"/,
  },
  {
    name: "a missing cluster",
    given: config({ context: { cluster: "d" } }),
    code: "kubeconfig-invalid",
    want: /cluster "d", which is missing/,
  },
  {
    name: "a missing user",
    given: config({ context: { user: "v" } }),
    code: "kubeconfig-invalid",
    want: /user "v", which is missing/,
  },
  { name: "no server", given: config({ cluster: { server: "" } }), code: "kubeconfig-invalid", want: /usable server/ },
  {
    name: "a strange server",
    given: config({ cluster: { server: "ftp://x" } }),
    code: "kubeconfig-invalid",
    want: /ftp:\/\/x/,
  },
  {
    name: "data that is no base64",
    given: config({ user: { "client-key-data": "%%secret%%" } }),
    code: "kubeconfig-invalid",
    want: /"client-key-data" of user "u" is not base64$/,
  },
  {
    name: "a proxy",
    given: config({ cluster: { "proxy-url": "http://p" } }),
    code: "kubeconfig-unsupported",
    want: /"proxy-url"/,
  },
  {
    name: "groups to impersonate without a user",
    given: config({ user: { "as-groups": ["a"] } }),
    code: "kubeconfig-invalid",
    want: /"as-groups" without "as"/,
  },
  {
    name: "an auth-provider",
    given: config({ user: { "auth-provider": { name: "gcp" } } }),
    code: "kubeconfig-unsupported",
    want: /auth-provider "gcp"/,
  },
  {
    name: "an old exec plugin",
    given: config({ user: { exec: { apiVersion: "client.authentication.k8s.io/v1alpha1", command: "x" } } }),
    code: "kubeconfig-unsupported",
    want: /v1alpha1/,
  },
  {
    name: "an exec plugin that asks a person",
    given: config({
      user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "x", interactiveMode: "Always" } },
    }),
    code: "kubeconfig-unsupported",
    want: /interactiveMode/,
  },
];

for (const { name, given, code, want } of BAD_TABLE) {
  Deno.test(`loadKubeconfig refuses ${name}`, () =>
    inTempDir(async (dir) => {
      const path = join(dir, "bad.yaml");
      await writeFile(path, given);
      await assert.rejects(load({ path }), (error) => {
        assert.ok(error instanceof K3slbError);
        assert.equal(error.code, code, error.message);
        assert.match(error.message, want);
        assert.ok(error.message.includes(path), error.message);
        assert.ok(!error.message.includes("secret"));
        assert.notEqual(error.hint ?? "", "");
        return true;
      });
    }));
}

Deno.test("loadKubeconfig merges the files of KUBECONFIG, the first one wins, missing ones are passed over", () =>
  inTempDir(async (dir) => {
    const first = join(dir, "first");
    const second = join(dir, "second");
    await writeFile(
      first,
      config({ cluster: { server: "https://first:1/" }, rest: { "current-context": "", users: [] } }),
    );
    await writeFile(second, config({ cluster: { server: "https://second:2" }, user: { token: "t" } }));
    const access = await load({ env: { KUBECONFIG: `${join(dir, "none")}:${first}:${second}` } });
    assert.equal(access.server, "https://first:1");
    assert.deepEqual(await access.credentials(), { authorization: "Bearer t" });
    assert.match(access.source, /first.*second.*context "x"/);
    // As commands give it, whose flag has the variable's value where it is not given itself.
    const list = `${join(dir, "none")}:${first}:${second}`;
    assert.equal((await load({ path: list, env: { KUBECONFIG: list } })).source, access.source);
    await assert.rejects(load({ env: { KUBECONFIG: join(dir, "none") } }), { code: "kubeconfig-not-found" });
  }));

Deno.test("loadKubeconfig takes the flag before KUBECONFIG before default paths before the service account", () =>
  inTempDir(async (dir) => {
    for (const name of ["flag", "env", "default"]) {
      await writeFile(join(dir, name), config({ cluster: { server: `https://${name}` } }));
    }
    await writeFile(join(dir, "ca.crt"), "CA");
    await writeFile(join(dir, "token"), "one\n");
    const pod = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
    const all = {
      path: join(dir, "flag"),
      env: { KUBECONFIG: join(dir, "env"), ...pod },
      defaultPaths: [join(dir, "none"), join(dir, "default")],
      serviceAccountDir: dir,
    };
    const inCluster = await load({ ...all, path: "", env: pod, defaultPaths: [] });
    const servers = [
      (await load(all)).server,
      (await load({ ...all, path: "" })).server,
      (await load({ ...all, path: "", env: pod })).server,
      inCluster.server,
    ];
    assert.deepEqual(servers, ["https://flag", "https://env", "https://default", "https://[fd00::1]:443"]);
    assert.deepEqual(await inCluster.credentials(), { ca: "CA", authorization: "Bearer one" });
    await assert.rejects(load({ path: join(dir, "none") }), { code: "kubeconfig-not-found" });
    await assert.rejects(load({ path: dir }), { code: "kubeconfig-unreadable" });
    await assert.rejects(load({}), { code: "kubeconfig-not-found" });
  }));

Deno.test("access.credentials follows rotated files, relative to the kubeconfig, and keeps them while they are away", () =>
  inTempDir(async (dir) => {
    const clock = createFakeClock(Date.now());
    await mkdir(join(dir, "pki"));
    await writeFile(join(dir, "pki", "token-1"), "one");
    await writeFile(join(dir, "pki", "token-2"), "second");
    await symlink("token-1", join(dir, "pki", "current"));
    await writeFile(join(dir, "config"), config({ user: { tokenFile: "pki/current" } }));
    const access = await load({ path: join(dir, "config"), clock });
    const token = async (): Promise<string | undefined> => (await access.credentials()).authorization;
    assert.equal(await token(), "Bearer one");
    await symlink("token-2", join(dir, "pki", "next"));
    await rename(join(dir, "pki", "next"), join(dir, "pki", "current"));
    assert.equal(await token(), "Bearer one");
    await clock.advance(10_000);
    assert.equal(await token(), "Bearer second");
    await rm(join(dir, "pki", "current"));
    await clock.advance(10_000);
    assert.equal(await token(), "Bearer second");
    await symlink("token-1", join(dir, "pki", "current"));
    assert.equal((await access.credentials({ refresh: true })).authorization, "Bearer one");
  }));

Deno.test("access.credentials names a missing file and an expired client certificate", () =>
  inTempDir(async (dir) => {
    const authority = await createCertificateAuthority(dir);
    await authority.issue({ file: "me", commonName: "me" });
    const user = { "client-certificate": "me.crt", "client-key": "me.key" };
    await writeFile(join(dir, "config"), config({ cluster: { "certificate-authority": "ca.crt" }, user }));
    const today = createFakeClock(Date.now());
    const access = await load({ path: join(dir, "config"), clock: today });
    const { ca, certificate, key } = await access.credentials();
    assert.equal(ca, authority.ca);
    assert.match(certificate ?? "", /BEGIN CERTIFICATE/);
    assert.match(key ?? "", /PRIVATE KEY/);
    await today.advance(400 * 24 * 3600 * 1000);
    await assert.rejects(access.credentials(), { code: "client-certificate-expired" });
    await rm(join(dir, "me.key"));
    const broken = await load({ path: join(dir, "config"), clock: createFakeClock(Date.now()) });
    await assert.rejects(broken.credentials(), (error) => {
      assert.ok(error instanceof K3slbError && error.code === "credentials-unreadable");
      assert.ok(error.message.includes(join(dir, "me.key")));
      return true;
    });
  }));

Deno.test("access.credentials takes key and certificate from one file, as kubelet rotates them", () =>
  inTempDir(async (dir) => {
    const authority = await createCertificateAuthority(dir);
    const first = await authority.issue({ file: "first", commonName: "system:node:a" });
    const second = await authority.issue({ file: "second", commonName: "system:node:a" });
    await writeFile(join(dir, "1.pem"), first.cert + first.key);
    await writeFile(join(dir, "2.pem"), second.key + second.cert);
    await symlink("1.pem", join(dir, "current.pem"));
    const user = { "client-certificate": "current.pem", "client-key": "current.pem" };
    await writeFile(join(dir, "config"), config({ user }));
    const clock = createFakeClock(Date.now());
    const access = await load({ path: join(dir, "config"), clock });
    assert.equal((await access.credentials()).certificate, first.cert + first.key);
    await symlink("2.pem", join(dir, "next.pem"));
    await rename(join(dir, "next.pem"), join(dir, "current.pem"));
    await clock.advance(10_000);
    const { certificate, key } = await access.credentials();
    assert.deepEqual([certificate, key], [second.key + second.cert, second.key + second.cert]);
  }));

/** As programs rotate credentials: written in place, a file of the same size may have the same time as before. */
async function rotate(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

Deno.test("access.credentials names a client key that is none or another's, and reads a half rotated pair again", () =>
  inTempDir(async (dir) => {
    const authority = await createCertificateAuthority(dir);
    const first = await authority.issue({ file: "first", commonName: "me" });
    const second = await authority.issue({ file: "second", commonName: "me" });
    const clock = createFakeClock(Date.now());
    const path = join(dir, "config");
    for (const [key, want] of [["secret", /is not a private key in PEM/], [second.key, /does not belong/]] as const) {
      const data = { "client-certificate-data": btoa(first.cert), "client-key-data": btoa(key) };
      await writeFile(path, config({ user: data }));
      const access = await load({ path, clock });
      await assert.rejects(access.credentials(), (error) => {
        assert.ok(error instanceof K3slbError && error.code === "kubeconfig-invalid", String(error));
        assert.match(error.message, want);
        assert.ok(!`${error.message} ${error.hint}`.includes("secret"));
        assert.match(error.hint ?? "", /"client-key-data"/);
        return true;
      });
    }
    await writeFile(join(dir, "me.crt"), first.cert);
    await writeFile(join(dir, "me.key"), first.key);
    await writeFile(path, config({ user: { "client-certificate": "me.crt", "client-key": "me.key" } }));
    const access = await load({ path, clock });
    assert.equal((await access.credentials()).key, first.key);
    await rotate(join(dir, "me.crt"), second.cert);
    await clock.advance(10_000);
    await assert.rejects(access.credentials(), { code: "kubeconfig-invalid", retriable: true });
    await rotate(join(dir, "me.key"), second.key);
    const { certificate, key } = await access.credentials();
    assert.deepEqual([certificate, key], [second.cert, second.key]);
  }));

Deno.test("access.credentials runs an exec plugin until its answer expires, and again after a refusal", () =>
  inTempDir(async (dir) => {
    const clock = createFakeClock(Date.now());
    const expiry = new Date(clock.now() + 60_000).toISOString();
    const plugin = join(dir, "plugin.sh");
    await writeFile(
      plugin,
      `#!/bin/sh
echo run >> "${dir}/runs"
n=$(wc -l < "${dir}/runs")
case "$KUBERNETES_EXEC_INFO" in *'"server":"https://10.0.0.1:6443"'*) ;; *) echo "no cluster" >&2; exit 3;; esac
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"'$PREFIX$n'","expirationTimestamp":"${expiry}"}}'
`,
    );
    await chmod(plugin, 0o755);
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "./plugin.sh",
      env: [{ name: "PREFIX", value: "t" }],
      provideClusterInfo: true,
      installHint: "Install the plugin",
    };
    await writeFile(join(dir, "config"), config({ user: { exec } }));
    const env = { PATH: "/usr/bin:/bin" };
    const access = await load({ path: join(dir, "config"), env, clock });
    const both = await Promise.all([access.credentials(), access.credentials()]);
    assert.deepEqual(both.map(({ authorization }) => authorization), ["Bearer t1", "Bearer t1"]);
    assert.equal((await access.credentials()).authorization, "Bearer t1");
    assert.equal((await access.credentials({ refresh: true })).authorization, "Bearer t2");
    await clock.advance(55_000);
    assert.equal((await access.credentials()).authorization, "Bearer t3");

    for (
      const [command, want] of [["./none", /not there/], ["false", /exit code 1/], ["true", /not JSON/]] as const
    ) {
      await writeFile(join(dir, "config"), config({ user: { exec: { ...exec, command } } }));
      const broken = await load({ path: join(dir, "config"), env, clock });
      await assert.rejects(broken.credentials(), (error) => {
        assert.ok(error instanceof K3slbError && error.code === "credentials-exec", String(error));
        assert.match(error.message, want);
        assert.equal(error.hint, "Install the plugin");
        return true;
      });
    }
  }));

Deno.test("parseKubeconfig takes a relative plugin from beside the kubeconfig, a bare name from PATH", () => {
  const commandOf = (fileName: string, command: string): string | undefined => {
    const text = config({ user: { exec: { apiVersion: "client.authentication.k8s.io/v1", command } } });
    return parseKubeconfig(text, fileName).users.get("u")?.exec?.command;
  };
  assert.deepEqual([
    commandOf("config", "./plugin"),
    commandOf("dir/config", "./plugin"),
    commandOf("/etc/config", "bin/plugin"),
    commandOf("/etc/config", "/opt/plugin"),
    commandOf("/etc/config", "plugin"),
  ], ["./plugin", "dir/plugin", "/etc/bin/plugin", "/opt/plugin", "plugin"]);
});

Deno.test("access.credentials ends a hanging exec plugin when the last caller gives up, and runs it anew for the next", () =>
  inTempDir(async (dir) => {
    const plugin = join(dir, "plugin.sh");
    const good = '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"t"}}';
    // It takes no notice of SIGTERM, and says when it has come so far.
    await writeFile(
      plugin,
      `#!/bin/sh
test -e "${dir}/pid" && { echo '${good}'; exit; }
trap '' TERM
echo $$ > "${dir}/new" && mv "${dir}/new" "${dir}/pid"
while :; do sleep 0.1; done
`,
    );
    await chmod(plugin, 0o755);
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: plugin };
    await writeFile(join(dir, "config"), config({ user: { exec } }));
    const access = await load({ path: join(dir, "config"), env: { PATH: "/usr/bin:/bin" } });
    const callers = [new AbortController(), new AbortController()];
    const waiting = callers.map(({ signal }) => assert.rejects(access.credentials({ signal }), { name: "AbortError" }));
    await waitUntil("the plugin to run", () => Promise.resolve(existsSync(join(dir, "pid"))));
    const pid = Number(await readFile(join(dir, "pid"), "utf8"));
    callers[0]?.abort();
    await waiting[0];
    process.kill(pid, 0);
    callers[1]?.abort();
    await waiting[1];
    await waitUntil("the plugin to be ended", () => Promise.resolve(!existsSync(`/proc/${pid}/exe`)));
    assert.deepEqual(await access.credentials(), { authorization: "Bearer t" });
  }));

const SERVER_TABLE: readonly { name: string; cluster: object; user?: object; want: string }[] = [
  { name: "no scheme", cluster: { server: "10.0.0.1:8080" }, want: "http://10.0.0.1:8080" },
  {
    name: "no scheme, but a CA",
    cluster: { server: "10.0.0.1:6443", "certificate-authority-data": "Q0E=" },
    want: "https://10.0.0.1:6443",
  },
  {
    name: "no scheme, but a client certificate",
    cluster: { server: "api" },
    user: { "client-certificate": "me.crt" },
    want: "https://api",
  },
  {
    name: "no scheme, and no check of the certificate",
    cluster: { server: "[fd00::1]:6443", "insecure-skip-tls-verify": true },
    want: "https://[fd00::1]:6443",
  },
];

for (const { name, cluster, user = {}, want } of SERVER_TABLE) {
  Deno.test(`loadKubeconfig takes a server with ${name} as client-go does`, () =>
    inTempDir(async (dir) => {
      await writeFile(join(dir, "config"), config({ cluster, user }));
      assert.equal((await load({ path: join(dir, "config") })).server, want);
    }));
}

Deno.test("loadKubeconfig understands passwords, impersonation, TLS settings and servers in every spelling", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "config");
    await writeFile(
      path,
      config({
        cluster: {
          server: "http://[fd00::1]:8080/prefix/",
          "tls-server-name": "api",
          "insecure-skip-tls-verify": true,
        },
        user: { username: "me", password: "pw", as: "jane", "as-groups": ["a"], "as-user-extra": { "x/y": ["1"] } },
        context: { namespace: "ns" },
      }),
    );
    const access = await load({ path });
    assert.equal(access.server, "http://[fd00::1]:8080/prefix");
    assert.equal(access.tlsServerName, "api");
    assert.equal(access.insecureSkipTlsVerify, true);
    assert.equal(access.namespace, "ns");
    assert.deepEqual(access.impersonationHeaders, [
      ["Impersonate-User", "jane"],
      ["Impersonate-Group", "a"],
      ["Impersonate-Extra-x%2Fy", "1"],
    ]);
    assert.deepEqual(await access.credentials(), { authorization: "Basic bWU6cHc=" });
  }));
