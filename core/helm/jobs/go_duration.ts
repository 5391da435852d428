// Durations as Go reads and prints them, for helm's `--timeout`. Pure.
// Facts: Go's `time.ParseDuration` and `Duration.String`; a fraction is rounded down as Go does it, with floats of 64 bits.

const NANOSECONDS: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  "µs": 1_000n,
  "μs": 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** Units up to hours and no minus sign, as `time.ParseDuration` reads it. */
export const GO_DURATION_PATTERN = "^\\+?(0|(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$";
const DURATION_REGEXP = new RegExp(GO_DURATION_PATTERN);
const PART_REGEXP = /([0-9]*)(?:\.([0-9]*))?([a-zµμ]+)/g;
/** Nobody writes a longer one, and an integer of a million digits takes long to read. */
const MAX_LENGTH = 256;
/** About 292 years: what a 64-bit integer holds. */
const MAX_NANOSECONDS = 2n ** 63n - 1n;

/** Nanoseconds in a text such as `1h30m` or `1.5h`; `undefined` if it is no duration, or a negative one. */
export function parseGoDuration(text: string): bigint | undefined {
  if (text.length > MAX_LENGTH || !DURATION_REGEXP.test(text)) return undefined;
  let total = 0n;
  for (const [, whole = "", fraction = "", unit = ""] of text.matchAll(PART_REGEXP)) {
    const size = NANOSECONDS[unit] ?? 0n;
    const part = Math.floor(Number(fraction || "0") * (Number(size) / 10 ** fraction.length));
    total += BigInt(whole || "0") * size + BigInt(part);
  }
  return total <= MAX_NANOSECONDS ? total : undefined;
}

/** `nanoseconds` as Go prints it: `10m0s`, `1h30m0s`, `1.5s`, `20ms`, `0s`. */
export function formatGoDuration(nanoseconds: bigint): string {
  if (nanoseconds === 0n) return "0s";
  if (nanoseconds < 1_000n) return `${nanoseconds}ns`;
  if (nanoseconds < 1_000_000n) return `${decimal(nanoseconds, 3)}µs`;
  if (nanoseconds < 1_000_000_000n) return `${decimal(nanoseconds, 6)}ms`;
  const minutes = nanoseconds / 60_000_000_000n;
  const seconds = `${decimal(nanoseconds % 60_000_000_000n, 9)}s`;
  const hours = minutes / 60n;
  return hours > 0n ? `${hours}h${minutes % 60n}m${seconds}` : minutes > 0n ? `${minutes}m${seconds}` : seconds;
}

/** `value` with its last `digits` behind a point, without trailing zeros. */
function decimal(value: bigint, digits: number): string {
  const text = String(value).padStart(digits + 1, "0");
  return `${text.slice(0, -digits)}.${text.slice(-digits)}`.replace(/\.?0*$/, "");
}
