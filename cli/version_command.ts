// `k3slb version`.
import { versionInfo } from "./build_info.ts";
import { defineCommand } from "./command.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { OUTPUT_FLAG } from "./settings/flags.ts";

/** Prints what this build is. */
export const VERSION_COMMAND = defineCommand({
  path: ["version"],
  summary: "Print version, commit, target and the runtime inside",
  description: "Prints what this build is.",
  flags: [OUTPUT_FLAG],
  examples: [
    { command: "k3slb version", note: "for people" },
    { command: "k3slb version -o json", note: "for programs" },
  ],
  run: async (settings, { host }) => {
    const info = versionInfo();
    const table = (): string =>
      Object.entries(info).map(([name, value]) => `${name.padEnd("version".length)}  ${value}\n`).join("");
    // Only other forms need YAML.
    const text = settings.output === "table"
      ? table()
      : (await import("./output/render_form.ts")).renderForm(info, settings.output, table);
    host.stdout(text);
    return EXIT_OK;
  },
});
