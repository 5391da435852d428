// Durations as Go reads and prints them, for helm's `--timeout`. Pure.
// Facts: Go's `time.ParseDuration` and `Duration.String`.

const NANOSECONDS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  "µs": 1e3,
  "μs": 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds in a text such as `1h30m` or `1.5h`; `undefined` if it is no duration. Precise to 2^53 ns (104 days) only. */
export function parseGoDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^([0-9]+(\.[0-9]*)?(ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(/([0-9.]+)([a-zµμ]+)/g)) {
    total += Math.floor(Number(amount) * (NANOSECONDS[unit] ?? Number.NaN));
  }
  return Number.isSafeInteger(total) ? total : undefined;
}

/** `nanoseconds` as Go prints it: `10m0s`, `1h30m0s`, `1.5s`, `20ms`, `0s`. */
export function formatGoDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return "0s";
  if (nanoseconds < 1e9) {
    const [unit, size] = nanoseconds < 1e3 ? ["ns", 1] : nanoseconds < 1e6 ? ["µs", 1e3] : ["ms", 1e6];
    return `${fraction(nanoseconds, Number(size))}${unit}`;
  }
  const minutes = Math.floor(nanoseconds / 60e9);
  const seconds = `${fraction(nanoseconds - minutes * 60e9, 1e9)}s`;
  const hours = Math.floor(minutes / 60);
  return hours > 0 ? `${hours}h${minutes % 60}m${seconds}` : minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** `value / size` in decimal without trailing zeros; `size` is a power of ten. */
function fraction(value: number, size: number): string {
  const digits = String(size).length - 1;
  const text = String(Math.round(value)).padStart(digits + 1, "0");
  if (digits === 0) return text;
  const cut = text.length - digits;
  return `${text.slice(0, cut)}.${text.slice(cut)}`.replace(/\.?0*$/, "");
}
