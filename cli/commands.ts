// Every command of the program, in the order of the help. A new command is one file and one line here.
import { AGENT_CLEANUP_COMMAND } from "./agent_cleanup_command.ts";
import { AGENT_COMMAND } from "./agent_command.ts";
import type { Command } from "./command.ts";
import { CHECK_COMMAND } from "./check_command.ts";
import { completionCommand } from "./completion_command.ts";
import { DUMP_COMMAND } from "./dump_command.ts";
import { EXPLAIN_COMMAND } from "./explain_command.ts";
import { IMAGES_COMMAND } from "./images_command.ts";
import { installCommand, uninstallCommand } from "./install_command.ts";
import { MANIFESTS_DIFF_COMMAND, MANIFESTS_LIST_COMMAND, MANIFESTS_VALIDATE_COMMAND } from "./manifests_command.ts";
import { NAMES_COMMAND } from "./names_command.ts";
import { PORTS_COMMAND } from "./ports_command.ts";
import { PROBE_COMMAND } from "./probe_command.ts";
import { SERVER_COMMAND } from "./server_command.ts";
import { STATUS_COMMAND } from "./status_command.ts";
import { VERSION_COMMAND } from "./version_command.ts";

/** Every command of the program. */
export const COMMANDS: readonly Command[] = [
  SERVER_COMMAND,
  AGENT_COMMAND,
  AGENT_CLEANUP_COMMAND,
  STATUS_COMMAND,
  DUMP_COMMAND,
  EXPLAIN_COMMAND,
  PORTS_COMMAND,
  PROBE_COMMAND,
  CHECK_COMMAND,
  MANIFESTS_LIST_COMMAND,
  MANIFESTS_VALIDATE_COMMAND,
  MANIFESTS_DIFF_COMMAND,
  IMAGES_COMMAND,
  installCommand(() => COMMANDS),
  uninstallCommand(() => COMMANDS),
  VERSION_COMMAND,
  NAMES_COMMAND,
  completionCommand(() => COMMANDS),
];
