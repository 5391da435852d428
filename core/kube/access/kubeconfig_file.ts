// The text of a kubeconfig as typed values under the file's own names, and several of them as one, the way kubectl merges them. Pure.
// Facts: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and client-go's api/v1 types.
import { Buffer } from "node:buffer";
import { dirname, isAbsolute, join } from "node:path";
import { errorMessage, K3slbError } from "../../shared/errors.ts";
import { isMapping, present } from "../../shared/values.ts";
import { parseYaml } from "../../shared/yaml.ts";

/** What a field holds. Paths (`file`, `program`) become relative to the kubeconfig; a program's bare name is looked for in PATH. */
type Scalar = "text" | "flag" | "file" | "program" | "base64";
type Kind = Scalar | "lists" | readonly [Scalar | Fields] | Fields;
interface Fields {
  readonly [name: string]: Kind;
}

const CONTEXT = { cluster: "text", user: "text", namespace: "text" } as const;
const CLUSTER = {
  server: "text",
  "tls-server-name": "text",
  "insecure-skip-tls-verify": "flag",
  "certificate-authority": "file",
  "certificate-authority-data": "base64",
  "proxy-url": "text",
} as const;
const EXEC = {
  apiVersion: "text",
  command: "program",
  args: ["text"],
  env: [{ name: "text", value: "text" }],
  installHint: "text",
  provideClusterInfo: "flag",
  interactiveMode: "text",
} as const;
const USER = {
  "client-certificate": "file",
  "client-certificate-data": "base64",
  "client-key": "file",
  "client-key-data": "base64",
  token: "text",
  tokenFile: "file",
  username: "text",
  password: "text",
  as: "text",
  "as-uid": "text",
  "as-groups": ["text"],
  "as-user-extra": "lists",
  "auth-provider": { name: "text" },
  exec: EXEC,
} as const;
const ROOT = { kind: "text", "current-context": "text" } as const;

/** The type of what `S` describes; what is empty or `null` is absent. */
type Read<S> = S extends "flag" ? boolean
  : S extends Scalar ? string
  : S extends "lists" ? Readonly<Record<string, readonly string[]>>
  : S extends readonly [infer Item] ? readonly Read<Item>[]
  : { readonly [K in keyof S]?: Read<S[K]> };

/** An entry of a kubeconfig, and the file that has it. */
type Entry<S> = Read<S> & { readonly fileName: string };
/** A cluster as a kubeconfig has it. Data wins over a file, as in kubectl. */
export type ClusterEntry = Entry<typeof CLUSTER>;
/** A user as a kubeconfig has it, likewise. */
export type UserEntry = Entry<typeof USER>;
/** A context as a kubeconfig has it. */
export type ContextEntry = Entry<typeof CONTEXT>;
/** How an exec plugin is run. */
export type ExecEntry = Read<typeof EXEC>;

/** A kubeconfig, or several merged. */
export interface Kubeconfig {
  readonly fileNames: readonly string[];
  readonly currentContext: string;
  readonly clusters: ReadonlyMap<string, ClusterEntry>;
  readonly users: ReadonlyMap<string, UserEntry>;
  readonly contexts: ReadonlyMap<string, ContextEntry>;
}

/**
 * The kubeconfig that `text` says. Relative paths in it become relative to the file.
 *
 * @throws {K3slbError} code `kubeconfig-invalid`, with file and place, and never a value that may be secret
 */
export function parseKubeconfig(text: string, fileName: string): Kubeconfig {
  const place = { fileName, name: "the file" };
  const file = mapping(parse(text, fileName) ?? {}, place);
  const root = readFields(file, ROOT, place);
  if (root.kind !== undefined && root.kind !== "Config") {
    throw invalid(fileName, `its kind is "${root.kind}" instead of "Config"`);
  }
  const users = readNamed(file, { list: "users", field: "user", shape: USER, fileName });
  for (const [name, user] of users) checkUser(name, user);
  return {
    fileNames: [fileName],
    currentContext: root["current-context"] ?? "",
    clusters: readNamed(file, { list: "clusters", field: "cluster", shape: CLUSTER, fileName }),
    users,
    contexts: readNamed(file, { list: "contexts", field: "context", shape: CONTEXT, fileName }),
  };
}

/** Several kubeconfigs as one: the first that has a name or a current context wins. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  return {
    fileNames: configs.flatMap((config) => config.fileNames),
    currentContext: configs.map((config) => config.currentContext).find((name) => name !== "") ?? "",
    clusters: firstOfEach(configs.flatMap((config) => [...config.clusters])),
    users: firstOfEach(configs.flatMap((config) => [...config.users])),
    contexts: firstOfEach(configs.flatMap((config) => [...config.contexts])),
  };
}

function firstOfEach<V>(entries: readonly (readonly [string, V])[]): ReadonlyMap<string, V> {
  const first = new Map<string, V>();
  for (const [name, value] of entries) if (!first.has(name)) first.set(name, value);
  return first;
}

function parse(text: string, fileName: string): unknown {
  try {
    return parseYaml(text, { file: fileName });
  } catch (error) {
    throw new K3slbError(`Cannot read kubeconfig "${fileName}": ${errorMessage(error)}`, {
      code: "kubeconfig-invalid",
      hint: "The file must be a kubeconfig in YAML or JSON; write it again",
      cause: error,
    });
  }
}

function checkUser(name: string, user: UserEntry): void {
  const stray = (["as-uid", "as-groups", "as-user-extra"] as const).find((field) => user[field] !== undefined);
  // As client-go: left out silently it would be another identity than the one that was meant.
  if (user.as === undefined && stray !== undefined) {
    throw invalid(user.fileName, `user "${name}" has "${stray}" without "as"`);
  }
  if (user.exec !== undefined && user.exec.command === undefined) {
    throw invalid(user.fileName, `exec of user "${name}" has no command`);
  }
}

function invalid(fileName: string, problem: string): K3slbError {
  return new K3slbError(`Cannot use kubeconfig "${fileName}": ${problem}`, {
    code: "kubeconfig-invalid",
    hint: "Correct the file; `kubectl config view` shows how kubectl reads it",
    details: { file: fileName },
  });
}

/** Where a value stands, for messages and for paths. */
interface Place {
  readonly fileName: string;
  readonly name: string;
}

function readNamed<S extends Fields>(
  file: Readonly<Record<string, unknown>>,
  { list, field, shape, fileName }: {
    readonly list: string;
    readonly field: string;
    readonly shape: S;
    readonly fileName: string;
  },
): ReadonlyMap<string, Entry<S>> {
  const items = listOf(file[list] ?? [], { fileName, name: `"${list}" of the file` });
  return firstOfEach(items.map((item, index) => {
    const place = { fileName, name: `entry ${index + 1} of "${list}"` };
    const fields = mapping(item, place);
    const { name } = readFields(fields, { name: "text" } as const, place);
    if (name === undefined) throw invalid(fileName, `${place.name} has no name`);
    const entry = readFields(mapping(fields[field] ?? {}, place), shape, { fileName, name: `${field} "${name}"` });
    return [name, { ...entry, fileName }] as const;
  }));
}

function readFields<S extends Fields>(fields: Readonly<Record<string, unknown>>, shape: S, place: Place): Read<S> {
  const entries = Object.entries(shape).map(([name, kind]) =>
    [name, readField(fields[name], kind, { ...place, name: `"${name}" of ${place.name}` })] as const
  );
  // Each field has the type that Read says: readField branches on the same words.
  return present(Object.fromEntries(entries)) as Read<S>;
}

function readField(value: unknown, kind: Kind, place: Place): unknown {
  if (value === undefined || value === null || value === "") return undefined;
  if (typeof kind === "object" && !isList(kind)) return readFields(mapping(value, place), kind, place);
  if (kind === "lists") {
    const lists = Object.entries(mapping(value, place));
    return Object.fromEntries(lists.map(([name, list]) => [name, readField(list, ["text"], place) ?? []]));
  }
  if (!isList(kind)) return readScalar(value, kind, place);
  const [item] = kind;
  return listOf(value, place).map((one) =>
    typeof item === "object" ? readFields(mapping(one, place), item, place) : readScalar(one, item, place)
  );
}

function readScalar(value: unknown, kind: Scalar, { fileName, name }: Place): string | boolean {
  if (kind === "flag") {
    if (typeof value === "boolean") return value;
    throw invalid(fileName, `${name} is not true or false`);
  }
  if (typeof value !== "string") throw invalid(fileName, `${name} is not a text`);
  if (kind === "file") return isAbsolute(value) ? value : join(dirname(fileName), value);
  // Beside a kubeconfig "config" the plugin "./x" must not become "x", which would be looked for in PATH.
  if (kind === "program" && value.includes("/") && !isAbsolute(value)) {
    return join(dirname(fileName), value).replace(/^[^/]+$/, "./$&");
  }
  if (kind !== "base64") return value;
  const compact = value.replaceAll(/\s/g, "");
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(compact)) throw invalid(fileName, `${name} is not base64`);
  return Buffer.from(compact, "base64").toString("utf8");
}

function mapping(value: unknown, { fileName, name }: Place): Readonly<Record<string, unknown>> {
  if (!isMapping(value)) throw invalid(fileName, `${name} is not a map of fields`);
  return value;
}

function listOf(value: unknown, { fileName, name }: Place): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid(fileName, `${name} is not a list`);
  return value;
}

function isList(kind: Kind): kind is readonly [Scalar | Fields] {
  return Array.isArray(kind);
}
