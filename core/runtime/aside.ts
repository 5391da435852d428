// Long work of pure functions on a thread of its own, so that the loop goes on: megabytes of YAML take seconds, in which the server must
// renew its Lease. A thread costs some 20 ms and as many MB while it runs: what is small is done in place by its caller.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { abortError, errorMessage, isK3slbError, K3slbError } from "../shared/errors.ts";

/** What {@linkcode asideTask} takes. */
export interface AsideTaskOptions<I, O> {
  /** Unique in the program. */
  readonly name: string;
  /** `import.meta.url` of the file that calls {@linkcode asideTask} when it is imported. */
  readonly url: string;
  /** Gives the result in parts of moderate size, each taken over in one go. Values are cloned: no functions, no classes. */
  readonly work: (input: I) => Iterable<O>;
  /** After which the work is given up. */
  readonly timeoutMs: number;
}

/** Does the work and returns its parts. @throws {K3slbError} what the work threw, or code "aside" if it took too long */
export type AsideTask<I, O> = (input: I, signal?: AbortSignal) => Promise<readonly O[]>;

/**
 * A task for a thread. Called at the top of a module, which the thread imports anew: there, and only there, the work is done at once.
 */
export function asideTask<I, O>(options: AsideTaskOptions<I, O>): AsideTask<I, O> {
  if (!isMainThread && isOrder(workerData) && workerData.k3slbTask === options.name) {
    answer(() => options.work(workerData.input as I));
  }
  return (input, signal) => runAside(options, { input, signal });
}

/** Whether this is a thread that {@linkcode asideTask} started, in which the program itself must not run. */
export function isAside(): boolean {
  return !isMainThread && isOrder(workerData);
}

interface Order {
  readonly k3slbTask: string;
  readonly input: unknown;
}

interface Failure {
  readonly message: string;
  readonly code: string;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

type Answer = { readonly part: unknown } | { readonly failure: Failure } | { readonly done: true };

function isOrder(data: unknown): data is Order {
  return typeof data === "object" && data !== null && "k3slbTask" in data;
}

function answer(work: () => Iterable<unknown>): void {
  const post = (message: Answer): void => parentPort?.postMessage(message);
  try {
    for (const part of work()) post({ part });
    post({ done: true });
  } catch (error) {
    post({ failure: failureOf(error) });
  }
}

function failureOf(error: unknown): Failure {
  if (!isK3slbError(error)) return { message: errorMessage(error), code: "aside" };
  const { message, code, hint, details } = error;
  return { message, code, details, ...(hint === undefined ? {} : { hint }) };
}

async function runAside<I, O>(
  { name, url, timeoutMs }: AsideTaskOptions<I, O>,
  { input, signal }: { readonly input: I; readonly signal: AbortSignal | undefined },
): Promise<readonly O[]> {
  signal?.throwIfAborted();
  const order: Order = { k3slbTask: name, input };
  const worker = new Worker(new URL(url), { workerData: order });
  const done = Promise.withResolvers<readonly O[]>();
  const fail = (message: string, hint: string): void => done.reject(new K3slbError(message, { code: "aside", hint }));
  const parts: O[] = [];
  worker.on("message", (message: Answer) => {
    if ("part" in message) parts.push(message.part as O);
    else if ("failure" in message) done.reject(new K3slbError(message.failure.message, message.failure));
    else done.resolve(parts);
  });
  worker.on("error", (error: unknown) => fail(`Thread "${name}" failed: ${errorMessage(error)}`, "Please report it"));
  worker.on("exit", () => fail(`Thread "${name}" ended without an answer`, "Please report it"));
  const timer = setTimeout(
    () => fail(`"${name}" took longer than ${timeoutMs / 1000} s`, "Split what is read into smaller parts"),
    timeoutMs,
  );
  const abort = (): void => done.reject(abortError());
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await done.promise;
  } finally {
    signal?.removeEventListener("abort", abort);
    clearTimeout(timer);
    await worker.terminate();
  }
}
