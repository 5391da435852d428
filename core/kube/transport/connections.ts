// Connections to one server that are kept for the next request: opened, lent to one user at a time, taken back or ended.
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../../runtime/clock.ts";

/** Where connections lead, and how. */
export interface ConnectionTarget {
  readonly host: string;
  readonly port: number;
  /** Absent: no TLS. */
  readonly tls?: TlsOptions;
}

/** What TLS takes beside the host. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name that the server's certificate must carry, if not the host's. */
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

/** What {@linkcode ConnectionPool} takes. */
export interface ConnectionPoolOptions {
  readonly target: ConnectionTarget;
  /** As many are open at a time; more users wait for their turn. */
  readonly max: number;
  readonly clock: Pick<Clock, "monotonicMs">;
}

/** Whoever has a connection. */
export interface ConnectionUser {
  /** It has one, which may not stand yet. */
  take(connection: Connection): void;
  /** It stands now, the server's certificate is good; not told of one that stood before. */
  connected(): void;
  data(bytes: Uint8Array): void;
  /** It can't be made or has ended, by an error or in order. The last call. */
  ended(error?: Error): void;
}

/** One socket. */
export class Connection {
  isConnected = false;
  /** When it was last given back. */
  idleSinceMs = 0;
  readonly #socket: Socket;
  #user: ConnectionUser | undefined;
  readonly #onGone: () => void;
  #isPaused = false;
  #isGone = false;

  /** @param onGone Told once, when it is of no use any more. */
  constructor(target: ConnectionTarget, user: ConnectionUser, onGone: () => void) {
    this.#user = user;
    this.#onGone = onGone;
    const socket = open(target);
    this.#socket = socket;
    socket.once(target.tls === undefined ? "connect" : "secureConnect", () => {
      this.isConnected = true;
      socket.setNoDelay(true);
      // A peer that vanished is noticed below HTTP too; watches are silent for long.
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
      this.#user?.connected();
    });
    socket.on("data", (bytes: Uint8Array) => {
      if (this.#user === undefined) this.destroy();
      else this.#user.data(bytes);
    });
    socket.on("error", (error) => this.#end(error));
    socket.on("end", () => this.#end());
    socket.on("close", () => this.#end());
  }

  /** Whether the next user may have it. */
  get isUsable(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  lend(user: ConnectionUser): void {
    this.#user = user;
    this.#socket.ref();
  }

  /** The user has what it wanted: nothing is told any more. A program that only keeps connections may end. */
  rest(nowMs: number): void {
    this.#user = undefined;
    this.idleSinceMs = nowMs;
    this.#socket.unref();
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Reads no more for now. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  /** Safe to call while it reads. */
  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }

  /** Nothing is told any more. Safe to call twice. */
  destroy(): void {
    this.#user = undefined;
    this.#socket.destroy();
    if (this.#isGone) return;
    // Not when the socket says that it is closed: on no runtime must one that forgets to say so take a place for ever.
    this.#isGone = true;
    this.#onGone();
  }

  #end(error?: Error): void {
    const user = this.#user;
    this.destroy();
    user?.ended(error);
  }
}

/** Connections to one server under one identity. */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  /** The last one given back is the last one here. */
  readonly #idle: Connection[] = [];
  readonly #waiting = new Set<ConnectionUser>();
  #openCount = 0;
  #isRetired = false;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /**
   * Gives `user` a connection, now or when its turn comes; the returned function takes the wish back.
   *
   * @throws what is wrong with a certificate or a key
   */
  lend(user: ConnectionUser): () => void {
    const nowMs = this.#options.clock.monotonicMs();
    for (let known = this.#idle.pop(); known !== undefined; known = this.#idle.pop()) {
      // Servers and what stands in between forget connections; one that has rested for long may be half open.
      if (known.isUsable && nowMs - known.idleSinceMs < MAX_IDLE_MS) {
        known.lend(user);
        user.take(known);
        return () => {};
      }
      known.destroy();
    }
    if (this.#openCount < this.#options.max) this.#open(user);
    else this.#waiting.add(user);
    return () => this.#waiting.delete(user);
  }

  /** Takes a connection back whose answer was complete. */
  giveBack(connection: Connection): void {
    const [next] = this.#waiting;
    if (!connection.isUsable) connection.destroy();
    else if (next !== undefined) {
      this.#waiting.delete(next);
      connection.lend(next);
      next.take(connection);
    } else if (this.#isRetired || this.#idle.length >= MAX_IDLE) connection.destroy();
    else {
      connection.rest(this.#options.clock.monotonicMs());
      this.#idle.push(connection);
    }
  }

  /** Nobody will ask again: what is lent is ended when it comes back. Safe to call twice. */
  retire(): void {
    this.#isRetired = true;
    this.dropIdle();
  }

  /** Ends what waits for the next user. */
  dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #open(user: ConnectionUser): void {
    const connection: Connection = new Connection(this.#options.target, user, () => this.#noteGone(connection));
    this.#openCount++;
    user.take(connection);
  }

  #noteGone(connection: Connection): void {
    this.#openCount--;
    const place = this.#idle.indexOf(connection);
    if (place !== -1) this.#idle.splice(place, 1);
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    try {
      this.#open(next);
    } catch (error) {
      next.ended(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function open({ host, port, tls }: ConnectionTarget): Socket {
  if (tls === undefined) return connectTcp({ host, port });
  return connectTls({
    host,
    port,
    ALPNProtocols: ["http/1.1"],
    // The name that is asked for can't be an address (RFC 6066).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...tls,
  });
}

/** Time in milliseconds until the kernel asks a silent peer whether it is there. */
const TCP_KEEP_ALIVE_MS = 30_000;
const MAX_IDLE = 4;
/** Below the API server's own limit of 90 s. */
const MAX_IDLE_MS = 60_000;
