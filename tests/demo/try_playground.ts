// For tests: types what `--keep` names, as its reader would.
import { equal, ok } from "node:assert/strict";
import { runProgram } from "../support/programs.ts";

/** Runs each command that `text`, the demo's output, names to be played with, but for what wants a terminal or has no end. */
export async function tryPlayground(text: string): Promise<void> {
  const [, table = ""] = text.split("Everything goes on running.");
  const commands = [...table.matchAll(/^ {3}(\/\S+(?: [^\s[]\S*)*)(?! \[) /gm)].map(([, words = ""]) =>
    words.split(" ")
  );
  equal(commands.length, 4, table);
  for (const command of commands) {
    const { code, stdout, stderr } = await runProgram(command);
    equal(code, 0, `${command.join(" ")}: ${stderr}${stdout}`);
    ok(stdout !== "", command.join(" "));
  }
}
