// Real programs from the Go module proxy, CoreDNS and Traefik, built once into a cache outside the checkout.
// A module is built in a copy of its own sources, so its go.mod and go.sum (checked against the checksum database) decide what goes in.
import { createHash } from "node:crypto";
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheDir } from "../support/go_program.ts";
import { runProgram } from "../support/programs.ts";

/** A program and how it is built. */
export interface GoProgram {
  readonly name: string;
  readonly module: string;
  readonly version: string;
  /** The main package, relative to the module. */
  readonly main: string;
  /** Go variable that holds the version. */
  readonly versionVariable?: string;
  /** Files to add before the build, by path. */
  readonly stubs?: Readonly<Record<string, string>>;
  /** Modules to take from a folder of the copy, with `stubs` in it. */
  readonly replace?: Readonly<Record<string, string>>;
}

/** CoreDNS as `core/packaged/versions.ts` pins it. */
export const COREDNS: GoProgram = {
  name: "coredns",
  module: "github.com/coredns/coredns",
  version: "v1.14.6",
  main: ".",
};

/**
 * Traefik. Two of its packages are not on the module proxy: an empty extension point, and a fork for basic and digest authentication,
 * which here lets nobody in. The pages of its dashboard are made by another build and left out.
 */
export const TRAEFIK: GoProgram = {
  name: "traefik",
  module: "github.com/traefik/traefik/v3",
  version: "v3.7.11",
  main: "./cmd/traefik",
  versionVariable: "github.com/traefik/traefik/v3/pkg/version.Version",
  stubs: {
    "pkg/config/dynamic/ext/go.mod": "module github.com/traefik/traefik/dynamic/ext\n\ngo 1.22\n",
    "pkg/config/dynamic/ext/ext.go": "package ext\n\ntype HTTP struct{}\n\ntype Router struct{}\n",
    "stubs/auth/go.mod": "module github.com/abbot/go-http-auth\n\ngo 1.22\n",
    "stubs/auth/auth.go": `package auth

import "net/http"

type SecretProvider func(user, realm string) string

func CheckSecret(password, secret string) bool { return false }

func refuse(w http.ResponseWriter) { http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized) }

type BasicAuth struct {
	Realm   string
	Secrets SecretProvider
}

func (*BasicAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

type DigestAuth struct{}

func NewDigestAuthenticator(realm string, secrets SecretProvider) *DigestAuth { return &DigestAuth{} }

func DigestAuthParams(string) map[string]string { return nil }

func (*DigestAuth) CheckAuth(*http.Request) (string, *string) { return "", nil }

func (*DigestAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

func (*DigestAuth) RequireAuthStale(w http.ResponseWriter, _ *http.Request) { refuse(w) }
`,
    "webui/static/index.html": "<!doctype html><title>left out</title>\n",
  },
  replace: { "github.com/abbot/go-http-auth": "./stubs/auth" },
};

/**
 * Path of the program; the first build takes some minutes.
 *
 * @throws {Error} if there is no Go, or no way to the module proxy
 */
export async function ensureGoProgram(program: GoProgram, report: (line: string) => void): Promise<string> {
  const file = await goProgramFile(program);
  if (existsSync(file)) return file;
  mkdirSync(dirname(file), { recursive: true });
  report(`building ${program.name} ${program.version} into ${file}; some minutes, once`);
  const work = mkdtempSync(join(dirname(file), "build-"));
  try {
    await build(program, work);
    renameSync(join(work, "program"), file);
  } finally {
    rmSync(work, { recursive: true });
  }
  return file;
}

/**
 * Where the program is once it is built.
 *
 * @throws {Error} if there is no Go
 */
export async function goProgramFile(program: GoProgram): Promise<string> {
  const go = await runProgram(["go", "env", "GOVERSION", "GOARCH"]);
  if (go.code !== 0) throw new Error(`There is no Go to build ${program.name} with: apt-get install golang-go`);
  const hash = createHash("sha256").update(go.stdout).update(JSON.stringify(program)).digest("hex").slice(0, 16);
  return join(cacheDir(), `${program.name}-${program.version}-${hash}`);
}

async function build(program: GoProgram, work: string): Promise<void> {
  const { module, version, versionVariable } = program;
  const found = await run(["go", "mod", "download", "-json", `${module}@${version}`], work);
  const { Dir: sources }: { readonly Dir: string } = JSON.parse(found);
  const copy = join(work, "sources");
  cpSync(sources, copy, { recursive: true });
  // The module cache is read-only, and so is its copy.
  await run(["chmod", "-R", "u+w", copy], work);
  for (const [path, text] of Object.entries(program.stubs ?? {})) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    writeFileSync(join(copy, path), text);
  }
  for (const [name, path] of Object.entries(program.replace ?? {})) {
    await run(["go", "mod", "edit", "-replace", `${name}=${path}`], copy);
  }
  const flags = `-s -w${versionVariable === undefined ? "" : ` -X ${versionVariable}=${version}`}`;
  await run([
    "go",
    "build",
    "-trimpath",
    "-buildvcs=false",
    "-ldflags",
    flags,
    "-o",
    join(work, "program"),
    program.main,
  ], copy);
  chmodSync(join(work, "program"), 0o755);
}

async function run(command: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await runProgram(command, { cwd, env: { CGO_ENABLED: "0" } });
  if (code !== 0) throw new Error(`"${command.join(" ")}" ended with ${code}: ${stderr.trim().slice(-2_000)}`);
  return stdout;
}
