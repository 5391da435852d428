// Reads the config file and the folder beside it. Keys are the names of flags of any command, so one file serves server and agent.
// Order and `key+:` are K3s's (k3s docs "installation/configuration", "Multiple Config Files").
import { errorMessage, isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import { isMapping } from "../../core/shared/values.ts";
import { parseYamlDocuments } from "../../core/shared/yaml.ts";
import type { Flag } from "./flag.ts";
import { didYouMean } from "../../core/shared/nearest_name.ts";
import type { ProgramHost } from "../program_host.ts";
import type { ConfigEntry } from "./resolve_settings.ts";

/** What {@linkcode readConfig} needs. */
export interface ReadConfigOptions {
  readonly host: ProgramHost;
  /** Whether the file was asked for by name, so that its absence is an error. */
  readonly required: boolean;
  /** Flags of every command. */
  readonly flags: readonly Flag[];
}

/** What the config files say. */
export interface Config {
  /** Keys in the order in which they count. */
  readonly entries: readonly ConfigEntry[];
  /** Keys that K3s has and this program does not, with their places: a file of K3s may be read as it is. */
  readonly ignored: readonly string[];
}

/**
 * Keys of `path`, then of `path.d/*.yaml` in alphabetical order.
 * @throws {K3slbError} code "config-missing" if a required file is not there, "config-invalid" if a file cannot be read as
 * a list of known keys
 */
export async function readConfig(path: string, options: ReadConfigOptions): Promise<Config> {
  const { host, required, flags } = options;
  const readFile = (file: string): Promise<string | undefined> =>
    orInvalid(host.readTextFile(file), { kind: "file", path: file });
  const main = await readFile(path);
  const folder = `${path}.d`;
  const files = await orInvalid(host.listFolder(folder), { kind: "folder", path: folder });
  const names = files.filter((name) => /\.ya?ml$/i.test(name)).sort();
  if (main === undefined && required && names.length === 0) {
    throw new K3slbError(`Config file "${path}" does not exist`, {
      code: "config-missing",
      hint: "Create it, or leave --config out to use the default file, which may be absent",
    });
  }
  const configs = main === undefined ? [] : [parseConfig(main, { path, flags })];
  for (const name of names) {
    const file = `${folder}/${name}`;
    configs.push(parseConfig(await readFile(file) ?? "", { path: file, flags }));
  }
  return {
    entries: configs.flatMap((config) => config.entries),
    ignored: configs.flatMap((config) => config.ignored),
  };
}

/**
 * Keys of one file. Pure.
 * @throws {K3slbError} code "config-invalid"
 */
export function parseConfig(
  text: string,
  { path, flags }: { readonly path: string; readonly flags: readonly Flag[] },
): Config {
  const known = new Map(flags.flatMap((flag) => [flag.name, ...(flag.aliases ?? [])].map((name) => [name, flag])));
  const entries: ConfigEntry[] = [];
  const ignored: string[] = [];
  for (const document of parseDocuments(text, path)) {
    if (document.value === null) continue;
    if (!isMapping(document.value)) {
      throw invalid(
        `${path}:${document.line}`,
        "does not hold keys and values",
        'Write lines such as "log-level: debug"',
      );
    }
    for (const [name, value] of Object.entries(document.value)) {
      const position = `${path}:${document.lineOf([name])}`;
      const key = name.replace(/\+$/, "");
      const flag = known.get(key);
      if (flag !== undefined && !flag.commandLineOnly) {
        const values = valuesOf(value, { name, flag, position });
        if (values !== undefined) entries.push({ key, append: name.endsWith("+"), values, position });
      } else if (K3S_KEYS.has(key)) {
        ignored.push(`"${key}" in ${position}`);
      } else {
        const keys = [...known].filter(([, { commandLineOnly }]) => !commandLineOnly).map(([each]) => each);
        const hint = didYouMean(key, keys, HINT_OF_KEYS);
        throw invalid(position, `has the unknown key "${name}"`, hint);
      }
    }
  }
  return { entries, ignored };
}

/** Texts of one key's value; nothing for an empty value, which counts as not written. */
function valuesOf(
  value: unknown,
  entry: { readonly name: string; readonly flag: Flag; readonly position: string },
): readonly string[] | undefined {
  if (value === null) return undefined;
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  const wrong = values.find((item) => typeof item === "object" && item !== null && !isRawText(item));
  if (wrong !== undefined) {
    throw invalid(entry.position, `gives "${entry.name}" a mapping or a nested list`, `${entry.flag.help}`);
  }
  if (Array.isArray(value) && entry.flag.type !== "list" && entry.flag.name !== "mark-bits") {
    throw invalid(entry.position, `gives "${entry.name}" a list where one value is wanted`, `${entry.flag.help}`);
  }
  return values.map(String);
}

/** Whether a value writes itself as text, as numbers do that are kept as they were written. */
function isRawText(value: object): boolean {
  return !Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype &&
    String(value) !== "[object Object]";
}

function parseDocuments(text: string, path: string): ReturnType<typeof parseYamlDocuments> {
  try {
    return parseYamlDocuments(text, { file: path });
  } catch (cause) {
    if (!isK3slbError(cause)) throw cause;
    throw new K3slbError(`Cannot read config: ${cause.message}`, {
      code: "config-invalid",
      hint: cause.hint ?? "Correct the file; its lines are KEY: VALUE",
      cause,
    });
  }
}

async function orInvalid<T>(
  reading: Promise<T>,
  { kind, path }: { readonly kind: string; readonly path: string },
): Promise<T> {
  try {
    return await reading;
  } catch (cause) {
    throw new K3slbError(`Cannot read config ${kind} "${path}": ${errorMessage(cause)}`, {
      code: "config-invalid",
      hint: `Check that it is a ${kind} and that this user may read it`,
      cause,
    });
  }
}

function invalid(position: string, what: string, hint: string): K3slbError {
  return new K3slbError(`Config file ${position} ${what}`, { code: "config-invalid", hint });
}

/** Keys of K3s's own config files that mean nothing here (k3s `pkg/cli/cmds/server.go`, `agent.go`). */
// deno-fmt-ignore
const K3S_KEYS: ReadonlySet<string> = new Set([
  "advertise-address", "advertise-port", "agent-token", "agent-token-file", "alsologtostderr", "bind-address",
  "cluster-cidr", "cluster-init", "cluster-reset", "container-runtime-endpoint", "datastore-cafile",
  "datastore-certfile", "datastore-endpoint", "datastore-keyfile", "default-local-storage-path", "default-runtime",
  "disable-agent", "disable-apiserver", "disable-cloud-controller", "disable-controller-manager",
  "disable-default-registry-endpoint", "disable-etcd", "disable-helm-controller", "disable-kube-proxy",
  "disable-network-policy", "disable-scheduler", "docker", "egress-selector-mode", "embedded-registry",
  "enable-pprof", "etcd-arg", "etcd-disable-snapshots", "etcd-expose-metrics", "etcd-s3", "etcd-snapshot-retention",
  "etcd-snapshot-schedule-cron", "flannel-backend", "flannel-cni-conf", "flannel-conf", "flannel-external-ip",
  "flannel-iface", "flannel-ipv6-masq", "helm-job-image-pull-secret", "https-listen-port", "image-credential-provider-config",
  "image-service-endpoint", "kube-apiserver-arg", "kube-cloud-controller-manager-arg", "kube-controller-manager-arg",
  "kube-proxy-arg", "kube-scheduler-arg", "kubelet-arg", "lb-server-port", "log", "multi-cluster-cidr", "node-external-dns",
  "node-external-ip", "node-internal-dns", "node-ip", "node-label", "node-taint", "nonroot-devices", "pause",
  "prefer-bundled-bin", "private-registry", "protect-kernel-defaults", "resolv-conf", "rootless", "secrets-encryption",
  "selinux", "server", "service-cidr", "service-node-port-range", "snapshotter", "supervisor-metrics", "tls-san",
  "tls-san-security", "token", "token-file", "v", "vmodule", "vpn-auth", "vpn-auth-file", "with-node-id",
  "write-kubeconfig", "write-kubeconfig-group", "write-kubeconfig-mode",
]);

const HINT_OF_KEYS = 'Keys are the names of flags; "k3slb server --help" and "k3slb agent --help" list them';
