// What is used of the runtime inside the binary, Bun, beside Node's modules: the same through those costs it two to three times the time,
// which is much of what an idle program takes. Other runtimes, on which tests and the library run, have none of it.

/** Bun's own calls, as far as they are used. */
export interface BunRuntime {
  /** Opens a TCP connection, which can't be given up before it is opened. Rejects, too, where it fails. */
  connect(options: {
    readonly hostname: string;
    readonly port: number;
    readonly socket: {
      readonly open: (socket: { terminate(): void }) => void;
      readonly data: () => void;
      readonly connectError: (socket: unknown, error: Error & { readonly code?: string }) => void;
    };
  }): Promise<unknown>;
  /** Starts a program; throws if it can't be started. What it says is read while it runs, whether or not somebody asks for it. */
  spawn(command: readonly string[], options: {
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly stdin: "ignore";
    readonly stdout: "pipe";
    readonly stderr: "pipe";
  }): BunProcess;
}

/** A program that was started. */
export interface BunProcess {
  readonly exited: Promise<number>;
  readonly signalCode: string | null;
  readonly stdout: { text(): Promise<string> };
  readonly stderr: { text(): Promise<string> };
  kill(signal: string): void;
}

/** Bun, where this program runs on it. */
export function bunRuntime(): BunRuntime | undefined {
  return (globalThis as { readonly Bun?: BunRuntime }).Bun;
}
