// Starts load_peer.ts in namespaces and talks to it. Programs end with their namespace.
import { fileURLToPath } from "node:url";
import { execHere, type Netns } from "../support/netns.ts";
import type { Job, LoadResult, WaitResult } from "./load_peer.ts";

const PEER_PATH = fileURLToPath(new URL("./load_peer.ts", import.meta.url));

/** Port on which {@linkcode startLoadServer} listens. */
export const SERVER_PORT = 8080;

/** A program that makes load. Jobs are done one after the other. */
export interface LoadClient {
  readonly pid: number;
  load(job: Omit<Job & { readonly job: "load" }, "job">): Promise<LoadResult>;
  waitForAnswers(job: Omit<Job & { readonly job: "wait" }, "job">): Promise<WaitResult>;
  stop(): Promise<void>;
}

/** Serves TCP and UDP in `ns` until the namespace goes. Resolves with the process id when it listens. */
export async function startLoadServer(ns: Netns): Promise<number> {
  const child = start(ns, ["serve", String(SERVER_PORT)], "null");
  const reader = lines(child.stdout);
  if ((await reader.next()).value !== "ready") throw new Error(`The load server in ${ns.name} did not start`);
  return child.pid;
}

/** Starts a program in `ns` that makes load. */
export async function startLoadClient(ns: Netns): Promise<LoadClient> {
  const child = start(ns, ["ask"], "piped");
  const answers = lines(child.stdout);
  if ((await answers.next()).value !== "ready") throw new Error(`The load client in ${ns.name} did not start`);
  const input = child.stdin.getWriter();
  let tail: Promise<unknown> = Promise.resolve();
  const request = <T>(job: Job): Promise<T> => {
    const result = tail.then(async () => {
      await input.write(new TextEncoder().encode(`${JSON.stringify(job)}\n`));
      const line = await answers.next();
      if (line.done) throw new Error(`The load client in ${ns.name} has ended`);
      const value = JSON.parse(line.value) as T | { readonly error: string };
      if (typeof value === "object" && value !== null && "error" in value) throw new Error(value.error);
      return value;
    });
    // The next job waits for the end of this one, whichever way it ended; the caller gets the failure.
    tail = result.catch(() => {});
    return result;
  };
  return {
    pid: child.pid,
    load: (job) => request<LoadResult>({ job: "load", ...job }),
    waitForAnswers: (job) => request<WaitResult>({ job: "wait", ...job }),
    stop: async () => {
      child.kill("SIGKILL");
      await child.status;
      await input.abort().catch(() => {
        // The pipe went with the program.
      });
    },
  };
}

/** Ties processes with all their threads to one processor, or (`all`) lets them go. */
export async function pinProcesses(pids: readonly number[], cpu: 0 | "all"): Promise<void> {
  const list = cpu === "all" ? `0-${navigator.hardwareConcurrency - 1}` : String(cpu);
  for (const pid of pids) {
    const { code, stderr } = await execHere("taskset", ["-apc", list, String(pid)]);
    if (code !== 0) throw new Error(`Cannot tie process ${pid} to processor ${list}: ${stderr.trim()}`);
  }
}

function start(ns: Netns, args: readonly string[], stdin: "null" | "piped"): Deno.ChildProcess {
  return ns.spawn(Deno.execPath(), ["run", "-A", "--no-lock", "--no-config", PEER_PATH, ...args], {
    stdin,
    stdout: "piped",
    stderr: "inherit",
  });
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
