// What a process costs, as the kernel counts it: processor time and memory.
import { readFileSync } from "node:fs";

/** Memory of a process in bytes: now, and the most it ever had. */
export function memoryOf(pid: number): { readonly now: number; readonly peak: number } {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const of = (field: string): number => Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(text)?.[1] ?? NaN) * 1024;
  return { now: of("VmRSS"), peak: of("VmHWM") };
}

/** Processor time of a process in milliseconds: user's and system's, fields 14 and 15 of proc_pid_stat(5). */
export function cpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
}

/** Bytes that `pids` hold, by the program's name; pages that several share are divided among them. Those that have ended hold nothing. */
export function sharesOf(pids: readonly number[]): ReadonlyMap<string, number> {
  const shares = new Map<string, number>();
  for (const pid of pids) {
    try {
      const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
      const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
      shares.set(name, (shares.get(name) ?? 0) + Number(kilobytes ?? 0) * 1024);
    } catch {
      // It has ended meanwhile.
    }
  }
  return shares;
}

const CLOCK_TICK_MS = 10;
