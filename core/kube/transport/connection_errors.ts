// Failures of the connection to the API server as K3slbErrors: one code and one hint per cause.
// Codes of the runtimes underneath: errno names and OpenSSL's names on Node, texts of rustls on Deno, BoringSSL's on Bun.
import { errorMessage, K3slbError } from "../../shared/errors.ts";
import { describeAction, type RequestAction } from "../errors.ts";

/** Where a failed request went and what it wanted. */
export interface ConnectionFailure {
  readonly action: RequestAction;
  /** Origin of the server, such as `https://10.0.0.1:6443`. */
  readonly server: string;
  /** Whether the server was given a client certificate. */
  readonly hasClientCertificate?: boolean;
}

/** The error for a request that ended with `cause` before a whole answer came. */
export function connectionError(cause: unknown, failure: ConnectionFailure): K3slbError {
  const text = causeText(cause);
  const known = KNOWN_CAUSES.find((candidate) => candidate.matches.test(text)) ?? UNKNOWN_CAUSE;
  return new K3slbError(
    `Cannot ${describeAction(failure.action)}: ${known.what(failure)} (${oneLine(errorMessage(cause))})`,
    {
      code: known.code,
      hint: known.hint(failure),
      retriable: true,
      details: { connection: true, server: failure.server },
      cause,
    },
  );
}

/** The error for an answer that did not come in time. */
export function timeoutError(phase: "connect" | "answer", timeoutMs: number, failure: ConnectionFailure): K3slbError {
  const what = phase === "connect" ? "no connection to" : "no complete answer from";
  return new K3slbError(
    `Cannot ${describeAction(failure.action)}: ${what} ${failure.server} within ${timeoutMs / 1000} s`,
    {
      code: phase === "connect" ? "kube-connect-timeout" : "kube-timeout",
      hint: phase === "connect"
        ? "Check that the address is reachable and that no firewall drops packets to it"
        : "Look at the load of the API server, of etcd and of admission webhooks",
      retriable: true,
      details: { connection: true, server: failure.server },
    },
  );
}

/** The error for an answer that is not what the API sends. */
export function answerError(
  problem: "cut" | "garbage" | "too-large" | "silent",
  explanation: string,
  failure: ConnectionFailure,
): K3slbError {
  return new K3slbError(`Cannot ${describeAction(failure.action)}: ${explanation} (server ${failure.server})`, {
    code: `kube-answer-${problem}`,
    hint: ANSWER_HINTS[problem],
    retriable: true,
    details: { connection: true, server: failure.server },
  });
}

const ANSWER_HINTS = {
  cut: "The connection broke in the middle of an answer; check the network and any proxy in between",
  garbage: "Check that the address is a Kubernetes API server and that no proxy answers in its place",
  "too-large": "Narrow the request, or check that the address is a Kubernetes API server",
  silent: "The connection is dead without saying so; a new one is made",
} as const;

interface KnownCause {
  readonly matches: RegExp;
  readonly code: string;
  what(failure: ConnectionFailure): string;
  hint(failure: ConnectionFailure): string;
}

/** First match wins: the narrow causes stand before the wide ones. */
const KNOWN_CAUSES: readonly KnownCause[] = [
  {
    // Said by this host's TLS library before a byte is sent.
    matches:
      /NO_START_LINE|no start line|DECODE_ERROR|DECODER|KEY_VALUES_MISMATCH|key values mismatch|ERR_OSSL_|ERR_BORINGSSL|Invalid CA|Invalid character in header/,
    code: "kube-credentials-unusable",
    what: () => "the certificate, key, certificate authority or token of the kubeconfig cannot be used",
    hint: () =>
      "Check that each certificate and key is whole PEM, that the key belongs to the certificate, and that the token is one line",
  },
  {
    matches: /ENOTFOUND|EAI_AGAIN|EAI_NONAME|failed to lookup address/i,
    code: "kube-dns",
    what: (failure) => `the host name of ${failure.server} cannot be resolved`,
    hint: () => "Check the server's host name in the kubeconfig and this host's DNS settings",
  },
  {
    matches: /ALERT|alert[ _:]|peer (sent|misbehaved)|received fatal|CertificateRequired|ERR_SSL_(SSLV3|TLSV1)_ALERT/,
    code: "kube-client-certificate-refused",
    what: (failure) => `${failure.server} ended the TLS handshake`,
    hint: (failure) =>
      failure.hasClientCertificate === true
        ? "Check that the client certificate belongs to this cluster and is not expired"
        : "The server may want a client certificate; check the user in the kubeconfig",
  },
  {
    matches: /CERT_HAS_EXPIRED|certificate has expired|certificate expired|\bExpired\b|ExpiredContext/i,
    code: "kube-server-certificate-expired",
    what: (failure) => `the certificate of ${failure.server} is expired`,
    hint: () => "Renew the API server's certificate, or correct this host's clock",
  },
  {
    matches: /CERT_NOT_YET_VALID|not yet valid|NotValidYet/i,
    code: "kube-server-certificate-not-yet-valid",
    what: (failure) => `the certificate of ${failure.server} is not valid yet`,
    hint: () => "Correct this host's clock",
  },
  {
    matches: /ERR_TLS_CERT_ALTNAME_INVALID|altname|NotValidForName|Hostname\/IP does not match/i,
    code: "kube-server-name-mismatch",
    what: (failure) => `the certificate of ${failure.server} is for another host`,
    hint: () => 'Use an address that the certificate names, or set "tls-server-name" in the kubeconfig',
  },
  {
    matches:
      /UNABLE_TO_(GET|VERIFY)|SELF_SIGNED|self[- ]signed|UnknownIssuer|unable to (get|verify)|CERT_SIGNATURE_FAILURE|BadSignature|certificate signature failure|CaUsedAsEndEntity|invalid peer certificate|UNKNOWN_CERTIFICATE_VERIFICATION/i,
    code: "kube-wrong-ca",
    what: (failure) => `the certificate of ${failure.server} is not signed by the kubeconfig's certificate authority`,
    hint: () => 'Check "certificate-authority-data" of the cluster; it must be the CA of this very cluster',
  },
  {
    matches: /WRONG_VERSION_NUMBER|wrong version number|InvalidContentType|corrupt message|ERR_SSL_|EPROTO|ERR_TLS/i,
    code: "kube-tls",
    what: (failure) => `no TLS connection to ${failure.server} can be made`,
    hint: () => 'Check whether the server speaks TLS on that port, and "https://" or "http://" in the kubeconfig',
  },
  {
    matches: /Parse Error|HPE_|invalid HTTP|Malformed|InvalidHTTPResponse/i,
    code: "kube-answer-garbage",
    what: (failure) => `${failure.server} does not answer in HTTP`,
    hint: () => ANSWER_HINTS.garbage,
  },
];

const UNKNOWN_CAUSE: KnownCause = {
  matches: /^/,
  code: "kube-unreachable",
  what: (failure) => `${failure.server} cannot be reached`,
  // With TLS 1.3 a refused client certificate may look like a connection that just ends.
  hint: (failure) =>
    "Check that the API server runs and that its address in the kubeconfig is right" +
    (failure.hasClientCertificate === true ? "; a server that hangs up may not accept the client certificate" : ""),
};

/** Code and text of an error and of what it wraps, as runtimes differ in where they put the cause. */
function causeText(cause: unknown): string {
  const parts: string[] = [];
  for (let error = cause, depth = 0; error instanceof Error && depth < MAX_DEPTH; error = error.cause, depth++) {
    const code = (error as { code?: unknown }).code;
    parts.push(typeof code === "string" ? code : "", error.message);
  }
  return parts.length === 0 ? String(cause) : parts.join(" ");
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ").slice(0, MAX_TEXT);
}

const MAX_DEPTH = 4;
const MAX_TEXT = 300;
