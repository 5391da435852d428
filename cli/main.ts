// The program's entry: nothing but the call and the exit code.
import process from "node:process";
import { isAside } from "../core/runtime/aside.ts";
import { processHost } from "./program_host.ts";
import { runProgram } from "./root_command.ts";

// A thread that the program starts for long work imports it too.
if (!isAside()) process.exitCode = await runProgram(process.argv.slice(2), processHost());
