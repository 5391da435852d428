// What the server is told of addresses for its status, from the flag to the option.
import assert from "node:assert/strict";
import { COMMON_FLAGS, DATA_DIR_FLAG, SERVER_FLAGS } from "../../../../cli/settings/flags.ts";
import { resolveSettings } from "../../../../cli/settings/resolve_settings.ts";
import { serverOptions } from "../../../../cli/programs/server_command.ts";

const FLAGS = [...COMMON_FLAGS, DATA_DIR_FLAG, ...SERVER_FLAGS] as const;

Deno.test("serverOptions: published addresses by node, names as Kubernetes has them; none if no flag says so", () => {
  const optionsFor = (entries: readonly string[]): ReturnType<typeof serverOptions> =>
    serverOptions(
      resolveSettings(FLAGS, { args: new Map([["published-addresses", entries]]), env: {}, config: [] }),
    );
  const given = optionsFor(["N1=203.0.113.5", "n2=203.0.113.7", "n1=2001:db8::5"]);
  assert.deepEqual([...given.publishedAddresses ?? []], [
    ["n1", ["203.0.113.5", "2001:db8::5"]],
    ["n2", ["203.0.113.7"]],
  ]);
  const { publishedAddresses } = serverOptions(resolveSettings(FLAGS, { args: new Map(), env: {}, config: [] }));
  assert.equal(publishedAddresses, undefined);
});

Deno.test("serverOptions: --status-addresses k3s is K3s's rule, and another word is refused", () => {
  const ruleOf = (word: readonly string[]): string =>
    serverOptions(
      resolveSettings(FLAGS, {
        args: new Map(word.length > 0 ? [["status-addresses", word]] : []),
        env: {},
        config: [],
      }),
    ).statusAddresses;
  assert.deepEqual([ruleOf([]), ruleOf(["k3s"]), ruleOf(["per-node"])], ["cluster", "k3s", "per-node"]);
  assert.throws(() => ruleOf(["rke"]), { code: "flag-value" });
});
