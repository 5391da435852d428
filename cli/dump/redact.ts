// Takes out of a text what nobody else may see: keys, tokens, passwords. Pure. By form, as a text from anywhere says nothing of its fields:
// rather one word too many than one too few.

/** `text` with each secret replaced by a word that says so. */
export function redact(text: string): string {
  return SECRETS.reduce((rest, [form, replacement]) => rest.replaceAll(form, replacement), text);
}

const GONE = "REDACTED";
const SECRETS: readonly (readonly [RegExp, string])[] = [
  // PEM, also with its line ends written as \n, up to its end or that of the text.
  [/-----BEGIN ([A-Z0-9 ]*)-----[\s\S]*?(?:-----END \1-----|$)/g, GONE],
  // A JWT, as ServiceAccounts have them.
  [/\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g, GONE],
  // Tokens of K3s and kubeadm.
  [/\bK10[0-9a-f]{16,}::\S+/g, GONE],
  [/\b[a-z0-9]{6}\.[a-z0-9]{16}\b/g, GONE],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${GONE}`],
  // A password in an address.
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@:"']*:[^\s/@"']+@/gi, `$1${GONE}@`],
  // A field, an argument or a variable whose name says it; of a certificate's data no PEM mark is left in base64. Also a block of YAML's.
  [
    /((?:pass(?:word|wd|phrase)?|pwd|secret|token|(?:secret|api|access|private|encryption|signing)[-_]?(?:access[-_]?)?key(?:[-_]?id)?|credentials?|authorization|(?:client|server)[-_]key(?:-data)?|[\w-]*(?:certificate|ca)(?:-authority)?-data)\\*["']?\s*[:=]\s*)(?:[|>][-+\d]*(?:[ \t]*(?:\n|\\+n)[ \t]+(?:(?!\\+n)[^\n"])*)+|\\+"[\s\S]*?\\+"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;}]+)/gi,
    `$1${GONE}`,
  ],
  // An argument that follows its name.
  [
    /(--[\w-]*(?:password|passwd|passphrase|secret|token)(?:\\*["']?,?\s+|\\*["']\s*,\s*)\\*["']?)(?!-)[^\s"',]+/gi,
    `$1${GONE}`,
  ],
];
