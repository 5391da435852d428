// Every command of the program, in the order of the help. A new command is one file and one line here.
import { AGENT_CLEANUP_COMMAND } from "./programs/agent_cleanup_command.ts";
import { AGENT_COMMAND } from "./programs/agent_command.ts";
import type { Command } from "./command.ts";
import { CHECK_COMMAND } from "./check/check_command.ts";
import { completeCommand, COMPLETION_COMMAND } from "./completion_command.ts";
import { DUMP_COMMAND } from "./dump/dump_command.ts";
import { EXPLAIN_COMMAND } from "./explain/explain_command.ts";
import { IMAGES_COMMAND } from "./answers/images_command.ts";
import { INSTALL_COMMAND, UNINSTALL_COMMAND } from "./install/install_command.ts";
import {
  MANIFESTS_DIFF_COMMAND,
  MANIFESTS_LIST_COMMAND,
  MANIFESTS_VALIDATE_COMMAND,
} from "./answers/manifests_command.ts";
import { PORTS_COMMAND } from "./answers/ports_command.ts";
import { PROBE_COMMAND } from "./probe/probe_command.ts";
import { SERVER_COMMAND } from "./programs/server_command.ts";
import { STATUS_COMMAND } from "./answers/status_command.ts";
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
  INSTALL_COMMAND,
  UNINSTALL_COMMAND,
  VERSION_COMMAND,
  COMPLETION_COMMAND,
  completeCommand(() => COMMANDS),
];
