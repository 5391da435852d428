// Exec credential plugins: a program that prints credentials, run when they are needed and no longer valid.
// Facts: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
import { execFile } from "node:child_process";
import type { Clock } from "../../runtime/clock.ts";
import { abortError, errorMessage, K3slbError } from "../../shared/errors.ts";
import { isMapping, present } from "../../shared/values.ts";
import type { CredentialOptions } from "./cluster_access.ts";
import type { ExecEntry } from "./kubeconfig_file.ts";

/** What a plugin printed. */
export interface ExecCredential {
  readonly token?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly expiresMs?: number;
}

/** What {@linkcode createExecCredentials} takes. */
export interface ExecCredentialsOptions {
  readonly entry: ExecEntry;
  readonly user: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** What a plugin is told about the cluster, if it asked, in the kubeconfig's words. */
  readonly clusterInfo: () => Promise<object>;
}

/** Gives a plugin's credentials; several callers at once share one run, which ends when none of them waits any longer. */
export function createExecCredentials(
  options: ExecCredentialsOptions,
): (request?: CredentialOptions) => Promise<ExecCredential> {
  let cached: ExecCredential | undefined;
  let run: PluginRun | undefined;
  return async (request = {}) => {
    const isValid = cached !== undefined &&
      (cached.expiresMs === undefined || cached.expiresMs > options.clock.now() + EXPIRY_MARGIN_MS);
    if (cached !== undefined && isValid && request.refresh !== true) return cached;
    if (run === undefined || run.isOver) run = new PluginRun(options);
    cached = await run.wait(request.signal);
    return cached;
  };
}

/** One run of a plugin and those who wait for it. */
class PluginRun {
  /** Whether it has ended, or was given up. */
  isOver = false;
  readonly #giveUp = new AbortController();
  readonly #result: Promise<ExecCredential>;
  #waiting = 0;

  constructor(options: ExecCredentialsOptions) {
    this.#result = runPlugin(options, this.#giveUp.signal).finally(() => this.isOver = true);
    // It may end when nobody waits any longer.
    this.#result.catch(() => {});
  }

  /** @throws {DOMException} "AbortError" as soon as `signal` is aborted */
  async wait(signal: AbortSignal | undefined): Promise<ExecCredential> {
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(abortError());
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop);
    this.#waiting++;
    try {
      return await Promise.race([this.#result, aborted]);
    } finally {
      signal?.removeEventListener("abort", stop);
      if (--this.#waiting === 0 && !this.isOver) {
        this.isOver = true;
        this.#giveUp.abort();
      }
    }
  }
}

/**
 * The credentials that a plugin's output says.
 *
 * @throws {TypeError} what is wrong with it, never its content
 */
function parseExecCredential(output: string, apiVersion: string): ExecCredential {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw new TypeError("its output is not JSON");
  }
  const { kind, apiVersion: version, status } = isMapping(value) ? value : {};
  if (kind !== "ExecCredential") throw new TypeError("its output is not an ExecCredential");
  if (version !== apiVersion) throw new TypeError(`its output has another apiVersion than "${apiVersion}"`);
  const fields = isMapping(status) ? status : {};
  const token = textOf(fields["token"]);
  const certificate = textOf(fields["clientCertificateData"]);
  const key = textOf(fields["clientKeyData"]);
  if ((certificate === undefined) !== (key === undefined)) {
    throw new TypeError("its output has only one of clientCertificateData and clientKeyData");
  }
  if (token === undefined && certificate === undefined) {
    throw new TypeError("its output has no token and no certificate");
  }
  const expiry = textOf(fields["expirationTimestamp"]);
  const expiresMs = expiry === undefined ? undefined : Date.parse(expiry);
  if (expiresMs !== undefined && Number.isNaN(expiresMs)) throw new TypeError("its expirationTimestamp is not a time");
  return present({ token, certificate, key, expiresMs });
}

async function runPlugin(options: ExecCredentialsOptions, signal: AbortSignal): Promise<ExecCredential> {
  const { entry, user } = options;
  const { apiVersion = "", env = [] } = entry;
  const cluster = entry.provideClusterInfo ? await options.clusterInfo() : undefined;
  const info = { apiVersion, kind: "ExecCredential", spec: { interactive: false, cluster } };
  try {
    const output = await execute(entry, {
      env: {
        ...options.env,
        ...Object.fromEntries(env.map(({ name = "", value = "" }) => [name, value])),
        KUBERNETES_EXEC_INFO: JSON.stringify(info),
      },
      signal,
    });
    return parseExecCredential(output, apiVersion);
  } catch (error) {
    throw new K3slbError(`Credential plugin "${entry.command}" of user "${user}" failed: ${errorMessage(error)}`, {
      code: "credentials-exec",
      hint: entry.installHint?.trim().replaceAll(/\s+/g, " ") ??
        "Run the command by hand as the user of this service, and check its login",
      retriable: true,
      details: { command: entry.command, user },
    });
  }
}

function execute(
  { command = "", args = [] }: ExecEntry,
  { env, signal }: { readonly env: Readonly<Record<string, string | undefined>>; readonly signal: AbortSignal },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      env: { ...env },
      timeout: PLUGIN_TIMEOUT_MS,
      // A plugin that does not listen to SIGTERM would hold up every request for ever.
      killSignal: "SIGKILL" as const,
      maxBuffer: MAX_OUTPUT_BYTES,
    };
    // Not execFile's own `signal`: some runtimes send SIGTERM then.
    const giveUp = (): void => {
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.kill("SIGKILL");
    };
    const child = execFile(command, [...args], options, (error, output, problem) => {
      signal.removeEventListener("abort", giveUp);
      if (error === null) return resolve(String(output));
      if (error.code === "ENOENT") return reject(new Error("the program is not there"));
      if (typeof error.code === "string") return reject(new Error(`it cannot be run (${error.code})`));
      if (error.killed === true) return reject(new Error(`it did not end within ${PLUGIN_TIMEOUT_MS / 1000} s`));
      const said = String(problem).trim().replaceAll(/\s+/g, " ").slice(0, MAX_SAID);
      const ending = error.code === null || error.code === undefined
        ? `signal ${error.signal}`
        : `exit code ${error.code}`;
      reject(new Error(`${ending}${said === "" ? "" : `: ${said}`}`));
    });
    signal.addEventListener("abort", giveUp, { once: true });
    if (signal.aborted) giveUp();
    // Nobody is there to type a password: a plugin that asks gets an end of file.
    child.stdin?.on("error", () => {});
    child.stdin?.end();
  });
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

const PLUGIN_TIMEOUT_MS = 60_000;
const EXPIRY_MARGIN_MS = 10_000;
const MAX_OUTPUT_BYTES = 1024 * 1024;
const MAX_SAID = 300;
