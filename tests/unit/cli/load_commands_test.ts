// Commands that are loaded alone, and flags that are known without loading a command.
import assert from "node:assert/strict";
import { COMMANDS } from "../../../cli/commands.ts";
import { loadAlone, loadCommands } from "../../../cli/load_commands.ts";
import { CONFIG_FILE_FLAGS } from "../../../cli/settings/flags.ts";

for (const { path: [name = ""] } of COMMANDS.filter(({ path }) => path.length === 1)) {
  Deno.test(`loadAlone: ${name} is that of the list, if it is loaded alone`, async () => {
    const alone = await loadAlone([name, "--debug"]);
    if (["agent", "server", "version"].includes(name)) assert.deepEqual(alone?.path, [name]);
    if (alone !== undefined) assert.ok((await loadCommands()).includes(alone));
  });
}

Deno.test("CONFIG_FILE_FLAGS: every flag of every command that may stand in a config file", () => {
  const known = new Set<string>(CONFIG_FILE_FLAGS.map(({ name }) => name));
  const flags = COMMANDS.flatMap((command) => command.flags).filter(({ commandLineOnly }) => !commandLineOnly);
  assert.deepEqual(flags.map(({ name }) => name).filter((name) => !known.has(name)), []);
});
