// Records what kubectl makes of each document, as kubectl.json beside this file. The tests compare with that record.
//   deno run -A tests/corpus/update_kubectl.ts KUBECTL [ARGUMENT...]
// KUBECTL is any kubectl of version 1.28 or later, for example the multi-call program of tests/control_plane with the
// argument "kubectl". No cluster is needed: `patch --local` reads files only.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [program, ...words] = Deno.args;
if (program === undefined) throw new TypeError("Name a kubectl as the first argument");
const folder = join(import.meta.dirname ?? ".", "documents");
const record: Record<string, { readonly output?: string; readonly error?: string }> = {};
for (const name of readdirSync(folder).sort()) {
  const file = join(folder, name);
  const { success, stdout, stderr } = new Deno.Command(program, {
    args: [...words, "patch", "--local", "-f", file, "--type=merge", "-p", "{}", "-o", "json"],
    env: { KUBECONFIG: "/dev/null" },
  }).outputSync();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replaceAll(`${folder}/`, "").trim();
  record[name] = success ? { output: text(stdout) } : { error: text(stderr) };
}
writeFileSync(join(import.meta.dirname ?? ".", "kubectl.json"), `${JSON.stringify(record, undefined, 2)}\n`);
