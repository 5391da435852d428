// What a failed helm said: the line of its log that names the cause. Pure.
// Facts: helm prints `Error: …` as its last word; klipper-helm's `entry` runs with `set -x`, whose lines start with `+`.

const MAX_MESSAGE_LENGTH = 512;

/** The line of `log` that says why helm failed, the last one if several do; empty if nothing does. */
export function failureLine(log: string): string {
  const lines = log.split("\n").map((line) => line.trim()).filter((line) => line !== "" && !/^\++ /.test(line));
  const errors = lines.filter((line) => /^(?:Error|error):|^(?:Error|fatal)\b/i.test(line));
  const line = errors.at(-1) ?? lines.at(-1) ?? "";
  return cutToLength(hideCredentials(line));
}

/** `text`, cut to what a condition can hold. */
export function cutToLength(text: string): string {
  return text.length <= MAX_MESSAGE_LENGTH ? text : `${text.slice(0, MAX_MESSAGE_LENGTH - 3)}...`;
}

/** Passwords inside URLs reach the log of the Job, and must not go further. */
function hideCredentials(line: string): string {
  return line.replaceAll(/(\w+:\/\/)[^\s/@]+@/g, "$1***@");
}
