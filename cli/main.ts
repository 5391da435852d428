// The program's entry: nothing but the call and the exit code.
import process from "node:process";
import { processHost } from "./program_host.ts";
import { runProgram } from "./root_command.ts";

process.exitCode = await runProgram(process.argv.slice(2), processHost());
