// Names as Kubernetes allows them: RFC 1123 checks. Pure.
// Facts: k8s.io/apimachinery `pkg/util/validation`, RFC 1123 section 2.1.

/** Longest DNS label, and longest value of a Kubernetes label. */
export const MAX_LABEL_LENGTH = 63;
/** Longest DNS subdomain, the limit of most object names. */
const MAX_SUBDOMAIN_LENGTH = 253;

const LABEL_REGEXP = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;

/** Whether `name` is an RFC 1123 label: at most 63 lower-case letters, digits and inner hyphens. */
export function isDnsLabel(name: string): boolean {
  return name.length <= MAX_LABEL_LENGTH && LABEL_REGEXP.test(name);
}

/** Whether `name` is an RFC 1123 subdomain as Kubernetes checks it: dot-separated parts, at most 253 characters. */
export function isDnsSubdomain(name: string): boolean {
  return name.length <= MAX_SUBDOMAIN_LENGTH && name.split(".").every((part) => LABEL_REGEXP.test(part));
}
