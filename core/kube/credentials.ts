// The credentials of one kubeconfig user, as they are now: certificate, token, exec plugin, password.
// Facts: client-go's clientcmd and rest: which of several credentials wins.
import { X509Certificate } from "node:crypto";
import type { Clock } from "../runtime/clock.ts";
import { K3slbError } from "../shared/errors.ts";
import type { CredentialOptions, Credentials } from "./cluster_access.ts";
import { credentialText } from "./credential_files.ts";
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
  const ca = credentialText(cluster.ca, { what: "certificate authority", clock });
  const certificate = credentialText(user.certificate, { what: "client certificate", clock });
  const key = credentialText(user.key, { what: "client key", clock });
  // As client-go: a token file wins over a token, so that a rotated one is seen.
  const token = credentialText(
    user.tokenFile === undefined ? (user.token === undefined ? {} : { data: user.token }) : { file: user.tokenFile },
    { what: "token", clock },
  );
  const usesExec = user.exec !== undefined && token === undefined && certificate === undefined;
  const exec = user.exec === undefined || !usesExec ? undefined : createExecCredentials({
    entry: user.exec,
    user: userName,
    env,
    clock,
    clusterInfo: async () => ({
      server: cluster.server,
      ...(cluster.tlsServerName === undefined ? {} : { "tls-server-name": cluster.tlsServerName }),
      ...(cluster.insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
      ...(ca === undefined ? {} : { "certificate-authority-data": Buffer.from(await ca.read()).toString("base64") }),
    }),
  });
  const expiry = new CertificateExpiry(clock, userName);
  return async (request = {}) => {
    const plugin: ExecCredential = await exec?.(request) ?? {};
    const [caText, certificateText, keyText, tokenText] = await Promise.all([
      ca?.read(request),
      certificate?.read(request),
      key?.read(request),
      token?.read(request),
    ]);
    const usedCertificate = certificateText ?? plugin.certificate;
    const usedKey = keyText ?? plugin.key;
    if (usedCertificate !== undefined) expiry.check(usedCertificate);
    return {
      ...(caText === undefined ? {} : { ca: caText }),
      ...(usedCertificate === undefined ? {} : { certificate: usedCertificate }),
      ...(usedKey === undefined ? {} : { key: usedKey }),
      ...authorization(tokenText ?? plugin.token, user),
    };
  };
}

function authorization(token: string | undefined, user: UserEntry): { readonly authorization?: string } {
  if (token !== undefined) return { authorization: `Bearer ${token.trim()}` };
  if (user.username === undefined) return {};
  const pair = Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64");
  return { authorization: `Basic ${pair}` };
}

/** Says that a client certificate is expired before a server says it in words that nobody understands. */
class CertificateExpiry {
  readonly #clock: Clock;
  readonly #userName: string;
  #checked: { readonly pem: string; readonly validToMs: number } | undefined;

  constructor(clock: Clock, userName: string) {
    this.#clock = clock;
    this.#userName = userName;
  }

  check(pem: string): void {
    if (this.#checked?.pem !== pem) this.#checked = { pem, validToMs: this.#validTo(pem) };
    const { validToMs } = this.#checked;
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

  #validTo(pem: string): number {
    try {
      // A file may hold the key too, and in front; not every runtime looks past it.
      return Date.parse(new X509Certificate(CERTIFICATE_REGEXP.exec(pem)?.[0] ?? pem).validTo);
    } catch (error) {
      throw new K3slbError(`Client certificate of user "${this.#userName}" is not a certificate in PEM`, {
        code: "kubeconfig-invalid",
        hint: 'Check "client-certificate" or "client-certificate-data" of the user',
        cause: error,
      });
    }
  }
}

const CERTIFICATE_REGEXP = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/;
