// What a failed helm said: the line of its log that names the cause. Pure.
// Facts: helm prints `Error: …` as its last word; klipper-helm's `entry` (v0.6 to v0.13) runs with `set -x`, whose lines start with `+`,
// asks for the release's state first, and prints lines of its own when it does nothing.
import { visibleLine } from "../../shared/visible_text.ts";

const MAX_MESSAGE_LENGTH = 512;
const ERROR_REGEXP = /^(?:error|fatal)\b/i;
const TRACE_REGEXP = /^\++ /;
/** Commands of the script whose failure it passes over, with all that they print. */
const IGNORED_COMMAND_REGEXP = /^\++ (?:helm\w* (?:status|ls|repo remove|mapkubeapis|set-status)\b|jq |tr |read )/;
/** What the script says when a container is started again after a failure: true, but not the cause. */
const SCRIPT_REGEXP =
  /^(?:Current release revision \S+ does not match expected revision |Release status is '.*'; waiting for operator intervention)/;
/** As the scripts before v0.13.2 answer to a policy that came later. */
const UNKNOWN_RETRY_REGEXP = /failure policy is 'retry', not 'reinstall'/;

/**
 * What `log` says of why helm failed: the last line that names an error, else the last one; empty if there is none. An error that
 * announces a list, such as one of a chart's schema, brings the list along.
 */
export function failureLine(log: string): string {
  const all = log.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  // Before that the script shows its own text.
  const lines = withoutIgnored(all.slice(all.lastIndexOf("set +v -x") + 1));
  const at = lines.findLastIndex((line) => ERROR_REGEXP.test(line));
  const end = lines.findIndex((line, i) => i > at && (TRACE_REGEXP.test(line) || SCRIPT_REGEXP.test(line)));
  const said = at === -1
    ? lines.findLast((line) => !TRACE_REGEXP.test(line) && !SCRIPT_REGEXP.test(line)) ?? ""
    : lines.slice(at, lines[at]?.endsWith(":") ? end === -1 ? undefined : end : at + 1).join(" ");
  return cutToLength(hideCredentials(said));
}

/** What the script itself says of the settings; empty if it says nothing. */
export function scriptLine(log: string): string {
  return UNKNOWN_RETRY_REGEXP.test(log) ? 'the Job\'s image does not know failurePolicy "retry", use a newer one' : "";
}

/** Without the output of commands whose failure means nothing. */
function withoutIgnored(lines: readonly string[]): readonly string[] {
  let isIgnored = false;
  return lines.filter((line) => {
    if (TRACE_REGEXP.test(line)) isIgnored = IGNORED_COMMAND_REGEXP.test(line);
    return !isIgnored;
  });
}

/** `words` as one line, cut to what a condition can hold. */
export function cutToLength(words: string): string {
  const text = visibleLine(words);
  return text.length <= MAX_MESSAGE_LENGTH ? text : `${text.slice(0, MAX_MESSAGE_LENGTH - 3)}...`;
}

/** `line` without passwords inside URLs, which reach the log of the Job and must not go further. */
export function hideCredentials(line: string): string {
  return line.replaceAll(/(:\/\/)[^\s/]+@/g, "$1***@");
}
