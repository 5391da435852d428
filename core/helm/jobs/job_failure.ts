// What a failed helm said: the line of its log that names the cause. Pure.
// Facts: helm prints `Error: …` as its last word; klipper-helm's `entry` runs with `set -x`, whose lines start with `+`.
import { visibleLine } from "../../shared/visible_text.ts";

const MAX_MESSAGE_LENGTH = 512;
const ERROR_REGEXP = /^(?:error|fatal)\b/i;
const TRACE_REGEXP = /^\++ /;

/**
 * What `log` says of why helm failed: the last line that names an error, else the last one; empty if there is none. An error that
 * announces a list, such as one of a chart's schema, brings the list along.
 */
export function failureLine(log: string): string {
  const lines = log.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const at = lines.findLastIndex((line) => ERROR_REGEXP.test(line));
  if (at === -1) return cutToLength(hideCredentials(lines.findLast((line) => !TRACE_REGEXP.test(line)) ?? ""));
  const end = lines.findIndex((line, i) => i > at && TRACE_REGEXP.test(line));
  const said = lines[at]?.endsWith(":") ? lines.slice(at, end === -1 ? undefined : end) : lines.slice(at, at + 1);
  return cutToLength(hideCredentials(said.join(" ")));
}

/** `words` as one line, cut to what a condition can hold. */
export function cutToLength(words: string): string {
  const text = visibleLine(words);
  return text.length <= MAX_MESSAGE_LENGTH ? text : `${text.slice(0, MAX_MESSAGE_LENGTH - 3)}...`;
}

/** `line` without passwords inside URLs, which reach the log of the Job and must not go further. */
export function hideCredentials(line: string): string {
  return line.replaceAll(/(\w+:\/\/)[^\s/]+@/g, "$1***@");
}
