// The import arrows and file rules of ARCHITECTURE.md, held by a program. Each rule says why it is there.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const SOURCE_FOLDERS = ["cli", "core", "node_agent"];
const FEATURE_FOLDERS = ["helm", "manifests", "node_identity", "packaged", "service_lb"];
const MAX_LINES = 350;
const MAX_TEST_LINES = 450;

/** What a file whose output depends on its arguments alone says in its first comment. */
const PURE_HEADER_REGEXP = /\bPure[.;]/;

/** Clock, random source, environment, process, timers, sockets. A variable may be called `process`. */
const IMPURE_REGEXP =
  /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|randomUUID|randomBytes|process\.(env|argv|cwd|exit|std\w+|hrtime|platform|getuid|on)|setTimeout|setInterval|fetch\()\b/g;

/** What a Service says of itself: fields of its spec, and annotations that a user writes. */
const SERVICE_FIELD_REGEXP =
  /\bservice\??\.spec\??\.\w+|\.(loadBalancer(SourceRanges|Class|IP)|(ex|in)ternalTrafficPolicy|ipFamilies|clusterIPs?|sessionAffinity\w*)\b|\b(SOURCE_RANGES|MATCH_ADDRESSES|MATCH_INTERFACES|TOLERATIONS|RESOURCES|PRIORITY_CLASS|IP_MODE|ENABLED)_ANNOTATION\b/g;

/**
 * The rooms of a folder, each with those it may import: they stand below it. Files beside the rooms put them together; a room imports one of those
 * only where it says ".".
 */
const ROOMS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  "node_agent/loop": { watches: ["plan"], checks: ["plan"], report: ["plan"], plan: [] },
  "core/manifests": { deploy: ["objects", "record"], objects: ["record"], folder: ["record"], record: [] },
  "core/service_lb": {
    answers: [".", "daemonset", "nodes"],
    groundwork: ["."],
    status: [".", "daemonset", "nodes"],
    nodes: [".", "daemonset"],
    daemonset: ["."],
  },
  "core/helm": { releases: [".", "jobs", "values"], jobs: [".", "values"], values: ["."] },
};

/** Code that one file has for all. */
const HOMES: readonly { readonly home: string; readonly copy: RegExp }[] = [
  // abortError() and isNoSuchFile()
  { home: "core/shared/errors.ts", copy: /new DOMException\([^)]*"AbortError"\)|\.code === "ENOENT" \|\|/g },
  // isMapping()
  { home: "core/shared/values.ts", copy: /=== "object" && (\w+) !== null && !Array\.isArray\(\1\)/g },
  // findObject() and orAbsent()
  { home: "core/kube/one_object.ts", copy: /if \(isNotFound\(error\)\) return undefined;/g },
  // didYouMean()
  { home: "core/shared/nearest_name.ts", copy: /=== undefined \? [^:]+ : `Did you mean "\$\{near\}"\?`/g },
];

/** Methods of sets and of iterators, and functions that nothing is put in for. */
const NEWER_METHOD_REGEXP =
  /\.(intersection|union|difference|symmetricDifference|isDisjointFrom|isSubsetOf|isSupersetOf|toBase64|setFromBase64|toHex)\(|\.((values|keys|entries)\(\)|matchAll\([^()]*\))\.(map|filter|flatMap|some|every|find|reduce|toArray|take|drop|forEach)\(|\b(Promise\.try|Array\.fromAsync|RegExp\.escape|Iterator\.from)\b/g;
const LIBRARY_FOLDERS = ["core", "node_agent"];

interface Import {
  /** Path from the project's root, or the bare name of a library. */
  readonly target: string;
  readonly bare: boolean;
  readonly typeOnly: boolean;
}

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

interface Rule {
  readonly name: string;
  readonly why: string;
  /** Sentences, one for each breach in `file`. */
  readonly breaches: (file: SourceFile) => readonly string[];
}

const RULES: readonly Rule[] = [
  {
    name: "core imports neither cli nor node_agent",
    why: "the server must be usable, and tried, without either",
    breaches: (file) =>
      under(file, "core/") ? file.imports.filter((i) => /^(cli|node_agent)\//.test(i.target)).map(target) : [],
  },
  {
    name: "node_agent imports of core only what both programs share",
    why: "an agent on a small host must not carry the server",
    breaches: (file) =>
      under(file, "node_agent/")
        ? file.imports.filter((i) =>
          !i.bare &&
          !/^(node_agent\/|core\/(shared|kube|runtime|node_identity|service)\/)/.test(i.target)
        ).map(target)
        : [],
  },
  {
    name: "only core/service reads a Service's fields and annotations",
    why: "two readers of one object drift apart, and contradict each other",
    breaches: (file) =>
      under(file, "core/service_lb/") || under(file, "node_agent/") ? matches(file, SERVICE_FIELD_REGEXP) : [],
  },
  {
    name: "feature folders of core never import each other",
    why: "they meet in core/controllers.ts, so that each can change alone",
    breaches: (file) => {
      const own = FEATURE_FOLDERS.find((folder) => under(file, `core/${folder}/`));
      if (!own) return [];
      const others = FEATURE_FOLDERS.filter((folder) => folder !== own);
      return file.imports.filter((i) => others.some((folder) => i.target.startsWith(`core/${folder}/`))).map(target);
    },
  },
  {
    name: "feature folders of core get their settings handed over",
    why: "a part that reads the program's own options can't be used, or tried, without the program",
    breaches: (file) =>
      FEATURE_FOLDERS.some((folder) => under(file, `core/${folder}/`))
        ? file.imports.filter((i) => /^core\/[^/]+\.ts$/.test(i.target)).map(target)
        : [],
  },
  {
    name: "the agent's loop stands above rules and host",
    why: "they meet at node_agent/dataplane_contract.ts, so that the rules can be tried without a cluster",
    breaches: (file) =>
      /^node_agent\/(rules|host)\//.test(file.path)
        ? file.imports.filter((i) => i.target.startsWith("node_agent/loop/")).map(target)
        : [],
  },
  {
    name: "a room imports only the rooms below it",
    why: "a room can be read, and tried, with what it stands on and nothing else",
    breaches: (file) =>
      Object.entries(ROOMS).flatMap(([folder, rooms]) => {
        const room = under(file, `${folder}/`) ? roomIn(folder, file.path) : undefined;
        if (room === undefined) return [];
        const below = rooms[room];
        if (below === undefined) return [`is in a room that ROOMS doesn't know`];
        const open = [room, ...below];
        return file.imports
          .filter((i) => i.target.startsWith(`${folder}/`) && !open.includes(roomIn(folder, i.target) ?? "."))
          .map(target);
      }),
  },
  {
    name: "what has a home is not written again",
    why: "copies drift apart",
    breaches: (file) => HOMES.flatMap(({ home, copy }) => isCopy(file, home) ? matches(file, copy) : []),
  },
  {
    name: "nothing outside tests imports tests",
    why: "a test double in the product would answer for the real thing",
    breaches: (file) =>
      file.path.startsWith("tests/") ? [] : file.imports.filter((i) => i.target.startsWith("tests/")).map(target),
  },
  {
    name: "files that call themselves pure import types and other pure files only",
    why: "the same facts must always give the same wanted state",
    breaches: (file) => isPure(file) ? file.imports.filter((i) => !i.typeOnly && !isPureImport(i)).map(target) : [],
  },
  {
    name: "pure files touch no clock, random source, environment or process",
    why: "what a test can't decide, it can't repeat",
    breaches: (file) => isPure(file) ? matches(file, IMPURE_REGEXP) : [],
  },
  {
    name: "the product's code names no runtime",
    why: "it runs on Deno, Bun and Node",
    breaches: (file) =>
      SOURCE_FOLDERS.some((folder) => under(file, `${folder}/`)) ? matches(file, /\b(Deno|Bun)\.\w+/g) : [],
  },
  {
    name: "the library's code calls no method that Node 20 has not",
    why:
      "the compiler knows newer runtimes; functions of the language are put in for Node 20 by build/node_20.ts, methods can't be",
    breaches: (file) =>
      LIBRARY_FOLDERS.some((folder) => under(file, `${folder}/`)) ? matches(file, NEWER_METHOD_REGEXP) : [],
  },
  {
    name: "files start by saying what lives in them",
    why: "a newcomer reads the first lines and knows whether to go on; a test's name says it already",
    breaches: (file) =>
      file.path.endsWith("_test.ts") ? [] : /^(#!.*\n)?(\/\/|\/\*\*)/.test(file.text) ? [] : ["no comment at the top"],
  },
  {
    name: `files have at most ${MAX_LINES} lines, tests ${MAX_TEST_LINES}`,
    why: "a longer one has more than one reason to change",
    breaches: (file) => {
      const lines = file.text.split("\n").length - 1;
      return lines > (file.path.endsWith("_test.ts") ? MAX_TEST_LINES : MAX_LINES) ? [`${lines} lines`] : [];
    },
  },
];

for (const rule of RULES) {
  Deno.test(`architecture: ${rule.name}`, () => {
    const found = sources().flatMap((file) => rule.breaches(file).map((breach) => `${file.path}: ${breach}`));
    assert.deepEqual(found, [], `${rule.why}\n${found.join("\n")}`);
  });
}

Deno.test("architecture: no import cycles", () => {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
    if (done.has(path) || trail.includes(path)) return;
    for (const one of sourceAt(path)?.imports ?? []) if (!one.bare) visit(one.target, [...trail, path]);
    done.add(path);
  };
  for (const file of sources()) visit(file.path, []);
  assert.deepEqual(cycles, [], "a cycle has no bottom: no part of it can be read, tried or moved alone");
});

Deno.test("architecture: rooms have an order", () => {
  const found = Object.entries(ROOMS).flatMap(([folder, rooms]) => {
    const order = Object.keys(rooms);
    return Object.entries(rooms).flatMap(([room, below]) =>
      below.filter((one) => one !== "." && order.indexOf(one) <= order.indexOf(room)).map((one) =>
        `${folder}/${room}: ${one}`
      )
    );
  });
  assert.deepEqual(found, [], "two rooms that import each other are one");
});

Deno.test("architecture: each outside library is imported by one file", () => {
  const importers = new Map<string, string[]>();
  for (const file of sources().filter((one) => !one.path.startsWith("tests/"))) {
    for (
      const library of new Set(file.imports.filter((i) => i.bare && !i.target.startsWith("node:")).map((i) => i.target))
    ) {
      importers.set(library, [...(importers.get(library) ?? []), file.path]);
    }
  }
  const shared = [...importers].filter(([, files]) => files.length > 1);
  assert.deepEqual(shared, [], "swapping a library must touch one file");
});

Deno.test("architecture: each dependency has its line in docs/dependencies.md", () => {
  const imports: Record<string, string> = JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")).imports;
  const text = readFileSync(join(ROOT, "docs/dependencies.md"), "utf8");
  assert.deepEqual(Object.keys(imports).filter((name) => !text.includes(`\`${name}\``)), []);
});

Deno.test("architecture: ARCHITECTURE.md names files and rooms that are there", () => {
  const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
  const paths = sources().map((file) => `/${file.path}`);
  const named = new Set([...text.matchAll(/(?<![\w*])[\w/]+\.ts\b/g)].map(([name]) => name));
  const rooms = Object.entries(ROOMS).flatMap(([folder, names]) => Object.keys(names).map((room) => [folder, room]));
  assert.deepEqual([...named].filter((name) => !paths.some((path) => path.endsWith(`/${name}`))), []);
  assert.deepEqual(rooms.filter(([, room]) => !text.includes(`    ${room}/ `)), []);
  assert.ok(named.size > 30, `only ${named.size} names of files found`);
});

Deno.test("architecture: the rules see the files they are about", () => {
  const paths = sources().map((file) => file.path);
  assert.ok(paths.length > 20, `only ${paths.length} files found`);
  assert.ok(sources().filter(isPure).length > 100, "hardly a pure file found");
  assert.ok(
    sources().some((file) => file.imports.some((i) => i.target === "core/kube/contract.ts")),
    "no import resolved",
  );
});

let read: ReadonlyMap<string, SourceFile> | undefined;

function sources(): readonly SourceFile[] {
  return [...(read ??= new Map(readSources().map((file) => [file.path, file]))).values()];
}

function sourceAt(path: string): SourceFile | undefined {
  sources();
  return read?.get(path);
}

function readSources(): readonly SourceFile[] {
  const files = ["mod.ts", "build.ts"].filter((name) => existsSync(join(ROOT, name)));
  const folders = [...SOURCE_FOLDERS, "build", "tests"].filter((name) => existsSync(join(ROOT, name)));
  return [...files, ...folders.flatMap(walk)].map(readSource);
}

function walk(folder: string): string[] {
  return readdirSync(join(ROOT, folder)).flatMap((name) => {
    const path = `${folder}/${name}`;
    if (statSync(join(ROOT, path)).isDirectory()) return walk(path);
    return path.endsWith(".ts") && !path.includes(".generated.") ? [path] : [];
  });
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(ROOT, path), "utf8");
  return { path, text, imports: [...text.matchAll(IMPORT_REGEXP)].map((match) => readImport(path, match)) };
}

/** `import … from "x"`, `export … from "x"`, `import "x"` at the start of a line, and `import("x")` anywhere. */
const IMPORT_REGEXP = /^(import|export)\s+(type\s+)?(?:[^;"'()]*?\s+from\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;

function readImport(path: string, match: RegExpMatchArray): Import {
  const name = match[3] ?? match[4] ?? "";
  const typeOnly = match[2] !== undefined;
  if (!name.startsWith(".")) return { target: name, bare: true, typeOnly };
  return { target: relative("", normalize(join(dirname(path), name))), bare: false, typeOnly };
}

/** Whether the file's first comment says so. What it imports must say so too, so purity holds to the last file. */
function isPure(file: SourceFile): boolean {
  const header = /^(?:\/\/.*\n)+|^\/\*\*[\s\S]*?\*\//.exec(file.text)?.[0] ?? "";
  return SOURCE_FOLDERS.some((folder) => under(file, `${folder}/`)) && PURE_HEADER_REGEXP.test(header);
}

function isPureImport(one: Import): boolean {
  if (one.bare) return PURE_LIBRARIES.includes(one.target);
  // What is generated is types and data.
  if (one.target.includes(".generated.")) return true;
  const file = sourceAt(one.target);
  return file !== undefined && isPure(file);
}

function isCopy(file: SourceFile, home: string): boolean {
  return file.path !== home && SOURCE_FOLDERS.some((folder) => under(file, `${folder}/`));
}

const PURE_LIBRARIES = ["node:crypto", "node:net", "node:buffer", "node:path", "node:zlib", "node:util", "yaml"];

function under(file: SourceFile, folder: string): boolean {
  return file.path.startsWith(folder);
}

/** The room of `folder` that `path` is in; `undefined` for a file beside the rooms. */
function roomIn(folder: string, path: string): string | undefined {
  const [room, ...rest] = path.slice(folder.length + 1).split("/");
  return rest.length === 0 ? undefined : room;
}

function target(one: Import): string {
  return `imports ${one.target}`;
}

/** Code that matches, comments left out. */
function matches(file: SourceFile, pattern: RegExp): string[] {
  const code = file.text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  return [...new Set([...code.matchAll(pattern)].map((match) => match[0]))];
}
