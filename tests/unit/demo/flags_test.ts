// The demo's flags.
import { deepEqual, throws } from "node:assert/strict";
import { parseFlags } from "../../demo/flags.ts";

const NONE = { real: false, nodes: false, keep: false, noColour: false, help: false };

const CASES = [
  { name: "nothing", given: [], want: NONE },
  {
    name: "all",
    given: ["--real", "--nodes", "--keep", "--no-colour"],
    want: { ...NONE, real: true, nodes: true, keep: true, noColour: true },
  },
  { name: "the other spelling of colour", given: ["--no-color"], want: { ...NONE, noColour: true } },
  { name: "help", given: ["-h"], want: { ...NONE, help: true } },
];

for (const { name, given, want } of CASES) {
  Deno.test(`parseFlags: ${name}`, () => deepEqual(parseFlags(given), want));
}

for (const words of [["--reel"], ["now"], ["--keep=no"]]) {
  Deno.test(`parseFlags: refuses ${words.join(" ")}`, () => throws(() => parseFlags(words), TypeError));
}
