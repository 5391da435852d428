// What is done by the runtime's own calls where there are any: programs are run and nodes are asked; prints how each ended, as JSON. Run by
// runtime_calls_test.ts on every runtime.
import { readdirSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import { askByTcp } from "../../core/runtime/ask_nodes.ts";
import { createExec, type ExecOptions } from "../../node_agent/host/exec.ts";

const exec = createExec();
const ended: Record<string, unknown> = {};

async function run(name: string, command: readonly string[], options: Partial<ExecOptions> = {}): Promise<void> {
  const [program = "", ...args] = command;
  try {
    const { code, stdout, stderr } = await exec.run(program, args, { timeoutMs: 20_000, ...options });
    ended[name] = { code, stdout: stdout.length > 100 ? stdout.length : stdout, stderr };
  } catch (error) {
    const { code, name: kind } = error as Error & { readonly code?: unknown };
    ended[name] = typeof code === "string" ? code : kind;
  }
}

await run("input, both outputs, exit code", ["sh", "-c", "cat; echo words >&2; exit 3"], { stdin: "text" });
await run("a large output", ["cat"], { stdin: "0123456789abcdef\n".repeat(100_000) });
await run("input that nobody reads", ["true"], { stdin: "x".repeat(1_000_000) });
await run("no such program", ["k3slb-no-such-program"]);
await run("a program that hangs", ["sh", "-c", "sleep 5 & wait"], { timeoutMs: 100 });
await run("an end by a signal", ["sh", "-c", "kill -9 $$"]);
await run("the caller's end, while a child holds the output", ["sh", "-c", "sleep 5 & exit 0"], {
  signal: AbortSignal.timeout(200),
});
const openFiles = (): number => readdirSync("/proc/self/fd").length;
const openBefore = openFiles();
for (let turn = 0; turn < 20; turn++) await exec.run("cat", [], { stdin: "text", timeoutMs: 20_000 });
ended["no file is left open for each input"] = openFiles() < openBefore + 10;
await run("the caller's end before it begins", ["true"], { signal: AbortSignal.abort() });

const server = createServer((socket) => {
  socket.on("error", (error: Error & { readonly code?: string }) => ended["the asked one sees"] = error.code);
  socket.on("close", () => server.close());
  socket.resume();
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as { readonly port: number };
const closed = new Promise<void>((resolve) => server.on("close", () => resolve()));
const ask = (again: boolean): Promise<string> =>
  new Promise((resolve) =>
    askByTcp({ node: "a", ip: "127.0.0.1", port, begunMs: 0, ...(again ? { again } : {}) }, resolve)
  );
ended["an ask"] = await ask(false);
await closed;
ended["an ask of nobody"] = await ask(false);
ended["one more ask of nobody"] = await ask(true);
const giveUp = askByTcp(
  { node: "a", ip: "127.0.0.1", port, begunMs: 0 },
  () => ended["an ask that is given up"] = "told",
);
giveUp();
giveUp();
await new Promise((resolve) => setTimeout(resolve, 50));
process.stdout.write(JSON.stringify(ended));
process.exit();
