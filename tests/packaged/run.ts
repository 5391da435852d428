// Runs the packaged suite: finds the real parts first, and says plainly which are lacking; what needs them is then skipped.
// Usage: deno task test:packaged [--charts DIR] [--klipper-helm FILE] [--quiet-minutes N]
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import process from "node:process";
import { ensureTools } from "../support/prerequisites.ts";
import { findParts, partsEnvironment } from "./parts.ts";

const { values: given } = parseArgs({
  args: Deno.args,
  options: {
    charts: { type: "string" },
    "klipper-helm": { type: "string" },
    // For how long an unchanged Traefik is watched for new revisions.
    "quiet-minutes": { type: "string", default: "1" },
  },
});
const print = (line: string): void => void process.stdout.write(`${line}\n`);
ensureTools(["packaged"], print);
const parts = await findParts({ charts: given.charts, klipperHelm: given["klipper-helm"] }, print);
const env = { ...process.env, ...partsEnvironment(parts), K3SLB_QUIET_MINUTES: given["quiet-minutes"] };
const child = spawn(Deno.execPath(), ["run", "-A", "tests/run.ts", "packaged"], { stdio: "inherit", env });
process.exitCode = await new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1)));
