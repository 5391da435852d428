// How a failure is printed: error, hint, code, and with --log-level debug what caused it. Pure.
import { visibleLine } from "../../core/shared/visible_text.ts";
import { errorMessage, K3slbError } from "../../core/shared/errors.ts";

/** A failure as lines for standard error; `withCauses` adds the chain of causes. */
export function renderError(error: unknown, withCauses: boolean): string {
  const lines = [`error: ${visibleLine(errorMessage(error))}`];
  if (error instanceof K3slbError) {
    if (error.hint !== undefined) lines.push(`  hint: ${visibleLine(error.hint)}`);
    lines.push(`  code: ${error.code}`);
  } else {
    lines.push("  hint: This is a fault of the program; run again with --log-level debug to see where");
    lines.push("  code: internal");
  }
  if (withCauses) lines.push(...causeLines(error));
  return `${lines.join("\n")}\n`;
}

function causeLines(error: unknown): readonly string[] {
  const lines: string[] = [];
  if (!(error instanceof K3slbError) && error instanceof Error && error.stack !== undefined) {
    lines.push(...error.stack.split("\n").slice(1).map((line) => `  ${line.trim()}`));
  }
  const seen = new Set<unknown>([error]);
  for (let cause = causeOf(error); cause !== undefined && !seen.has(cause); cause = causeOf(cause)) {
    seen.add(cause);
    lines.push(`  caused by: ${visibleLine(errorMessage(cause))}`);
  }
  return lines;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
