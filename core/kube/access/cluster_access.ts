// How to reach one API server and as whom: what a kubeconfig comes down to, and all that the transport needs.

/** What proves who is calling, at one moment. Rotated files give another value later. */
export interface Credentials {
  /** Certificate authority as PEM; absent: the system's. */
  readonly ca?: string;
  /** Client certificate as PEM. */
  readonly certificate?: string;
  /** Key of the client certificate as PEM. */
  readonly key?: string;
  /** Value of the `Authorization` header. */
  readonly authorization?: string;
}

/** What a request for credentials takes. */
export interface CredentialOptions {
  /** The server refused the former ones: do not answer from a cache. */
  readonly refresh?: boolean;
  /** Ends the reading. */
  readonly signal?: AbortSignal;
}

/** One API server, as one identity. */
export interface ClusterAccess {
  /** Where it comes from, for the log: a file with its context, or `in-cluster`. */
  readonly source: string;
  /** URL of the server without a slash at the end, such as `https://[fd00::1]:6443`. */
  readonly server: string;
  /** Host name that the server's certificate must carry, if not the one of the URL. */
  readonly tlsServerName?: string | undefined;
  /** Takes any certificate of the server's. */
  readonly insecureSkipTlsVerify: boolean;
  /** Namespace of the context, `default` if it has none. */
  readonly namespace: string;
  /** Headers of impersonation; empty if there is none. */
  readonly impersonationHeaders: readonly (readonly [string, string])[];
  /**
   * The present credentials; files are read again when they changed, exec plugins run when their answer expired.
   *
   * @throws {K3slbError} code `credentials-unreadable`, `credentials-exec`, `client-certificate-expired` or `kubeconfig-invalid`
   */
  credentials(options?: CredentialOptions): Promise<Credentials>;
}
