// A config file with every option of a program, commented out. Pure.
import type { Flag } from "../settings/flag.ts";
import { defaultText } from "./render_help.ts";

/** Text of `config.yaml` for `flags`: nothing in it has an effect until a `#` is taken away. */
export function renderConfig(flags: readonly Flag[]): string {
  const distinct = new Map(flags.map((flag) => [flag.name, flag]));
  // One file for two programs: what differs between them belongs in their environment files.
  const differing = flags.filter((flag) => defaultText(flag) !== defaultText(distinct.get(flag.name) ?? flag));
  for (const { name } of [{ name: "config" }, ...differing]) distinct.delete(name);
  const keys = [...distinct.values()].filter((flag) => flag.commandLineOnly !== true);
  const lines = keys.flatMap((flag) => ["", `# ${flag.help}`, `#${flag.name}: ${exampleValue(flag)}`]);
  return [
    "# Settings of k3slb on this host, for server and agent. Flags and environment variables win over this file;",
    "# files in the folder config.yaml.d beside it are read after it.",
    ...lines,
    "",
  ].join("\n");
}

/** The default as YAML, or what stands for a value. */
function exampleValue(flag: Flag): string {
  if (flag.type === "list") return `[${flag.default.map((value) => JSON.stringify(value)).join(", ")}]`;
  if (flag.type === "switch") return String(flag.default);
  const preset = defaultText(flag);
  return preset === "" ? `"" # ${flag.placeholder ?? ""}`.trimEnd() : JSON.stringify(preset);
}
