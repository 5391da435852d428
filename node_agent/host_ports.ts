// Reads which sockets listen on this host and whose they are. Parsing and judging is in `listening_sockets.ts`.
// Another user's descriptors can't be read without rights: then the socket is known and its process is not.
import { type FileHandle, open, readdir, readFile, readlink } from "node:fs/promises";
import { Buffer } from "node:buffer";
import { endianness } from "node:os";
import type { Protocol } from "../core/shared/ip.ts";
import { type ListeningSocket, parseSocketTable, type SocketEntry, type SocketTable } from "./listening_sockets.ts";

/** Finds the sockets that listen on this host. */
export interface HostPorts {
  /** Sockets that listen on one of `ports`. Never throws: a table that can't be read has no sockets. */
  listeners(ports: readonly WantedPort[]): Promise<readonly ListeningSocket[]>;
}

/** A port that somebody wants to know about. */
export interface WantedPort {
  readonly protocol: Protocol;
  readonly port: number;
}

/** The sockets under `procRoot`. */
export function createHostPorts(procRoot = "/proc"): HostPorts {
  const processes = new Map<string, ListeningSocket["process"]>();
  return {
    listeners: async (ports) => {
      const wanted = new Set(ports.map((port) => `${port.protocol}/${port.port}`));
      if (wanted.size === 0) return [];
      const found = (await Promise.all(TABLES.map((table) => readTable(procRoot, table)))).flat()
        .filter((socket) => wanted.has(`${socket.protocol}/${socket.port}`));
      await findProcesses(found, { procRoot, processes });
      return found.map(({ inode, ...socket }) => {
        const process = processes.get(inode);
        return process ? { ...socket, process } : socket;
      });
    },
  };
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

interface ProcessSearch {
  readonly procRoot: string;
  /** Socket number -> process, of earlier searches; forgotten once its socket is gone. */
  readonly processes: Map<string, ListeningSocket["process"]>;
}

async function findProcesses(sockets: readonly SocketEntry[], { procRoot, processes }: ProcessSearch): Promise<void> {
  const present = new Set(sockets.map((socket) => socket.inode));
  for (const inode of processes.keys()) if (!present.has(inode)) processes.delete(inode);
  const missing = new Set([...present].filter((inode) => !processes.has(inode)));
  if (missing.size === 0) return;
  for (const pid of (await listFolder(procRoot)).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await listFolder(`${procRoot}/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(await readLinkOrEmpty(`${procRoot}/${pid}/fd/${fd}`))?.[1];
      if (inode === undefined || !missing.delete(inode)) continue;
      processes.set(inode, { pid: Number(pid), name: await processName(`${procRoot}/${pid}/comm`) });
      if (missing.size === 0) return;
    }
  }
  // A socket without a visible process is not looked for again while it lives.
  for (const inode of missing) processes.set(inode, undefined);
}

/** Processes end while they are looked at, and those of other users can't be read: both are "not known". */
async function listFolder(path: string): Promise<readonly string[]> {
  return await readdir(path).catch(() => []);
}

async function readLinkOrEmpty(path: string): Promise<string> {
  return await readlink(path).catch(() => "");
}

async function processName(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim() || "unknown";
}
