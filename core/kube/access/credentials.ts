// The credentials of one kubeconfig user, as they are now: certificate, token, exec plugin, password.
// Facts: client-go's clientcmd and rest: which of several credentials wins.
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import type { Clock } from "../../runtime/clock.ts";
import { K3slbError } from "../../shared/errors.ts";
import { present } from "../../shared/values.ts";
import type { CredentialOptions, Credentials } from "./cluster_access.ts";
import { type CredentialText, credentialText } from "./credential_files.ts";
import { createExecCredentials, type ExecCredential } from "./exec_credential.ts";
import type { ClusterEntry, UserEntry } from "./kubeconfig_file.ts";

/** What {@linkcode credentialsOf} takes beside cluster and user. */
export interface CredentialsOptions {
  /** Name of the user, for messages. */
  readonly userName: string;
  /** What exec plugins get. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}

/** Gives the present credentials of a user for a cluster, from data, files or an exec plugin. */
export function credentialsOf(
  cluster: ClusterEntry,
  user: UserEntry,
  options: CredentialsOptions,
): (request?: CredentialOptions) => Promise<Credentials> {
  const { clock, env, userName } = options;
  const readable = (what: string, file?: string, data?: string): CredentialText | undefined =>
    credentialText({ file, data }, { what, clock });
  const ca = readable(
    "certificate authority",
    cluster["certificate-authority"],
    cluster["certificate-authority-data"],
  );
  const certificate = readable("client certificate", user["client-certificate"], user["client-certificate-data"]);
  const key = readable("client key", user["client-key"], user["client-key-data"]);
  // As client-go: a token file wins over a token, so that a rotated one is seen.
  const token = readable("token", user.tokenFile, user.tokenFile === undefined ? user.token : undefined);
  const usesExec = token === undefined && certificate === undefined;
  const exec = user.exec === undefined || !usesExec ? undefined : createExecCredentials({
    entry: user.exec,
    user: userName,
    env,
    clock,
    clusterInfo: async () => ({
      server: cluster.server,
      "tls-server-name": cluster["tls-server-name"],
      "insecure-skip-tls-verify": cluster["insecure-skip-tls-verify"],
      "certificate-authority-data": ca && Buffer.from(await ca()).toString("base64"),
    }),
  });
  const identity = new ClientIdentity(clock, userName);
  return async (request = {}) => {
    const plugin: ExecCredential = await exec?.(request) ?? {};
    const [caText, tokenText] = await Promise.all([ca?.(request), token?.(request)]);
    const readPair = async (how: CredentialOptions): Promise<[string | undefined, string | undefined]> => {
      const [certificateText, keyText] = await Promise.all([certificate?.(how), key?.(how)]);
      return [certificateText ?? plugin.certificate, keyText ?? plugin.key];
    };
    let [usedCertificate, usedKey] = await readPair(request);
    // Two files, or one that was switched between two reads, are not rotated in one instant.
    if (!identity.isPair(usedCertificate, usedKey)) [usedCertificate, usedKey] = await readPair({ refresh: true });
    if (usedCertificate !== undefined) identity.check(usedCertificate, usedKey);
    return present({
      ca: caText,
      certificate: usedCertificate,
      key: usedKey,
      authorization: authorization(tokenText ?? plugin.token, user),
    });
  };
}

function authorization(token: string | undefined, { username, password = "" }: UserEntry): string | undefined {
  if (token !== undefined) return `Bearer ${token.trim()}`;
  return username === undefined ? undefined : `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** Says what is wrong with a client certificate and its key: a TLS library, or a server, would say it in words that nobody understands. */
class ClientIdentity {
  readonly #clock: Clock;
  readonly #userName: string;
  #checked: { readonly pem: string; readonly certificate: X509Certificate } | undefined;
  #pair: { readonly pem: string; readonly keyPem: string; readonly isPair: boolean } | undefined;

  constructor(clock: Clock, userName: string) {
    this.#clock = clock;
    this.#userName = userName;
  }

  /** Whether the key belongs to the certificate; `true` if one of them is missing. */
  isPair(pem: string | undefined, keyPem: string | undefined): boolean {
    if (pem === undefined || keyPem === undefined) return true;
    if (this.#pair?.pem !== pem || this.#pair.keyPem !== keyPem) {
      this.#pair = { pem, keyPem, isPair: this.#certificate(pem).checkPrivateKey(this.#key(keyPem)) };
    }
    return this.#pair.isPair;
  }

  check(pem: string, keyPem: string | undefined): void {
    if (!this.isPair(pem, keyPem)) {
      throw this.#invalid("Client key", "does not belong to the client certificate", { retriable: true });
    }
    const validToMs = Date.parse(this.#certificate(pem).validTo);
    if (validToMs > this.#clock.now()) return;
    throw new K3slbError(
      `Client certificate of user "${this.#userName}" expired at ${new Date(validToMs).toISOString()}`,
      {
        code: "client-certificate-expired",
        hint: "Renew the certificate (kubeadm: `kubeadm certs renew`, K3s: restart it), or correct this host's clock",
        retriable: true,
      },
    );
  }

  #certificate(pem: string): X509Certificate {
    if (this.#checked?.pem === pem) return this.#checked.certificate;
    try {
      // A file may hold the key too, and in front; not every runtime looks past it.
      const certificate = new X509Certificate(CERTIFICATE_REGEXP.exec(pem)?.[0] ?? pem);
      this.#checked = { pem, certificate };
      return certificate;
    } catch (error) {
      throw this.#invalid("Client certificate", "is not a certificate in PEM", { cause: error });
    }
  }

  #key(keyPem: string): KeyObject {
    try {
      return createPrivateKey(KEY_REGEXP.exec(keyPem)?.[0] ?? keyPem);
    } catch (error) {
      throw this.#invalid("Client key", "is not a private key in PEM without a password", { cause: error });
    }
  }

  #invalid(
    what: string,
    problem: string,
    more: { readonly cause?: unknown; readonly retriable?: boolean },
  ): K3slbError {
    const field = what.toLowerCase().replace(" ", "-");
    return new K3slbError(`${what} of user "${this.#userName}" ${problem}`, {
      code: "kubeconfig-invalid",
      hint: `Check "${field}" or "${field}-data" of the user`,
      ...more,
    });
  }
}

const CERTIFICATE_REGEXP = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/;
const KEY_REGEXP = /-----BEGIN ([A-Z ]*PRIVATE KEY)-----[^-]+-----END \1-----/;
