// `install.sh` against a local web server: what it fetches, what it refuses, what it calls. A small program stands in for the binary.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("../../deploy/install.sh", import.meta.url));
const ARCH = Deno.build.arch === "aarch64" ? "arm64" : "x64";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Variables of the script's process. */
let environment: Readonly<Record<string, string>> = {};

/** Runs the script, from a pipe as people do, against `files`. */
async function install(
  files: Readonly<Record<string, Uint8Array | string>>,
  ...words: readonly string[]
): Promise<Ended> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const file = files[new URL(request.url).pathname.slice(1)];
    return file === undefined ? new Response("no", { status: 404 }) : new Response(file as BodyInit);
  });
  try {
    const url = `http://127.0.0.1:${server.addr.port}`;
    return await new Promise((resolve) => {
      const child = spawn("sh", ["-s", "-", ...words], {
        env: { ...process.env, ...environment, K3SLB_RELEASE_URL: url },
      });
      let [stdout, stderr] = ["", ""];
      child.stdout.on("data", (text) => stdout += text);
      child.stderr.on("data", (text) => stderr += text);
      child.on("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
      child.stdin.end(Deno.readTextFileSync(SCRIPT));
    });
  } finally {
    await server.shutdown();
  }
}

/** An archive as a release has it. */
async function archiveOf(program: string): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await Deno.makeTempDir();
  try {
    const name = `k3slb-1.2.3-linux-${ARCH}`;
    await Deno.mkdir(`${folder}/${name}`);
    await Deno.writeTextFile(`${folder}/${name}/k3slb`, program, { mode: 0o755 });
    await new Deno.Command("tar", { args: ["-cJf", `${folder}/a`, "-C", folder, name] }).output();
    return await Deno.readFile(`${folder}/a`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const NAME = `k3slb-1.2.3-linux-${ARCH}.tar.xz`;
const ARCHIVE = await archiveOf('#!/bin/sh\necho "called: $*"\n');

function sumsOf(bytes: Uint8Array): string {
  const sum = createHash("sha256").update(bytes).digest("hex");
  return `${"0".repeat(64)}  k3slb_1.2.3_amd64.deb\n${sum}  ${NAME}\n`;
}

Deno.test("install.sh: fetches this machine's archive, checks it, and calls the program's own installation", async () => {
  const ended = await install({ SHA256SUMS: sumsOf(ARCHIVE), [NAME]: ARCHIVE }, "agent", "--no-start");
  assert.deepEqual(ended, { code: 0, stdout: "called: install agent --no-start\n", stderr: "" });
});

Deno.test("install.sh: takes the archive for musl where programs are linked with it, whatever loaders are installed", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/ldd`, "#!/bin/sh\necho 'musl libc' >&2; exit 1\n", { mode: 0o755 });
  environment = { PATH: `${folder}:${process.env["PATH"] ?? ""}` };
  try {
    const { code, stderr } = await install({ SHA256SUMS: sumsOf(ARCHIVE) }, "agent");
    assert.equal(code, 1);
    assert.ok(stderr.includes(`no archive for linux-${ARCH}-musl`), stderr);
  } finally {
    environment = {};
    await Deno.remove(folder, { recursive: true });
  }
});

const REFUSALS = [
  {
    name: "an archive with another sum",
    files: { SHA256SUMS: sumsOf(new Uint8Array()), [NAME]: ARCHIVE },
    says: /is not the file that SHA256SUMS names/,
  },
  { name: "a release without this machine's archive", files: { SHA256SUMS: "" }, says: /has no archive for linux-/ },
  { name: "no release there", files: {}, says: /Cannot fetch http.*SHA256SUMS\n {2}hint: / },
  { name: "an archive that is missing", files: { SHA256SUMS: sumsOf(ARCHIVE) }, says: /Cannot fetch http.*tar\.xz/ },
];

for (const { name, files, says } of REFUSALS) {
  Deno.test(`install.sh: ${name}: nothing is run`, async () => {
    const { code, stdout, stderr } = await install(files, "agent");
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, says);
  });
}
