// The test's side of net_peer.ts: one process per namespace, asked over JSON lines. Its process ends with its standard input.

/** What listens: `name` is how the server calls itself in its answers. */
export interface PeerListen {
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly name: string;
  /** @default {"::"} every address of both families */
  readonly ip?: string;
}

/** Where to connect. */
export interface PeerRequest {
  readonly protocol: "tcp" | "udp";
  readonly ip: string;
  readonly port: number;
  /** @default {1500} */
  readonly timeoutMs?: number;
  /** Client port; chosen by the kernel if absent. */
  readonly localPort?: number;
  readonly localIp?: string;
}

/** What came back. `peer` is the client address that the server saw. */
export type PeerAnswer =
  | { readonly outcome: "answer"; readonly server: string; readonly peer: string; readonly peerPort: number }
  | { readonly outcome: "refused" | "timeout" | "unreachable" | "closed" };

/** A connection that stays open. */
export interface PeerStream {
  /** Sends one line (one datagram) and waits for the answer. */
  exchange(timeoutMs?: number): Promise<PeerAnswer>;
  close(): Promise<void>;
}

/** New connections at a steady rate; for each target, how many had which outcome. */
export interface PeerFlow {
  counts(): Promise<readonly Readonly<Record<string, number>>[]>;
  /** Ends it; the connections that are under way are waited for and counted. */
  stop(): Promise<readonly Readonly<Record<string, number>>[]>;
}

/** A running net_peer.ts. */
export class NetPeer {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  readonly #reading: Promise<void>;
  #nextId = 1;

  constructor(command: readonly string[]) {
    this.#child = new Deno.Command(command[0] ?? "", {
      args: [...command.slice(1)],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      env: { NO_COLOR: "1" },
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  async listen(listen: PeerListen): Promise<void> {
    await this.#ask({ command: "listen", ...listen });
  }

  async unlisten(listen: PeerListen): Promise<void> {
    await this.#ask({ command: "unlisten", ...listen });
  }

  async request(request: PeerRequest): Promise<PeerAnswer> {
    return await this.#ask({ command: "request", ...request }) as PeerAnswer;
  }

  async requestMany(request: PeerRequest, count: number): Promise<Readonly<Record<string, number>>> {
    return await this.#ask({ command: "requestMany", count, ...request }) as Record<string, number>;
  }

  async open(request: PeerRequest): Promise<PeerStream> {
    const handle = await this.#ask({ command: "open", ...request }) as number;
    return {
      exchange: async (timeoutMs = 1500) => await this.#ask({ command: "exchange", handle, timeoutMs }) as PeerAnswer,
      close: async () => void await this.#ask({ command: "close", handle }),
    };
  }

  async startFlow(targets: readonly PeerRequest[], intervalMs: number): Promise<PeerFlow> {
    const handle = await this.#ask({ command: "startFlow", targets, intervalMs });
    type Counts = readonly Readonly<Record<string, number>>[];
    return {
      counts: async () => await this.#ask({ command: "countFlow", handle }) as Counts,
      stop: async () => await this.#ask({ command: "stopFlow", handle }) as Counts,
    };
  }

  /** Ends the process. */
  async close(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#child.status;
    await this.#reading;
  }

  async #ask(question: Readonly<Record<string, unknown>>): Promise<unknown> {
    const id = this.#nextId++;
    const answer = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    await this.#writer.write(new TextEncoder().encode(JSON.stringify({ id, ...question }) + "\n"));
    const reply = await answer;
    if (reply.error !== undefined) throw new Error(`Test peer: ${reply.error}`);
    return reply.value;
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const reply = JSON.parse(line) as Reply;
        this.#waiting.get(reply.id)?.(reply);
        this.#waiting.delete(reply.id);
      }
    }
    for (const [id, resolve] of this.#waiting) resolve({ id, error: "the process has ended" });
    this.#waiting.clear();
  }
}

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}
