// What is published: packages, container image, list of contents, manual pages. A small program stands in for the binary, as packing the
// whole takes minutes; `deno task release` is the same code.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../cli/commands.ts";
import { manPages } from "../../cli/output/render_man.ts";
import { binaryName, type BuildTargetOptions, type BuiltTarget, VERSION } from "../../build/build_target.ts";
import { type Target, TARGETS } from "../../build/targets.ts";
import { writeDebianPackage } from "../../build/release/debian_package.ts";
import { release } from "../../build/release/release.ts";
import { type ReleaseFile, releaseFiles } from "../../build/release/release_files.ts";
import { writeRpmPackage } from "../../build/release/rpm_package.ts";
import { renderSbom } from "../../build/release/sbom.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const EPOCH_SECONDS = 1_700_000_000;

Deno.test("manPages: one for the program and each command, every flag named, no line taken for a request", () => {
  const pages = manPages(COMMANDS, { version: "1.2.3", date: "2026-01-02" });
  assert.deepEqual(
    pages.map(({ file }) => file),
    ["k3slb.1", ...COMMANDS.map(({ path }) => `k3slb-${path.join("-")}.1`)],
  );
  for (const [index, command] of COMMANDS.entries()) {
    const { text = "" } = pages[index + 1] ?? {};
    for (const { name } of command.flags) {
      assert.ok(text.includes(name.replaceAll("-", "\\-")), `${command.path}: ${name}`);
    }
    const unknown = text.split("\n").filter((line) => /^[.']/.test(line) && !/^\.(TH|SH|TP|B|BR|I|IP|PP) ?/.test(line));
    assert.deepEqual(unknown, []);
  }
});

Deno.test("releaseFiles: README and docs are shipped, and no link in them leads out of the archive", () => {
  const options = { version: "1.2.3", epochSeconds: EPOCH_SECONDS, root: ROOT, binary: "b", notices: "n" };
  const files = releaseFiles(options);
  assert.deepEqual(releaseFiles({ ...options, root: `${ROOT}/` }), files, "with a slash at the end of its name too");
  const shipped = new Set(files.flatMap(({ inArchive }) => inArchive ?? []));
  assert.ok(shipped.has("docs/install.md") && shipped.has("docs/decisions/0001-one-binary-on-bun.md"));
  const broken = files.filter(({ inArchive }) => inArchive?.endsWith(".md")).flatMap(({ inArchive = "", content }) => {
    assert.ok("file" in content);
    const text = Deno.readTextFileSync(content.file).replaceAll(/^ *```[^]*?^ *```$/gm, "");
    const links = [...text.matchAll(/\]\(([^)\s#]+)/g)].map(([, link = ""]) => link).filter((link) =>
      !/^[a-z]+:/.test(link)
    );
    return links.map((link) => join(dirname(inArchive), link).replace(/\/$/, ""))
      .filter((link) => !shipped.has(link) && ![...shipped].some((file) => file.startsWith(`${link}/`)))
      .map((link) => `${inArchive}: ${link}`);
  });
  assert.deepEqual(broken, []);
});

Deno.test("release: all that is said of it, for every target, and the sum of each file; the same bytes whoever builds it", async () => {
  await withFolders(async (out, work) => {
    const build = async (target: Target, options: BuildTargetOptions): Promise<BuiltTarget> => {
      await filesIn(options.out);
      await Deno.rename(`${options.out}/k3slb`, `${options.out}/${binaryName(target)}`);
      await Deno.rename(`${options.out}/notices`, `${options.out}/THIRD_PARTY_NOTICES.txt`);
      return { binary: "", inputs: [], summary: target };
    };
    await release({ targets: TARGETS, out, archiveImages: false }, build);
    const name = `k3slb-${VERSION}`;
    const packages = [`k3slb_${VERSION}_amd64.deb`, `k3slb_${VERSION}_arm64.deb`].concat(
      ["x86_64", "aarch64"].map((arch) => `${name}-1.${arch}.rpm`),
    );
    const files = [
      ...TARGETS.flatMap((target) => [`${name}-${target}.tar.xz`, `${name}-${target}.cdx.json`]),
      ...packages,
      ...[`${name}-images.txt`, `${name}.tgz`, "install.sh", "k3slb.yaml"],
    ];
    assert.deepEqual(readdirSync(out).sort(), [...files, "SHA256SUMS"].sort());
    const { stdout } = spawnSync("sha256sum", ["-c", "SHA256SUMS"], { cwd: out, encoding: "utf8" });
    assert.deepEqual(stdout.trim().split("\n").sort(), files.map((file) => `${file}: OK`).sort());
    const listing = run("tar", "-tf", `${out}/${name}-linux-x64-musl.tar.xz`);
    for (const file of ["k3slb", "docs/air-gap.md", "deploy/rbac.yaml", "man/k3slb.1", "completions/k3slb.zsh"]) {
      assert.ok(listing.includes(`\n${name}-linux-x64-musl/${file}\n`), file);
    }
    // Another folder, of somebody whose files are his own.
    const umask = Deno.umask(0o077);
    try {
      await release({ targets: TARGETS, out: work, archiveImages: false }, build);
      assert.equal(Deno.umask(), 0o077);
    } finally {
      Deno.umask(umask);
    }
    assert.equal(await Deno.readTextFile(`${work}/SHA256SUMS`), await Deno.readTextFile(`${out}/SHA256SUMS`));
  });
});

Deno.test("writeDebianPackage: the same bytes twice, files of root, settings kept, nothing enabled", async () => {
  await withFolders(async (first, second) => {
    const files = await filesIn(first);
    const [one, two] = [await deb(files, first), await deb(files, second)];
    assert.deepEqual(await Deno.readFile(one), await Deno.readFile(two));
    const listing = run("dpkg-deb", "--contents", one);
    assert.match(listing, /-rwxr-xr-x root\/root .* \.\/usr\/bin\/k3slb\n/);
    assert.match(listing, /-rw------- root\/root .* \.\/etc\/default\/k3slb-agent\n/);
    assert.equal(run("dpkg-deb", "--info", one, "conffiles"), "/etc/default/k3slb-server\n/etc/default/k3slb-agent\n");
    const scripts = ["postinst", "prerm", "postrm"].map((name) => run("dpkg-deb", "--info", one, name)).join("\n");
    assert.doesNotMatch(scripts, /systemctl (enable|start)/);
    assert.match(scripts, /agent cleanup/);
    const unit = run(
      "sh",
      "-c",
      `dpkg-deb --fsys-tarfile ${one} | tar -xO ./usr/lib/systemd/system/k3slb-agent.service`,
    );
    assert.match(unit, /^ExecStart=\/usr\/bin\/k3slb agent$/m);
  });
});

Deno.test("writeDebianPackage: installed, upgraded, removed and purged: settings stay, then all goes, rules first", async () => {
  await withFolders(async (first, second) => {
    const root = `${first}/root`;
    const dpkg = (...words: string[]): string =>
      run("dpkg", `--root=${root}`, "--force-not-root,depends,script-chrootless", ...words);
    await Deno.mkdir(`${root}/var/lib/dpkg/info`, { recursive: true });
    await Deno.writeTextFile(`${root}/var/lib/dpkg/status`, "");
    const told = `${first}/told`;
    const files = await filesIn(first, told);
    const options = { files, arch: "x64", epochSeconds: EPOCH_SECONDS } as const;
    dpkg("--install", await writeDebianPackage({ ...options, version: "1.0.0", out: first, work: await work(first) }));
    assert.ok((await Deno.stat(`${root}/usr/bin/k3slb`)).isFile);
    await Deno.writeTextFile(`${root}/etc/default/k3slb-agent`, "K3SLB_LOG_LEVEL=debug\n");
    dpkg(
      "--install",
      await writeDebianPackage({ ...options, version: "1.0.1", out: second, work: await work(second) }),
    );
    assert.equal(await Deno.readTextFile(`${root}/etc/default/k3slb-agent`), "K3SLB_LOG_LEVEL=debug\n");
    dpkg("--remove", "k3slb");
    await assert.rejects(Deno.stat(`${root}/usr/bin/k3slb`));
    await assert.rejects(Deno.stat(told));
    dpkg("--purge", "k3slb");
    assert.equal(await Deno.readTextFile(told), "agent cleanup\n");
    const left = run("find", root, "-type", "f", "-not", "-path", `${root}/var/lib/dpkg/*`);
    assert.equal(left, "");
  });
});

Deno.test("writeRpmPackage: the same bytes twice, settings kept, rules removed with the last one", async () => {
  await withFolders(async (first, second) => {
    const files = await filesIn(first);
    const options = { files, version: "1.2.3", arch: "arm64", epochSeconds: EPOCH_SECONDS } as const;
    const one = await writeRpmPackage({ ...options, out: first, work: await work(first) });
    const two = await writeRpmPackage({ ...options, out: second, work: await work(second) });
    assert.deepEqual(await Deno.readFile(one), await Deno.readFile(two));
    assert.equal(run("rpm", "-qp", "--queryformat", "%{ARCH} %{VERSION}", one), "aarch64 1.2.3");
    const listed = run("rpm", "-qpl", one);
    // Folders of its own are named, or they would stay behind.
    for (const folder of ["/usr/share/k3slb", "/usr/share/doc/k3slb/docs/decisions"]) {
      assert.ok(listed.includes(`\n${folder}\n`), folder);
    }
    assert.ok(!listed.includes("\n/usr/share\n"));
    assert.equal(run("rpm", "-qpc", one), "/etc/default/k3slb-agent\n/etc/default/k3slb-server\n");
    const scripts = run("rpm", "-qp", "--scripts", one);
    assert.match(scripts, /k3slb agent cleanup/);
    assert.doesNotMatch(scripts, /systemctl (enable|start)/);
  });
});

Deno.test("renderSbom: every library with its package URL, the program depends on all", () => {
  const sbom = JSON.parse(renderSbom({
    version: "1.2.3",
    commit: "abc",
    epochSeconds: EPOCH_SECONDS,
    runtime: { name: "@oven/bun-linux-x64-baseline", version: "1.4.5" },
    packages: [{ name: "yaml", version: "2.9.1", folder: "" }],
  }));
  assert.equal(sbom.bomFormat, "CycloneDX");
  const urls = ["pkg:npm/%40oven/bun-linux-x64-baseline@1.4.5", "pkg:npm/yaml@2.9.1"];
  assert.deepEqual(sbom.components.map(({ purl }: { purl: string }) => purl), urls);
  assert.deepEqual(sbom.dependencies, [{ ref: "pkg:generic/k3slb@1.2.3", dependsOn: urls }]);
});

/** The files of a release around a program that only writes down how it was called. */
async function filesIn(folder: string, told = "/dev/null"): Promise<readonly ReleaseFile[]> {
  const [binary, notices] = [`${folder}/k3slb`, `${folder}/notices`];
  await Deno.writeTextFile(binary, `#!/bin/sh\necho "$@" >> ${told}\n`);
  await Deno.writeTextFile(notices, "notices\n");
  return releaseFiles({ version: "1.2.3", epochSeconds: EPOCH_SECONDS, root: ROOT, binary, notices });
}

async function deb(files: readonly ReleaseFile[], folder: string): Promise<string> {
  const options = { files, version: "1.2.3", arch: "x64", epochSeconds: EPOCH_SECONDS } as const;
  return await writeDebianPackage({ ...options, out: folder, work: await work(folder) });
}

async function work(folder: string): Promise<string> {
  return await Deno.makeTempDir({ dir: folder });
}

async function withFolders(body: (first: string, second: string) => Promise<void>): Promise<void> {
  const [first, second] = [await Deno.makeTempDir(), await Deno.makeTempDir()];
  try {
    await body(first, second);
  } finally {
    for (const folder of [first, second]) await Deno.remove(folder, { recursive: true });
  }
}

function run(program: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  assert.equal(status, 0, `${program} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
