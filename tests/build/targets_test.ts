// Builds for each target, and starts those that this machine can start. Foreign ones run under emulation (Debian: qemu-user,
// libc6-arm64-cross, libstdc++6-arm64-cross); a missing tool prints its name and skips the start, not the build.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hostTarget, type Target, TARGETS } from "../../build/targets.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ARM64_LIBRARIES = "/usr/aarch64-linux-gnu";

/** Words before the binary's name that start it, or why it can't be started here. */
function starter(target: Target): readonly string[] | string {
  if (target === hostTarget()) return [];
  // Besides musl itself (which Debian has) it wants a C++ library made for musl, which neither Debian nor npm has.
  if (target.endsWith("musl")) return "no C++ library for musl here";
  if (spawnSync("qemu-aarch64", ["--version"]).status !== 0) return "qemu-aarch64 is not installed";
  if (!existsSync(`${ARM64_LIBRARIES}/lib/libstdc++.so.6`)) return `${ARM64_LIBRARIES} has no libstdc++`;
  return ["qemu-aarch64", "-L", ARM64_LIBRARIES];
}

Deno.test("build: every target has its binary, checksum and machine, and starts where it can", async () => {
  const out = await Deno.makeTempDir();
  try {
    const built = spawnSync(Deno.execPath(), ["task", "build", "--target", "all", "--out", out], {
      cwd: ROOT,
      encoding: "utf8",
      env: { ...Deno.env.toObject(), NO_COLOR: "1" },
    });
    assert.equal(built.status, 0, built.stderr);
    for (const target of TARGETS) checkBinary(target, out);
    for (const file of ["k3slb-server.service", "k3slb-agent.service", "k3slb-rbac.yaml", "THIRD_PARTY_NOTICES.txt"]) {
      assert.ok(existsSync(`${out}/${file}`), file);
    }
  } finally {
    await Deno.remove(out, { recursive: true });
  }
});

function checkBinary(target: Target, out: string): void {
  const name = target === hostTarget() ? "k3slb" : `k3slb-${target}`;
  const bytes = Deno.readFileSync(`${out}/${name}`);
  const checksum = createHash("sha256").update(bytes).digest("hex");
  assert.equal(Deno.readTextFileSync(`${out}/${name}.sha256`), `${checksum}  ${name}\n`);
  // e_machine of the ELF header (elf(5)): 62 is x86-64, 183 is AArch64.
  const machine = new DataView(bytes.buffer, bytes.byteOffset).getUint16(18, true);
  assert.equal(machine, target.includes("arm64") ? 183 : 62, target);
  const interpreter = new TextDecoder("latin1").decode(bytes.subarray(0, 4096)).match(/\/lib[^\0]*\/ld-[^\0]+/)?.[0];
  assert.equal(interpreter?.includes("musl"), target.endsWith("musl"), `${target}: ${interpreter}`);
  const start = starter(target);
  if (typeof start === "string") {
    Deno.stderr.writeSync(new TextEncoder().encode(`skipped: start of the ${target} binary: ${start}\n`));
    return;
  }
  const [program = "", ...args] = [...start, `${out}/${name}`, "version", "-o", "json"];
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
