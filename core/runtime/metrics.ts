// Numbers about the running program in Prometheus' text format 0.0.4. A small registry; no collection of its own.
// Format: https://prometheus.io/docs/instrumenting/exposition_formats/.
import { compareText } from "../shared/compare_text.ts";

/** Names and values of one series; the names must be the same for every series of a metric. */
export type MetricLabels = Readonly<Record<string, string>>;

/** A number that only grows. */
export interface Counter {
  /**
   * Adds to the number with these labels.
   * @param amount Not negative; 1 if absent.
   */
  add(labels?: MetricLabels, amount?: number): void;
}

/** A number that is what it is now. */
export interface Gauge {
  /** Sets the number with these labels. */
  set(value: number, labels?: MetricLabels): void;
  /** Takes a series away, as of an object that is gone. */
  remove(labels: MetricLabels): void;
}

/** How values are spread. */
export interface Histogram {
  /** Counts one value. */
  observe(value: number, labels?: MetricLabels): void;
}

/** What every metric has. */
export interface MetricOptions {
  /** Full name with unit, such as `k3slb_sync_duration_seconds`; counters end in `_total`. */
  readonly name: string;
  /** What is counted, in one line. */
  readonly help: string;
}

/** What a histogram has. */
export interface HistogramOptions extends MetricOptions {
  /**
   * Upper bounds, rising, without infinity.
   * @default {DURATION_BUCKETS_SECONDS}
   */
  readonly buckets?: readonly number[];
}

/** The number of a metric without labels, or each series of one that has them. */
export type ReadSamples = () => number | Iterable<readonly [MetricLabels, number]>;

/** Metrics by name. */
export interface MetricRegistry {
  /** A number that only grows. */
  counter(options: MetricOptions): Counter;
  /** A number that goes up and down. */
  gauge(options: MetricOptions): Gauge;
  /** A gauge whose value, or whose series, are asked for when it is read. */
  gaugeOf(options: MetricOptions, read: ReadSamples): void;
  /** A counter whose value, or whose series, are asked for when it is read. */
  counterOf(options: MetricOptions, read: ReadSamples): void;
  /** Numbers counted by size. */
  histogram(options: HistogramOptions): Histogram;
  /** Everything in Prometheus' text format, in the order of registration. */
  render(): string;
}

/** Bounds in seconds for durations from 1 ms to 30 s. */
const DURATION_BUCKETS_SECONDS: readonly number[] = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
];

/** `Content-Type` of {@linkcode MetricRegistry.render}. */
export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** An empty registry. */
export function createMetricRegistry(): MetricRegistry {
  return new TextRegistry();
}

class TextRegistry implements MetricRegistry {
  readonly #metrics = new Map<string, () => string>();

  counter(options: MetricOptions): Counter {
    const values = new Map<string, number>();
    this.#register(options, "counter", () => sampleLines(options.name, values));
    return {
      add: (labels = {}, amount = 1) => {
        if (!(amount >= 0)) throw new RangeError(`Counter ${options.name} cannot go down`);
        const key = labelText(labels);
        values.set(key, (values.get(key) ?? 0) + amount);
      },
    };
  }

  gauge(options: MetricOptions): Gauge {
    const values = new Map<string, number>();
    this.#register(options, "gauge", () => sampleLines(options.name, values));
    return {
      set: (value, labels = {}) => void values.set(labelText(labels), value),
      remove: (labels) => void values.delete(labelText(labels)),
    };
  }

  gaugeOf(options: MetricOptions, read: ReadSamples): void {
    this.#register(options, "gauge", () => readLines(options.name, read));
  }

  counterOf(options: MetricOptions, read: ReadSamples): void {
    this.#register(options, "counter", () => readLines(options.name, read));
  }

  histogram(options: HistogramOptions): Histogram {
    const { name, buckets = DURATION_BUCKETS_SECONDS } = options;
    const series = new Map<string, { readonly counts: number[]; sum: number; count: number }>();
    this.#register(options, "histogram", () => {
      let text = "";
      for (const [labels, { counts, sum, count }] of series) {
        let below = 0;
        for (const [index, bound] of buckets.entries()) {
          below += counts[index] ?? 0;
          text += `${name}_bucket${braces(labels, `le="${bound}"`)} ${below}\n`;
        }
        text += `${name}_bucket${braces(labels, `le="+Inf"`)} ${count}\n`;
        text += `${name}_sum${braces(labels)} ${numberText(sum)}\n${name}_count${braces(labels)} ${count}\n`;
      }
      return text;
    });
    return {
      observe: (value, labels = {}) => {
        const key = labelText(labels);
        const one = series.get(key) ?? { counts: buckets.map(() => 0), sum: 0, count: 0 };
        series.set(key, one);
        const index = buckets.findIndex((bound) => value <= bound);
        if (index !== -1) one.counts[index] = (one.counts[index] ?? 0) + 1;
        one.sum += value;
        one.count++;
      },
    };
  }

  render(): string {
    return [...this.#metrics.values()].map((render) => render()).join("");
  }

  #register(options: MetricOptions, type: string, render: () => string): void {
    const { name, help } = options;
    if (!METRIC_NAME_REGEXP.test(name)) throw new RangeError(`Metric name "${name}" is not valid`);
    if (this.#metrics.has(name)) throw new RangeError(`Metric "${name}" is registered twice`);
    const head = `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n`;
    this.#metrics.set(name, () => head + render());
  }
}

function sampleLines(name: string, values: ReadonlyMap<string, number>): string {
  return [...values].map(([labels, value]) => `${name}${braces(labels)} ${numberText(value)}\n`).join("");
}

function readLines(name: string, read: ReadSamples): string {
  const samples = read();
  if (typeof samples === "number") return `${name} ${numberText(samples)}\n`;
  return sampleLines(name, new Map([...samples].map(([labels, value]) => [labelText(labels), value])));
}

function labelText(labels: MetricLabels): string {
  return Object.entries(labels)
    .sort(([a], [b]) => compareText(a, b))
    .map(([name, value]) =>
      `${name}="${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`
    )
    .join(",");
}

function braces(...parts: readonly string[]): string {
  const text = parts.filter((part) => part !== "").join(",");
  return text === "" ? "" : `{${text}}`;
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}

const METRIC_NAME_REGEXP = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
