// A certificate authority for one test cluster, made by openssl: P-256 keys, so that making one takes milliseconds.
// Names and groups are those that Kubernetes reads from a client certificate: CN is the user, each O a group.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runToEnd } from "./programs.ts";

/** One key and certificate, as files and as PEM text. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** What is asked of {@linkcode CertificateAuthority.issue}. */
export interface CertificateRequest {
  /** File name without ending. */
  readonly file: string;
  /** User name, or the server's name. */
  readonly commonName: string;
  readonly organizations?: readonly string[];
  /** Names and addresses that a server is reached by; with any, the certificate is for servers as well as clients. */
  readonly hosts?: readonly string[];
  /** @default {30} */
  readonly days?: number;
}

/** A certificate authority in a folder. */
export interface CertificateAuthority {
  readonly caFile: string;
  readonly ca: string;
  issue(request: CertificateRequest): Promise<Certificate>;
}

/** Makes a new authority in `dir`. */
export async function createCertificateAuthority(dir: string): Promise<CertificateAuthority> {
  mkdirSync(dir, { recursive: true });
  const caFile = join(dir, "ca.crt");
  const caKeyFile = join(dir, "ca.key");
  // The distribution's own configuration file must not add extensions or be needed at all.
  const configFile = join(dir, "openssl.cnf");
  writeFileSync(configFile, "[req]\ndistinguished_name=dn\n[dn]\n");
  await runToEnd([
    "openssl",
    "req",
    "-x509",
    "-config",
    configFile,
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-noenc",
    "-keyout",
    caKeyFile,
    "-out",
    caFile,
    "-days",
    "30",
    "-subj",
    "/CN=test-ca",
    "-addext",
    "basicConstraints=critical,CA:TRUE",
    "-addext",
    "keyUsage=critical,keyCertSign,cRLSign",
    "-addext",
    "subjectKeyIdentifier=hash",
  ]); // deno-fmt-ignore
  const issue = async (request: CertificateRequest): Promise<Certificate> => {
    const certFile = join(dir, `${request.file}.crt`);
    const keyFile = join(dir, `${request.file}.key`);
    const hosts = request.hosts ?? [];
    const names = hosts.map((host) => `${isIp(host) ? "IP" : "DNS"}:${host}`);
    const subject = [...(request.organizations ?? []).map((name) => `/O=${name}`), `/CN=${request.commonName}`].join("");
    await runToEnd([
      "openssl", "req", "-x509", "-config", configFile, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
      "-CA", caFile, "-CAkey", caKeyFile,
      "-keyout", keyFile, "-out", certFile, "-days", String(request.days ?? 30), "-subj", subject,
      "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature",
      "-addext", `extendedKeyUsage=clientAuth${hosts.length > 0 ? ",serverAuth" : ""}`,
      ...(names.length > 0 ? ["-addext", `subjectAltName=${names.join(",")}`] : []),
    ]);
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  };
  return { caFile, ca: readFileSync(caFile, "utf8"), issue };
}

/** Makes a key pair that signs ServiceAccount tokens. */
export async function createSigningKey(
  dir: string,
): Promise<{ readonly privateFile: string; readonly publicFile: string }> {
  const privateFile = join(dir, "service-account.key");
  const publicFile = join(dir, "service-account.pub");
  await runToEnd([
    "openssl",
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-out",
    privateFile,
  ]);
  await runToEnd(["openssl", "pkey", "-in", privateFile, "-pubout", "-out", publicFile]);
  return { privateFile, publicFile };
}

/** A kubeconfig with everything inside it. */
export function renderKubeconfig(server: string, ca: string, client: Pick<Certificate, "cert" | "key">): string {
  const base64 = (text: string): string => btoa(text);
  return `apiVersion: v1
kind: Config
current-context: test
contexts:
- name: test
  context: { cluster: test, user: test }
clusters:
- name: test
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(ca)}
users:
- name: test
  user:
    client-certificate-data: ${base64(client.cert)}
    client-key-data: ${base64(client.key)}
`;
}

function isIp(host: string): boolean {
  return host.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(host);
}
