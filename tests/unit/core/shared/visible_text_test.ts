// Foreign words: nothing that steers a terminal, hides text or begins a line of its own reaches a log, an Event, a condition or a table.
import assert from "node:assert/strict";
import fc from "fast-check";
import { renderError } from "../../../../cli/output/print_error.ts";
import { renderRows } from "../../../../cli/output/render_rows.ts";
import { failureLine } from "../../../../core/helm/jobs/job_failure.ts";
import { servedSummary } from "../../../../core/service_lb/status/served_condition.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { createLogger, type LogFormat } from "../../../../core/shared/log.ts";
import { hasControls, visibleLine, visibleText } from "../../../../core/shared/visible_text.ts";
import { anyText } from "../../../support/any_text.ts";

const CASES: readonly { readonly name: string; readonly given: string; readonly want: string }[] = [
  { name: "plain words stay", given: "Zoë's 網站 ✓ \\u001b", want: "Zoë's 網站 ✓ \\u001b" },
  { name: "ESC", given: "a\x1b[2Jb", want: "a\\u001b[2Jb" },
  { name: "CSI as one C1 character", given: "a\x9b31mb", want: "a\\u009b31mb" },
  { name: "bell, backspace, delete, zero", given: "\x07\b\x7f\0", want: "\\u0007\\u0008\\u007f\\u0000" },
  { name: "a carriage return hides what stood before", given: "evil\rgood", want: "evil\\u000dgood" },
  { name: "text that runs backwards", given: "a\u202eb\u2066c", want: "a\\u202eb\\u2066c" },
  {
    name: "letters without width, tags outside the basic plane",
    given: "a\u200bb\u{e0041}",
    want: "a\\u200bb\\udb40\\udc41",
  },
  { name: "line separators of Unicode", given: "a\u2028b\u2029c", want: "a\\u2028b\\u2029c" },
  { name: "line feeds and tabs stay", given: "a\n\tb", want: "a\n\tb" },
];

for (const { name, given, want } of CASES) {
  Deno.test(`visibleText: ${name}`, () => {
    assert.equal(visibleText(given), want);
    assert.equal(visibleText(want), want, "shown twice is shown once");
  });
}

Deno.test("visibleLine: one line, whatever ends lines", () => {
  assert.equal(visibleLine("  a\r\nb\n\n c\u2028d\t"), "a b c d");
});

/** Words as an attacker would choose them: any text, with what steers terminals and forges lines in between. */
const WORDS = fc.array(
  fc.oneof(
    anyText(20),
    fc.constantFrom(
      "\x1b[2J",
      "\x9b31m",
      "\x1b]0;title\x07",
      "\r",
      "\n",
      "\u202e",
      "\0",
      "\x7f",
      "\u2028",
      '"',
      "\\",
      "=",
    ),
  ),
  { maxLength: 12 },
).map((parts) => parts.join(""));

/** Every way by which foreign words leave the program as text for people. */
const SINKS: Readonly<Record<string, (words: string) => string>> = {
  "a log line's message": (words) => logLine("text", words, {}),
  "a log line's field": (words) => logLine("text", "x", { words, list: [words, words] }),
  "a JSON log line": (words) => logLine("json", words, { words, list: [words] }),
  "a Service's condition": (words) =>
    servedSummary([{ node: "n", serves: false, reason: "NotScheduled", message: words, waiting: false }], {
      error: { reason: "InvalidAnnotation", message: words },
      warnings: [{ reason: "InvalidAnnotation", message: words }],
    }).message,
  "a HelmChart's condition": (words) => failureLine(`Error: ${words}`),
};

for (const [name, sink] of Object.entries(SINKS)) {
  Deno.test(`foreign words cannot steer a terminal or forge a line by way of ${name}`, () => {
    fc.assert(fc.property(WORDS, (words) => assert.equal(hasControls(sink(words)), false)));
  });
}

Deno.test("foreign words in a table or a failure keep to their line", () => {
  fc.assert(fc.property(WORDS, (words) => {
    assert.equal(visibleText(renderRows(["A", "B"], [[words, words]])).split("\n").length, 3);
    const lines = renderError(new K3slbError(words, { code: "x", hint: words, cause: new Error(words) }), true);
    assert.equal(visibleText(lines), lines);
    assert.equal(lines.split("\n").length, 5);
  }));
});

Deno.test("a JSON log line says what it was given", () => {
  fc.assert(fc.property(WORDS, (words) => {
    const line: unknown = JSON.parse(logLine("json", words, { words }));
    assert.deepEqual(line, { time: "1970-01-01T00:00:00.000Z", level: "info", message: words, words });
  }));
});

function logLine(
  format: LogFormat,
  message: string,
  fields: Readonly<Record<string, string | readonly string[]>>,
): string {
  const lines: string[] = [];
  createLogger({ level: "debug", format, write: (line) => lines.push(line), now: () => 0 }).info(message, fields);
  assert.equal(lines.length, 1);
  return lines[0] ?? "";
}
