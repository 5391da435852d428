// Commands that are loaded alone, and flags that are known without loading a command.
import assert from "node:assert/strict";
import { loadAlone, loadCommands } from "../../../cli/load_commands.ts";
import { CONFIG_FILE_FLAGS } from "../../../cli/settings/flags.ts";

for (const name of ["agent", "server", "version"]) {
  Deno.test(`loadAlone: ${name} is that of the list`, async () => {
    const alone = await loadAlone([name, "--debug"]);
    assert.deepEqual(alone?.path, [name]);
    assert.ok((await loadCommands()).includes(alone));
  });
}

for (const words of [["status"], ["help", "agent"], ["--debug", "server"], []]) {
  Deno.test(`loadAlone: not for "${words.join(" ")}"`, async () => {
    assert.equal(await loadAlone(words), undefined);
  });
}

Deno.test("CONFIG_FILE_FLAGS: every flag of every command that may stand in a config file", async () => {
  const known = new Set<string>(CONFIG_FILE_FLAGS.map(({ name }) => name));
  const flags = (await loadCommands()).flatMap((command) => command.flags).filter(({ commandLineOnly }) =>
    !commandLineOnly
  );
  assert.deepEqual(flags.map(({ name }) => name).filter((name) => !known.has(name)), []);
});
