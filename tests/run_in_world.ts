// Runs a program, `deno test -A` with the given paths unless told otherwise, in one private network world for all of them.
// Usage: deno run -A tests/run_in_world.ts tests/netns     or: deno run -A tests/run_in_world.ts -- COMMAND...
import { worldCommand } from "./support/netns.ts";

const command = Deno.args[0] === "--" ? Deno.args.slice(1) : [Deno.execPath(), "test", "-A", ...Deno.args];
const [program = "", ...args] = worldCommand(command, { realNodes: Deno.env.get("K3SLB_WORLD") === "nodes" });
const { code } = await new Deno.Command(program, { args, stdin: "inherit", stdout: "inherit", stderr: "inherit" })
  .output();
Deno.exit(code);
