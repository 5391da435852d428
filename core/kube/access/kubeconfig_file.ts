// The text of a kubeconfig as typed values, and several of them as one, the way kubectl merges them. Pure.
// Facts: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/ and client-go's api/v1 types.
import { dirname, isAbsolute, join } from "node:path";
import { errorMessage, K3slbError } from "../../shared/errors.ts";
import { parseYaml } from "../../shared/yaml.ts";

/** A file of a credential, or its content. Content wins, as in kubectl. */
export interface FileOrData {
  readonly file?: string;
  readonly data?: string;
}

/** A cluster as a kubeconfig has it. */
export interface ClusterEntry {
  readonly fileName: string;
  readonly server: string;
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify: boolean;
  readonly ca: FileOrData;
  readonly proxyUrl?: string;
}

/** How an exec plugin is run. */
export interface ExecEntry {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint?: string;
  readonly provideClusterInfo: boolean;
  readonly interactiveMode?: string;
}

/** A user as a kubeconfig has it. */
export interface UserEntry {
  readonly fileName: string;
  readonly certificate: FileOrData;
  readonly key: FileOrData;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly username?: string;
  readonly password?: string;
  readonly exec?: ExecEntry;
  readonly authProvider?: string;
  readonly impersonate?: {
    readonly user: string;
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra: Readonly<Record<string, readonly string[]>>;
  };
}

/** A context as a kubeconfig has it. */
export interface ContextEntry {
  readonly fileName: string;
  readonly cluster: string;
  readonly user: string;
  readonly namespace?: string;
}

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
 * @throws {K3slbError} code `kubeconfig-invalid`
 */
export function parseKubeconfig(text: string, fileName: string): Kubeconfig {
  let value: unknown;
  try {
    value = parseYaml(text, { file: fileName });
  } catch (error) {
    throw new K3slbError(`Cannot read kubeconfig "${fileName}": ${errorMessage(error)}`, {
      code: "kubeconfig-invalid",
      hint: "The file must be a kubeconfig in YAML or JSON; write it again",
      cause: error,
    });
  }
  const reader = new FieldReader(fileName);
  if (value === null || value === undefined) value = {};
  const root = reader.map(value, "the file");
  const kind = reader.text(root, "kind", "the file");
  if (kind !== undefined && kind !== "Config") throw reader.invalid(`its kind is "${kind}" instead of "Config"`);
  return {
    fileNames: [fileName],
    currentContext: reader.text(root, "current-context", "the file") ?? "",
    clusters: reader.named(
      root,
      { list: "clusters", field: "cluster" },
      (entry, place) => reader.cluster(entry, place),
    ),
    users: reader.named(root, { list: "users", field: "user" }, (entry, place) => reader.user(entry, place)),
    contexts: reader.named(
      root,
      { list: "contexts", field: "context" },
      (entry, place) => reader.context(entry, place),
    ),
  };
}

/** Several kubeconfigs as one: the first that has a name or a current context wins. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  return {
    fileNames: configs.flatMap((config) => config.fileNames),
    currentContext: configs.map((config) => config.currentContext).find((name) => name !== "") ?? "",
    clusters: firstOfEach(configs.map((config) => config.clusters)),
    users: firstOfEach(configs.map((config) => config.users)),
    contexts: firstOfEach(configs.map((config) => config.contexts)),
  };
}

function firstOfEach<V>(maps: readonly ReadonlyMap<string, V>[]): ReadonlyMap<string, V> {
  // A later entry of a Map's list replaces an earlier one: the first file must come last.
  return new Map(maps.toReversed().flatMap((map) => [...map]));
}

type Fields = Readonly<Record<string, unknown>>;

/** Reads fields with errors that name file and place, and never a value that may be secret. */
class FieldReader {
  readonly #fileName: string;

  constructor(fileName: string) {
    this.#fileName = fileName;
  }

  invalid(problem: string): K3slbError {
    return new K3slbError(`Cannot use kubeconfig "${this.#fileName}": ${problem}`, {
      code: "kubeconfig-invalid",
      hint: "Correct the file; `kubectl config view` shows how kubectl reads it",
      details: { file: this.#fileName },
    });
  }

  map(value: unknown, place: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.invalid(`${place} is not a map of fields`);
    }
    return value as Fields;
  }

  text(fields: Fields, name: string, place: string): string | undefined {
    const value = fields[name];
    if (value === undefined || value === null || value === "") return undefined;
    if (typeof value !== "string") throw this.invalid(`"${name}" of ${place} is not a text`);
    return value;
  }

  flag(fields: Fields, name: string, place: string): boolean {
    const value = fields[name] ?? false;
    if (typeof value !== "boolean") throw this.invalid(`"${name}" of ${place} is not true or false`);
    return value;
  }

  list(fields: Fields, name: string, place: string): readonly unknown[] {
    const value = fields[name] ?? [];
    if (!Array.isArray(value)) throw this.invalid(`"${name}" of ${place} is not a list`);
    return value;
  }

  texts(fields: Fields, name: string, place: string): readonly string[] {
    const values = this.list(fields, name, place);
    if (!values.every((value) => typeof value === "string")) throw this.invalid(`"${name}" of ${place} has a non-text`);
    return values as readonly string[];
  }

  named<V>(
    root: Fields,
    names: { readonly list: string; readonly field: string },
    read: (fields: Fields, place: string) => V,
  ): ReadonlyMap<string, V> {
    const entries = new Map<string, V>();
    for (const [index, item] of this.list(root, names.list, "the file").entries()) {
      const fields = this.map(item, `entry ${index + 1} of "${names.list}"`);
      const name = this.text(fields, "name", `entry ${index + 1} of "${names.list}"`);
      if (name === undefined) throw this.invalid(`entry ${index + 1} of "${names.list}" has no name`);
      const place = `${names.field} "${name}"`;
      if (!entries.has(name)) entries.set(name, read(this.map(fields[names.field] ?? {}, place), place));
    }
    return entries;
  }

  cluster(fields: Fields, place: string): ClusterEntry {
    return {
      fileName: this.#fileName,
      server: this.text(fields, "server", place) ?? "",
      insecureSkipTlsVerify: this.flag(fields, "insecure-skip-tls-verify", place),
      ca: this.#fileOrData(fields, "certificate-authority", place),
      ...optional("tlsServerName", this.text(fields, "tls-server-name", place)),
      ...optional("proxyUrl", this.text(fields, "proxy-url", place)),
    };
  }

  user(fields: Fields, place: string): UserEntry {
    const tokenFile = this.text(fields, "tokenFile", place);
    const impersonated = this.text(fields, "as", place);
    const stray = ["as-uid", "as-groups", "as-user-extra"].find((name) => !isAbsent(fields[name]));
    // As client-go: left out silently it would be another identity than the one that was meant.
    if (impersonated === undefined && stray !== undefined) throw this.invalid(`${place} has "${stray}" without "as"`);
    const provider = fields["auth-provider"];
    return {
      fileName: this.#fileName,
      certificate: this.#fileOrData(fields, "client-certificate", place),
      key: this.#fileOrData(fields, "client-key", place),
      ...optional("token", this.text(fields, "token", place)),
      ...optional("tokenFile", tokenFile === undefined ? undefined : this.#path(tokenFile)),
      ...optional("username", this.text(fields, "username", place)),
      ...optional("password", this.text(fields, "password", place)),
      ...optional("exec", isAbsent(fields["exec"]) ? undefined : this.#exec(fields["exec"], `exec of ${place}`)),
      ...optional(
        "authProvider",
        isAbsent(provider)
          ? undefined
          : this.text(this.map(provider, `auth-provider of ${place}`), "name", place) ?? "unnamed",
      ),
      ...optional(
        "impersonate",
        impersonated === undefined ? undefined : {
          user: impersonated,
          ...optional("uid", this.text(fields, "as-uid", place)),
          groups: this.texts(fields, "as-groups", place),
          extra: this.#extra(fields["as-user-extra"] ?? {}, place),
        },
      ),
    };
  }

  context(fields: Fields, place: string): ContextEntry {
    return {
      fileName: this.#fileName,
      cluster: this.text(fields, "cluster", place) ?? "",
      user: this.text(fields, "user", place) ?? "",
      ...optional("namespace", this.text(fields, "namespace", place)),
    };
  }

  #exec(value: unknown, place: string): ExecEntry {
    const fields = this.map(value, place);
    const command = this.text(fields, "command", place);
    if (command === undefined) throw this.invalid(`${place} has no command`);
    const env = isAbsent(fields["env"]) ? [] : this.list(fields, "env", place).map((item) => {
      const variable = this.map(item, `env of ${place}`);
      return [this.text(variable, "name", place) ?? "", this.text(variable, "value", place) ?? ""] as const;
    });
    return {
      apiVersion: this.text(fields, "apiVersion", place) ?? "",
      // As client-go: a bare name is looked for in PATH, a relative path is relative to the file.
      command: command.includes("/") ? asPath(this.#path(command)) : command,
      args: isAbsent(fields["args"]) ? [] : this.texts(fields, "args", place),
      env: Object.fromEntries(env),
      provideClusterInfo: this.flag(fields, "provideClusterInfo", place),
      ...optional("installHint", this.text(fields, "installHint", place)),
      ...optional("interactiveMode", this.text(fields, "interactiveMode", place)),
    };
  }

  #extra(value: unknown, place: string): Readonly<Record<string, readonly string[]>> {
    const fields = this.map(value, `"as-user-extra" of ${place}`);
    return Object.fromEntries(Object.keys(fields).map((name) => [name, this.texts(fields, name, place)]));
  }

  #fileOrData(fields: Fields, name: string, place: string): FileOrData {
    const file = this.text(fields, name, place);
    const encoded = this.text(fields, `${name}-data`, place);
    return {
      ...optional("file", file === undefined ? undefined : this.#path(file)),
      ...optional("data", encoded === undefined ? undefined : this.#decode(encoded, `"${name}-data" of ${place}`)),
    };
  }

  #decode(encoded: string, what: string): string {
    const compact = encoded.replaceAll(/\s/g, "");
    if (!BASE64_REGEXP.test(compact)) throw this.invalid(`${what} is not base64`);
    return Buffer.from(compact, "base64").toString("utf8");
  }

  #path(path: string): string {
    return isAbsolute(path) ? path : join(dirname(this.#fileName), path);
  }
}

function optional<N extends string, V>(name: N, value: V | undefined): Partial<Record<N, V>> {
  return value === undefined ? {} : { [name]: value } as Record<N, V>;
}

/** A path that is no bare name, which would be looked for in PATH: beside a kubeconfig "config" the plugin "./x" is not "x". */
function asPath(path: string): string {
  return path.includes("/") ? path : `./${path}`;
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

const BASE64_REGEXP = /^[A-Za-z0-9+/]+={0,2}$/;
