// `spec.set` as arguments of helm: which flag, and what must be escaped. Pure.
// Facts: helm's `--set` parser (helm.sh/helm `pkg/strvals`): a comma ends a value, a backslash takes the next character as it is;
// helm-controller v0.17.9 `args`. The original leaves backslashes alone, so that helm eats them (`c:\dir` becomes `c:dir`).

/** Flags and values for helm, by the bytes of their paths. */
export function setArguments(set: Readonly<Record<string, number | string>> | undefined): readonly string[] {
  const paths = Object.keys(set ?? {});
  // The engine's own order is the same but for pairs and what comes after them.
  const isOwnOrder = !paths.some((path) => /[\ud800-\uffff]/.test(path));
  return (isOwnOrder ? paths.toSorted() : paths.toSorted(compareBytes)).flatMap((path) => {
    const value = set?.[path] ?? "";
    return isPlain(value) ? ["--set", `${path}=${value}`] : ["--set-string", `${path}=${escapeValue(String(value))}`];
  });
}

/** Less than, equal to or greater than 0, as the UTF-8 of `a` sorts before, with or after that of `b`. */
export function compareBytes(a: string, b: string): number {
  let i = 0;
  while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === a.length || i === b.length) return a.length - b.length;
  // UTF-8 keeps the order of code points; the second halves of pairs come before some that are one unit long.
  const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)];
  const isPair = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;
  return isPair(x) === isPair(y) ? x - y : isPair(x) ? 1 : -1;
}

/** Whether helm may find the type of the value itself. */
function isPlain(value: number | string): boolean {
  return typeof value === "number" || /^(true|false|null)$/i.test(value);
}

/**
 * The value with its commas escaped, once: people wrote `\,` themselves before the controller did it. Backslashes that do not
 * stand before a comma are doubled, as no one ever had a use for losing them.
 */
function escapeValue(value: string): string {
  // Runs in one piece, as a value may be a megabyte of commas.
  return value.replaceAll(/\\+,?|,+/g, (run) => {
    if (run.startsWith(",")) return "\\,".repeat(run.length);
    if (!run.endsWith(",")) return run + run;
    const isEscaped = run.length % 2 === 0;
    return isEscaped ? run : `\\${run}`;
  });
}
