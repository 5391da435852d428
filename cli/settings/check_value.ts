// Checks of flag values. Each returns what is wrong as the end of a sentence, or undefined. Pure.
import { isIP } from "node:net";
import { isDnsLabel } from "../../core/shared/names.ts";
import { canonicalIp } from "../../core/shared/ip_ranges.ts";

/** A name of a Kubernetes namespace (RFC 1123 label). */
export function checkDnsLabel(value: string): string | undefined {
  if (value.length > 63) return "is longer than 63 characters";
  return isDnsLabel(value) ? undefined : "is not made of a-z, 0-9 and - with a letter or digit at both ends";
}

/** A name of a Node or a DNS domain (RFC 1123 subdomain). Capitals are allowed, as K3s lower-cases node names. */
export function checkDnsSubdomain(value: string): string | undefined {
  if (value.length > 253) return "is longer than 253 characters";
  return value.toLowerCase().split(".").every((label) => checkDnsLabel(label) === undefined)
    ? undefined
    : "is not made of a-z, 0-9, - and . with a letter or digit at both ends of each part";
}

/** An address without a port. */
export function checkIp(value: string): string | undefined {
  return isIP(value) === 0 ? "is not an IP address" : undefined;
}

/** `IP`, `IP:PORT` or `[IP]:PORT` of a name server that a pod can ask. */
export function checkNameServer(value: string): string | undefined {
  const match = /^(?:\[(?<v6>[^\]]*)\]|(?<v4>[\d.]+)):(?<port>\d{1,5})$/.exec(value);
  const ip = match?.groups?.v6 ?? match?.groups?.v4 ?? value;
  const port = Number(match?.groups?.port ?? 53);
  if (isIP(ip) === 0 || (match?.groups?.v6 !== undefined && isIP(ip) !== 6)) return "is not of the form IP or IP:PORT";
  if (port < 1 || port > MAX_PORT) return `has a port that is not between 1 and ${MAX_PORT}`;
  return /^(?:127\.|0\.|::1?$)/.test(canonicalIp(ip) ?? ip) ? "is the pod itself, as seen from CoreDNS" : undefined;
}

/** `NAME=IP`. */
export function checkHostEntry(value: string): string | undefined {
  const match = /^(?<name>[^=]*)=(?<ip>[^=]*)$/.exec(value);
  if (match === null) return "is not of the form NAME=IP";
  const name = checkDnsSubdomain(match.groups?.name ?? "");
  return name === undefined ? checkIp(match.groups?.ip ?? "") : `has a name that ${name}`;
}

/** A packaged part that can be enabled. */
export function checkEnabledPart(value: string): string | undefined {
  return value === "traefik" ? undefined : "cannot be enabled; only traefik can";
}

/** `IP:PORT`, `[IP]:PORT`, `localhost:PORT` or `:PORT`; empty means none. */
export function checkAddressAndPort(value: string): string | undefined {
  if (value === "") return undefined;
  const match = /^(?<host>\[[^\]]*\]|[^:]*):(?<port>\d{1,5})$/.exec(value);
  const host = match?.groups?.host;
  const port = match?.groups?.port;
  if (host === undefined || port === undefined) return "is not of the form IP:PORT";
  if (Number(port) > MAX_PORT) return `has a port above ${MAX_PORT}`;
  const bare = host.startsWith("[") ? host.slice(1, -1) : host;
  if (host.startsWith("[") && isIP(bare) !== 6) return "has no IPv6 address between the brackets";
  return bare === "" || bare === "localhost" || isIP(bare) !== 0 ? undefined : "has no IP address before the port";
}

/** A whole number above zero. */
export function checkCount(value: string): string | undefined {
  return /^[1-9]\d{0,8}$/.test(value) ? undefined : "is not a whole number above zero";
}

/** `PORT`, `FROM-TO`, each with or without `/tcp`, `/udp`, `/sctp`. */
export function checkPortRange(value: string): string | undefined {
  const match = /^(?<from>\d{1,5})(?:-(?<to>\d{1,5}))?(?:\/(?:tcp|udp|sctp))?$/i.exec(value);
  const from = Number(match?.groups?.from);
  const to = Number(match?.groups?.to ?? from);
  if (match === null) return "is not of the form PORT, FROM-TO or PORT/tcp";
  if (from < 1 || to > MAX_PORT) return `is not between 1 and ${MAX_PORT}`;
  return from > to ? "ends before it starts" : undefined;
}

/** `FROM-TO`, or empty. */
export function checkNodePortRange(value: string): string | undefined {
  if (value === "") return undefined;
  return /^\d+-\d+$/.test(value) ? checkPortRange(value) : "is not of the form FROM-TO";
}

/** A container image reference. Only what can never be one is refused. */
export function checkImage(value: string): string | undefined {
  return /^[\w][\w.\-/:@]*$/.test(value) ? undefined : "is not a name of a container image";
}

/** What stands behind the host in a URL, as it is sent; empty means none. */
export function checkHttpPath(value: string): string | undefined {
  return value === "" || /^\/[\x21-\x7e]*$/.test(value) ? undefined : "does not begin with /, or has blanks";
}

/** A folder. */
export function checkFolder(value: string): string | undefined {
  return value === "" ? "is not a folder" : undefined;
}

/** `HOST`, `HOST:PORT`, with or without a path; empty means none. */
export function checkRegistry(value: string): string | undefined {
  return value === "" || /^(?:\[[0-9a-f:]+\]|[\w.-]+)(?::\d{1,5})?(?:\/[\w.-]+)*\/?$/i.test(value)
    ? undefined
    : "is not of the form HOST, HOST:PORT or HOST/PATH";
}

/** A value of `spec.loadBalancerClass`, as the API server takes it: a name with or without a DNS prefix. */
export function checkLoadBalancerClass(value: string): string | undefined {
  const slash = value.indexOf("/");
  const prefix = slash < 0 ? undefined : value.slice(0, slash);
  const isName = /^[a-z0-9](?:[\w.-]{0,61}[a-z0-9])?$/i.test(value.slice(slash + 1));
  const isPrefix = prefix === undefined || (checkDnsSubdomain(prefix) === undefined && prefix === prefix.toLowerCase());
  return isName && isPrefix ? undefined : "is not of the form NAME or example.com/NAME";
}

const MAX_PORT = 65_535;
