// Reads which sockets listen on this host and whose they are. Parsing and judging is in `listening_sockets.ts`.
// Another user's descriptors can't be read without rights: then `socket_owners.ts` says the service, if that can be had.
import { readFileSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, readlink } from "node:fs/promises";
import { Buffer } from "node:buffer";
import { endianness } from "node:os";
import type { Protocol } from "../../core/shared/ip.ts";
import { createExec, type Exec } from "./exec.ts";
import { type ListeningSocket, parseSocketTable, type SocketEntry, type SocketTable } from "./listening_sockets.ts";
import { readSocketOwners, type SocketOwnerOptions } from "./socket_owners.ts";

/** Finds the sockets that listen on this host. */
export interface HostPorts {
  /** Sockets that listen on one of `ports`. Never throws: a table that can't be read has no sockets. */
  listeners(ports: readonly WantedPort[]): Promise<readonly ListeningSocket[]>;
}

/** A port that somebody wants to know about. */
export interface WantedPort {
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Port number. */
  readonly port: number;
}

/** How {@linkcode createHostPorts} asks for owners that can't be seen. */
export interface HostPortsOptions {
  /**
   * Runs `ss`.
   * @default programs of this machine
   */
  readonly exec?: Exec;
  /** Ends a running `ss`. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds of a clock that never jumps.
   * @default {performance.now}
   */
  readonly now?: () => number;
}

/** The sockets under `procRoot`. */
export function createHostPorts(procRoot = "/proc", options: HostPortsOptions = {}): HostPorts {
  const { now = () => performance.now(), ...owners } = options;
  const search: HolderSearch = { procRoot, owners: { exec: createExec(), ...owners }, holders: new Map() };
  let last: LastReading | undefined;
  return {
    listeners: async (ports) => {
      const wanted = new Set(ports.map((port) => `${port.protocol}/${port.port}`));
      if (wanted.size === 0) return [];
      // Before the tables: what begins to listen meanwhile is seen the next time.
      const counts = socketCounts(procRoot).join();
      const nowMs = now();
      if (last === undefined || !isGood(last, { counts, wanted, nowMs })) {
        const sockets = (await Promise.all(TABLES.map((table) => readTable(procRoot, table)))).flat();
        last = { counts, wanted, sockets, readMs: nowMs, uses: 0 };
      }
      last.wanted = wanted;
      last.uses++;
      const found = last.sockets.filter((socket) => wanted.has(`${socket.protocol}/${socket.port}`));
      await findHolders(found, search);
      return found.map(({ inode, ...socket }) => ({ ...socket, ...search.holders.get(inode) }));
    },
  };
}

/** What the tables said last. */
interface LastReading {
  /** Of sockets. */
  readonly counts: string;
  /** The ports that were asked for last. */
  wanted: ReadonlySet<string>;
  readonly sockets: readonly SocketEntry[];
  readonly readMs: number;
  uses: number;
}

/** Whether the tables would say the same again. */
function isGood(
  last: LastReading,
  { counts, wanted, nowMs }: {
    readonly counts: string;
    readonly wanted: ReadonlySet<string>;
    readonly nowMs: number;
  },
): boolean {
  if (counts === "" || counts !== last.counts || last.uses >= MAX_USES) return false;
  return nowMs - last.readMs <= FRESH_MS || [...wanted].every((port) => last.wanted.has(port));
}

/** For a port that was not asked for before the tables are read again, unless that was just now: many Services may be made at once. */
const FRESH_MS = 1_000;

/** A socket that ends just as another one begins leaves the counts as they were: then it is seen at the sixth look, within a minute. */
const MAX_USES = 6;

/**
 * How many sockets of each kind there are. For the tables of TCP the kernel walks all that a host may have, some milliseconds each: the counts,
 * which cost nothing, say whether that is worth it. Read at once: on a busy host each step of a reading beside the loop waits for a processor.
 */
function socketCounts(procRoot: string): readonly string[] {
  const texts = ["sockstat", "sockstat6"].map((name) => readNowOrEmpty(`${procRoot}/net/${name}`));
  return texts.join("\n").match(/^(?:TCP|UDP)6?: inuse \d+/gm) ?? [];
}

function readNowOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // No such family in this kernel.
    return "";
  }
}

interface TableFile extends Omit<SocketTable, "littleEndian"> {
  readonly file: string;
}

const TABLES: readonly TableFile[] = [
  { file: "tcp", family: "IPv4", protocol: "TCP" },
  { file: "tcp6", family: "IPv6", protocol: "TCP" },
  { file: "udp", family: "IPv4", protocol: "UDP" },
  { file: "udp6", family: "IPv6", protocol: "UDP" },
];

async function readTable(procRoot: string, table: TableFile): Promise<readonly SocketEntry[]> {
  const text = await readListenPart(`${procRoot}/net/${table.file}`, table.protocol === "TCP");
  return parseSocketTable(text, { ...table, littleEndian: endianness() === "LE" });
}

/**
 * The table's text; of TCP only as far as sockets listen. The kernel lists those first, and a busy node has tens of thousands
 * of others behind them.
 */
async function readListenPart(path: string, listenersFirst: boolean): Promise<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const chunks: Buffer[] = [];
    while (true) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES, null);
      if (bytesRead === 0) break;
      chunks.push(buffer.subarray(0, bytesRead));
      if (listenersFirst && !endsWithListener(buffer.subarray(0, bytesRead).toString("latin1"))) break;
    }
    return Buffer.concat(chunks).toString("latin1");
  } catch {
    // No such family in this kernel, or no /proc: nothing listens there as far as anyone can know.
    return "";
  } finally {
    await handle?.close();
  }
}

const CHUNK_BYTES = 16_384;

/** Whether the last whole line of a chunk is a listener; so it is if there is no whole line. */
function endsWithListener(chunk: string): boolean {
  const last = chunk.split("\n").slice(0, -1).filter((line) => /^\s*\d+: /.test(line)).at(-1);
  return last === undefined || last.trim().split(/\s+/)[3] === "0A";
}

/** Who has a socket: its process, else its service, else nothing is known. */
type Holder = Pick<ListeningSocket, "process" | "owner">;

interface HolderSearch {
  readonly procRoot: string;
  readonly owners: SocketOwnerOptions;
  /** Socket number -> holder, of earlier searches; forgotten once its socket is gone. */
  readonly holders: Map<string, Holder>;
}

async function findHolders(
  sockets: readonly SocketEntry[],
  { procRoot, owners, holders }: HolderSearch,
): Promise<void> {
  const present = new Set(sockets.map((socket) => socket.inode));
  for (const inode of holders.keys()) if (!present.has(inode)) holders.delete(inode);
  const missing = new Set([...present].filter((inode) => !holders.has(inode)));
  if (missing.size === 0) return;
  for (const [inode, process] of await findProcesses(missing, procRoot)) {
    holders.set(inode, { process });
    missing.delete(inode);
  }
  if (missing.size === 0) return;
  const known = await readSocketOwners(owners);
  for (const inode of missing) {
    const owner = known.get(inode);
    // A socket of nobody known is not looked for again while it lives.
    holders.set(inode, owner === undefined ? {} : { owner });
  }
}

/** Processes of the sockets `inodes`, as far as they can be seen. */
async function findProcesses(
  inodes: ReadonlySet<string>,
  procRoot: string,
): Promise<ReadonlyMap<string, NonNullable<ListeningSocket["process"]>>> {
  const found = new Map<string, NonNullable<ListeningSocket["process"]>>();
  for (const pid of (await listFolder(procRoot)).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await listFolder(`${procRoot}/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(await readLinkOrEmpty(`${procRoot}/${pid}/fd/${fd}`))?.[1];
      if (inode === undefined || !inodes.has(inode) || found.has(inode)) continue;
      found.set(inode, { pid: Number(pid), name: await processName(`${procRoot}/${pid}/comm`) });
      if (found.size === inodes.size) return found;
    }
  }
  return found;
}

/** Processes end while they are looked at, and those of other users can't be read: both are "not known". */
async function listFolder(path: string): Promise<readonly string[]> {
  return await readdir(path).catch(() => []);
}

async function readLinkOrEmpty(path: string): Promise<string> {
  return await readlink(path).catch(() => "");
}

async function readFileOrEmpty(path: string): Promise<string> {
  return await readFile(path, "utf8").catch(() => "");
}

async function processName(path: string): Promise<string> {
  return (await readFileOrEmpty(path)).trim() || "unknown";
}
