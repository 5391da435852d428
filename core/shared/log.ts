// The log: one line per event, as text or JSON. Where lines go and what time it is are given by the caller.
import { hasControls, visibleLine, visibleText } from "./visible_text.ts";

/** How important a line is; lines below the chosen level are not written. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Every level, least important first. */
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** How a line is written. */
export type LogFormat = "text" | "json";

/** Named values beside a message. `undefined` values are left out. */
export type LogFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** Writes lines. Safe to call at any time; never throws. */
export interface Logger {
  /** For those who look for a fault. */
  debug(message: string, fields?: LogFields): void;
  /** What an operator wants to know. */
  info(message: string, fields?: LogFields): void;
  /** What may need somebody. */
  warn(message: string, fields?: LogFields): void;
  /** What needs somebody. */
  error(message: string, fields?: LogFields): void;
  /** The same log with `fields` on every line. */
  with(fields: LogFields): Logger;
}

/** What {@linkcode createLogger} needs. */
export interface LoggerOptions {
  /** Least important lines that are written. */
  readonly level: LogLevel;
  /** For people or for programs. */
  readonly format: LogFormat;
  /** Takes one finished line without its line end. */
  readonly write: (line: string) => void;
  /** Current time in milliseconds since 1970. */
  readonly now: () => number;
}

/** A log that writes through `options.write`. */
export function createLogger(options: LoggerOptions, fields: LogFields = {}): Logger {
  const threshold = LOG_LEVELS.indexOf(options.level);
  const render = options.format === "json" ? renderJsonLine : renderTextLine;
  const log = (level: LogLevel) => (message: string, more: LogFields = {}): void => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    options.write(render(options.now(), level, message, { ...fields, ...more }));
  };
  return {
    debug: log("debug"),
    info: log("info"),
    warn: log("warn"),
    error: log("error"),
    with: (more) => createLogger(options, { ...fields, ...more }),
  };
}

/** A log that writes nothing. */
export const SILENT_LOGGER: Logger = createLogger({
  level: "error",
  format: "text",
  write: () => {},
  now: () => 0,
});

function renderJsonLine(timeMs: number, level: LogLevel, message: string, fields: LogFields): string {
  // JSON escapes some control characters, not those from U+007F on.
  return visibleText(JSON.stringify({ time: new Date(timeMs).toISOString(), level, message, ...fields }));
}

function renderTextLine(timeMs: number, level: LogLevel, message: string, fields: LogFields): string {
  const pairs = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${renderValue(value)}`);
  return `${new Date(timeMs).toISOString()} ${level.toUpperCase().padEnd(5)} ${visibleLine(message)}${pairs.join("")}`;
}

/** Values with blanks, quotes, `=` or control characters are quoted as JSON, so that a line stays one line. */
function renderValue(value: LogFields[string]): string {
  const text = Array.isArray(value) ? value.join(",") : String(value);
  return PLAIN_VALUE_REGEXP.test(text) && !hasControls(text) ? text : visibleText(JSON.stringify(text));
}

const PLAIN_VALUE_REGEXP = /^[^\s"=]+$/;
