// Builds for each target, and starts those that this machine can start. Those of another processor run under emulation (Debian: qemu-user,
// libc6-arm64-cross, libstdc++6-arm64-cross), those for musl with its loader and libraries (musl_files.ts); what is missing is printed and skips the
// start, not the build.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { binaryName } from "../../build/build_target.ts";
import { hostTarget, type Target, TARGETS } from "../../build/targets.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { ensureMuslFiles } from "../support/musl_files.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";

/** The command that starts the binary in `out`, or why it can't be started here. */
async function starter(target: Target, out: string): Promise<readonly string[] | string> {
  const binary = binaryName(target);
  if (target === hostTarget()) return [`${out}/${binary}`];
  let root = ARM64_LIBRARIES;
  if (target.endsWith("musl")) {
    try {
      root = await ensureMuslFiles(target.includes("arm64") ? "arm64" : "x64");
    } catch (error) {
      return `musl cannot be had: ${errorMessage(error)}`;
    }
    if (target.startsWith(hostTarget())) {
      // Where it looks for its loader is written into it: it gets a root of its own.
      cpSync(root, out, { recursive: true });
      return ["unshare", "--map-root-user", `--root=${out}`, `/${binary}`];
    }
  }
  if (spawnSync("qemu-aarch64", ["--version"]).status !== 0) return "qemu-aarch64 is not installed";
  if (!existsSync(`${root}/lib`)) return `there is no ${root}/lib`;
  return ["qemu-aarch64", "-L", root, `${out}/${binary}`];
}

Deno.test("build: every target has its binary, checksum and machine, starts where it can, and has the same bytes wherever it is built", async () => {
  const out = await Deno.makeTempDir();
  try {
    build("--target", "all", "--out", out);
    for (const target of TARGETS) await checkBinary(target, out);
    for (const file of ["k3slb-server.service", "k3slb-agent.service", "k3slb-rbac.yaml", "THIRD_PARTY_NOTICES.txt"]) {
      assert.ok(existsSync(`${out}/${file}`), file);
    }
    build("--out", `${out}/further/down/there`);
    const [sum, elsewhere] = [out, `${out}/further/down/there`].map((folder) =>
      readFileSync(`${folder}/k3slb.sha256`, "utf8")
    );
    assert.equal(elsewhere, sum);
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});

function build(...words: readonly string[]): void {
  const args = ["run", "-A", "--quiet", `${ROOT}build.ts`, ...words];
  const { status, stderr } = spawnSync(Deno.execPath(), args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}

async function checkBinary(target: Target, out: string): Promise<void> {
  const name = binaryName(target);
  const bytes = await Deno.readFile(`${out}/${name}`);
  const checksum = createHash("sha256").update(bytes).digest("hex");
  assert.equal(await Deno.readTextFile(`${out}/${name}.sha256`), `${checksum}  ${name}\n`);
  // e_machine of the ELF header (elf(5)): 62 is x86-64, 183 is AArch64.
  const machine = new DataView(bytes.buffer, bytes.byteOffset).getUint16(18, true);
  assert.equal(machine, target.includes("arm64") ? 183 : 62, target);
  const interpreter = new TextDecoder("latin1").decode(bytes.subarray(0, 4096)).match(/\/lib[^\0]*\/ld-[^\0]+/)?.[0];
  assert.equal(interpreter?.includes("musl"), target.endsWith("musl"), `${target}: ${interpreter}`);
  const start = await starter(target, out);
  if (typeof start === "string") {
    Deno.stderr.writeSync(new TextEncoder().encode(`skipped: start of the ${target} binary: ${start}\n`));
    return;
  }
  const [program = "", ...args] = [...start, "version", "-o", "json"];
  const result = spawnSync(program, args, { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
  assert.equal(JSON.parse(result.stdout).target, target);
}

Deno.test("build: says what is wrong with an unknown target", () => {
  const built = spawnSync(Deno.execPath(), ["run", "-A", "--quiet", `${ROOT}build.ts`, "--target", "linux-mips"], {
    encoding: "utf8",
  });
  assert.equal(built.status, 1);
  assert.match(built.stderr, /^error: Target "linux-mips" is not known\n {2}hint: deno task build/);
});
