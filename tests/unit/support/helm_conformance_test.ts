// Holds the imitations of klipper-helm to what its own scripts do: recorded in tests/golden/klipper_helm.json, and asked of the scripts
// themselves where K3SLB_KLIPPER_HELM=FILE[:FILE] gives them; with K3SLB_UPDATE_GOLDENS=1 too, what they do is recorded anew.
import assert from "node:assert/strict";
import { ENTRY_CASES, type EntryResult, runEntryCase } from "../../support/helm_conformance.ts";
import { imitatedEntry, KLIPPER_HELM_VERSIONS, type KlipperHelm } from "../../support/helm_entry.ts";
import { givenScripts, scriptEntry } from "../../support/klipper_helm.ts";

type Golden = Readonly<Record<KlipperHelm, Readonly<Record<string, EntryResult>>>>;

const GOLDEN_FILE = new URL("../../golden/klipper_helm.json", import.meta.url);
const SCRIPTS = givenScripts();

function golden(): Golden {
  return JSON.parse(Deno.readTextFileSync(GOLDEN_FILE));
}

/** One line a case. */
function rendered(all: Golden): string {
  const versions = Object.entries(all).map(([version, results]) => {
    const lines = Object.entries(results).map(([name, result]) => `${JSON.stringify(name)}: ${JSON.stringify(result)}`);
    return `"${version}": {\n${lines.join(",\n")}\n}`;
  });
  return `{\n${versions.join(",\n")}\n}\n`;
}

for (const version of Object.keys(KLIPPER_HELM_VERSIONS) as KlipperHelm[]) {
  const script = SCRIPTS[version];
  const title = `klipper-helm's own script (${version}) does what is recorded`;
  Deno.test({
    name: script === undefined ? `${title} (skipped: K3SLB_KLIPPER_HELM does not give it)` : title,
    ignore: script === undefined,
    fn: async () => {
      const got: Record<string, EntryResult> = {};
      for (const one of ENTRY_CASES) got[one.name] = await runEntryCase(scriptEntry(script ?? ""), one);
      if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") {
        await Deno.writeTextFile(GOLDEN_FILE, rendered({ ...golden(), [version]: got }));
      }
      assert.deepEqual(got, golden()[version]);
    },
  });

  Deno.test(`imitatedEntry: ${KLIPPER_HELM_VERSIONS[version]} does what is recorded of the script`, async () => {
    const want = golden()[version];
    assert.deepEqual(Object.keys(want), ENTRY_CASES.map(({ name }) => name));
    await Promise.all(ENTRY_CASES.map(async (one) => {
      assert.deepEqual(await runEntryCase(imitatedEntry(version), one), want[one.name], one.name);
    }));
  });
}
