// What a program for musl is started with on a machine of another C library: musl's loader from the Debian archive, and a C++ library built for musl
// from inside a Python wheel, as neither Debian nor npm has one. Kept in the cache.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDir } from "./go_program.ts";
import { runToEnd } from "./programs.ts";

/** The first Debian whose musl (1.2.5) knows relative relocations (DT_RELR), which today's C++ libraries have. With 1.2.3 they crash. */
const RELEASE = "trixie";
/** A small one that has libstdc++ and libgcc inside. */
const WHEEL = "contourpy==1.3.0";

const NAMES = {
  x64: { debian: "amd64", machine: "x86_64" },
  arm64: { debian: "arm64", machine: "aarch64" },
} as const;

/** Folder with `lib` and `usr/lib` as a program for musl looks for them. Throws if apt or pip can't get something. */
export async function ensureMuslFiles(arch: keyof typeof NAMES): Promise<string> {
  const folder = join(cacheDir(), `musl-${RELEASE}-${arch}`);
  if (existsSync(folder)) return folder;
  const work = mkdtempSync(join(tmpdir(), "k3slb-musl-"));
  try {
    const made = join(work, "made");
    for (const name of ["lib", "usr/lib"]) mkdirSync(join(made, name), { recursive: true });
    await bringLoader(arch, { work, made });
    await bringLibraries(arch, { work, made });
    mkdirSync(cacheDir(), { recursive: true });
    await runToEnd(["cp", "-r", made, `${folder}.${Deno.pid}`]);
    renameSync(`${folder}.${Deno.pid}`, folder);
  } finally {
    rmSync(work, { recursive: true });
  }
  return folder;
}

interface Place {
  readonly work: string;
  readonly made: string;
}

/** By apt, from the archive that this machine uses, with lists of its own. */
async function bringLoader(arch: keyof typeof NAMES, { work, made }: Place): Promise<void> {
  const { debian, machine } = NAMES[arch];
  const targets = await runToEnd([
    "apt-get",
    "indextargets",
    "--format",
    "$(REPO_URI)",
    "Origin: Debian",
    "Label: Debian",
  ]);
  const [archive = ""] = targets.split("\n");
  if (archive === "") throw new Error("apt names no archive of Debian");
  const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
  writeFileSync(join(work, "sources.list"), `deb [signed-by=${keys}] ${archive} ${RELEASE} main\n`);
  writeFileSync(join(work, "status"), "");
  for (const name of ["state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(work, name), { recursive: true });
  }
  const settings = {
    "APT::Architecture": debian,
    "APT::Architectures": debian,
    "APT::Sandbox::User": "",
    "Acquire::Languages": "none",
    "Debug::NoLocking": "true",
    "Dir::Etc::sourcelist": join(work, "sources.list"),
    "Dir::Etc::sourceparts": "/dev/null",
    "Dir::State": join(work, "state"),
    "Dir::State::status": join(work, "status"),
    "Dir::Cache": join(work, "cache"),
  };
  const options = Object.entries(settings).map(([key, value]) => `-o${key}=${value}`);
  for (const command of ["update", "download musl"]) {
    await runToEnd(["sh", "-c", `cd "$1" && shift && apt-get -qq "$@" ${command}`, "sh", work, ...options]);
  }
  const [deb = ""] = readdirSync(work).filter((name) => name.endsWith(".deb"));
  await runToEnd(["dpkg-deb", "-x", join(work, deb), join(work, "deb")]);
  const libc = join(work, "deb", "usr", "lib", `${machine}-linux-musl`, "libc.so");
  await runToEnd(["cp", libc, join(made, "lib", `ld-musl-${machine}.so.1`)]);
}

/** By pip, which takes wheels for other machines. */
async function bringLibraries(arch: keyof typeof NAMES, { work, made }: Place): Promise<void> {
  const platform = `musllinux_1_2_${NAMES[arch].machine}`;
  const pip = ["python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
  const wanted = ["--only-binary=:all:", `--platform=${platform}`, "--python-version=3.11", "--implementation=cp"];
  const wheel = join(work, "wheel");
  await runToEnd([...pip, ...wanted, `--dest=${wheel}`, WHEEL]);
  const [file = ""] = readdirSync(wheel);
  await runToEnd(["python3", "-m", "zipfile", "-e", join(wheel, file), wheel]);
  const libraries = join(wheel, `${WHEEL.split("==")[0]}.libs`);
  for (const name of readdirSync(libraries)) {
    // The library of C++ is asked for by its usual name, and asks for the other one by that which it has here.
    const usual = name.startsWith("libstdc++") ? "libstdc++.so.6" : name;
    await runToEnd(["cp", join(libraries, name), join(made, "usr", "lib", usual)]);
  }
}
