// The few programs of Debian that the agent runs, with exactly the libraries that they load, for a container image without a distribution.
// Packages come from the Debian archive that this machine's apt is set up for, for any architecture, without touching what is installed.
import { basename } from "node:path";
import { runTool } from "../run_tool.ts";

/** Packages whose programs go into the image. */
const PACKAGES = ["iptables", "conntrack", "iproute2"];

/** Programs, with the names that are links to them. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "/usr/sbin/xtables-nft-multi": tools("nft"),
  "/usr/sbin/xtables-legacy-multi": tools("legacy"),
  "/usr/sbin/conntrack": [],
  "/usr/bin/ip": [],
  "/usr/bin/ss": [],
};

/** Names by which one back end's program is called; `iptables` alone means nft, as in Debian. */
function tools(backend: "nft" | "legacy"): readonly string[] {
  const suffixes = backend === "nft" ? [`-${backend}`, ""] : [`-${backend}`];
  return ["iptables", "ip6tables"].flatMap((name) =>
    suffixes.flatMap((suffix) => ["", "-save", "-restore"].map((action) => `/usr/sbin/${name}${suffix}${action}`))
  );
}

/** What {@linkcode copyDebianFiles} takes. */
export interface DebianFilesOptions {
  readonly arch: "x64" | "arm64";
  /** Programs that are there already and whose libraries are wanted, too. */
  readonly others: readonly string[];
  /** An empty folder to work in. */
  readonly work: string;
  /** Folder that becomes the image's root. */
  readonly root: string;
}

/**
 * Copies programs, libraries and licences below `root`.
 *
 * @returns Names and versions of the packages that something was taken from
 * @throws {K3slbError} code "build-tool" if apt, dpkg-deb or readelf fail
 */
export async function copyDebianFiles(options: DebianFilesOptions): Promise<readonly DebianPackage[]> {
  const { arch, work, root } = options;
  const source = `${work}/debian-${arch}`;
  const packages = await unpackDebian(source, arch === "x64" ? "amd64" : "arm64");
  const triple = arch === "x64" ? "x86_64-linux-gnu" : "aarch64-linux-gnu";
  const extensions = await listFolder(`${source}/root/usr/lib/${triple}/xtables`);
  const wanted = [
    ...Object.keys(PROGRAMS),
    ...extensions.map((name) => `/usr/lib/${triple}/xtables/${name}`),
  ];
  const taken = new Set<string>();
  const queue = [...wanted];
  for (const other of options.others) queue.push(...await libraries(other, { source, triple }));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (taken.has(path)) continue;
    taken.add(path);
    queue.push(...await libraries(`${source}/root${path}`, { source, triple }));
  }
  for (const path of [...taken].sort()) await copyFile(`${source}/root${path}`, `${root}${path}`);
  for (const [program, names] of Object.entries(PROGRAMS)) {
    for (const name of names) await Deno.symlink(basename(program), `${root}${name}`);
  }
  // The merged folders of today's Debian: what names the old places finds the files.
  for (
    const [link, target] of [["/lib", "usr/lib"], ["/lib64", "usr/lib64"], ["/bin", "usr/bin"], ["/sbin", "usr/sbin"]]
  ) {
    await Deno.mkdir(`${root}/${target}`, { recursive: true });
    await Deno.symlink(target ?? "", `${root}${link}`);
  }
  const loader = arch === "x64" ? "/usr/lib64/ld-linux-x86-64.so.2" : "/usr/lib/ld-linux-aarch64.so.1";
  await copyFile(`${source}/root/usr/lib/${triple}/${basename(loader)}`, `${root}${loader}`);
  const used = packages.filter(({ files }) => files.some((file) => taken.has(file)));
  for (const { name } of used) {
    const copyright = `/usr/share/doc/${name}/copyright`;
    await copyFile(`${source}/root${copyright}`, `${root}${copyright}`);
  }
  return used;
}

/** A package and the files that it brought, as paths below the root. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly files: readonly string[];
}

/** Unpacks {@linkcode PACKAGES} and all that they need into `source`/root. */
async function unpackDebian(source: string, architecture: string): Promise<readonly DebianPackage[]> {
  const archives = `${source}/cache/archives`;
  for (const folder of [`${source}/state/lists/partial`, `${archives}/partial`, `${source}/root`]) {
    await Deno.mkdir(folder, { recursive: true });
  }
  await Deno.writeTextFile(`${source}/status`, "");
  const settings = {
    "APT::Architecture": architecture,
    "APT::Architectures": architecture,
    "APT::Sandbox::User": "",
    "APT::Install-Recommends": "false",
    "Debug::NoLocking": "true",
    "Dir::State": `${source}/state`,
    "Dir::State::status": `${source}/status`,
    "Dir::Cache": `${source}/cache`,
  };
  const apt = ["apt-get", "-qq", ...Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`])];
  const hint =
    "The image is made from Debian's packages: build it on Debian or a system derived from it, with its archive reachable";
  await runTool([...apt, "update"], { hint });
  await runTool([...apt, "install", "--yes", "--download-only", ...PACKAGES], { hint });
  // Both old places are links before anything is unpacked, so that every file has one path.
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await Deno.mkdir(`${source}/root/usr/${name}`, { recursive: true });
    await Deno.symlink(`usr/${name}`, `${source}/root/${name}`);
  }
  const packages: DebianPackage[] = [];
  for (const file of (await listFolder(archives)).filter((name) => name.endsWith(".deb"))) {
    const path = `${archives}/${file}`;
    const words = await runTool(["dpkg-deb", "--show", "--showformat=${Package} ${Version}", path], { hint });
    const [name = "", version = ""] = words.split(" ");
    // tar keeps links to folders with this option where dpkg-deb -x would put a folder in their place.
    await runTool([
      "sh",
      "-c",
      `dpkg-deb --fsys-tarfile '${path}' | tar -x --keep-directory-symlink -C '${source}/root'`,
    ], { hint });
    const listed = await runTool(["sh", "-c", `dpkg-deb --fsys-tarfile '${path}' | tar -t`], { hint });
    const files = listed.split("\n").map((line) =>
      line.replace(/^\./, "").replace(/^\/(?=(s?bin|lib|lib64)\/)/, "/usr/")
    );
    packages.push({ name, version, files });
  }
  return packages;
}

/** Paths of the libraries that a program names, as `readelf` shows them. */
async function libraries(
  program: string,
  { source, triple }: { readonly source: string; readonly triple: string },
): Promise<readonly string[]> {
  const text = await runTool(["readelf", "--dynamic", "--wide", program], {
    hint: 'Install readelf (package "binutils")',
  });
  const names = [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1] ?? "");
  const paths: string[] = [];
  for (const name of names) {
    const path = `/usr/lib/${triple}/${name}`;
    await Deno.stat(`${source}/root${path}`);
    paths.push(path);
  }
  return paths;
}

/** Copies one file, links followed: a library has the name by which it is asked for. */
async function copyFile(from: string, to: string): Promise<void> {
  await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
  await Deno.copyFile(from, to);
}

async function listFolder(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { name, isFile, isSymlink } of Deno.readDir(folder)) if (isFile || isSymlink) names.push(name);
  return names.sort();
}
