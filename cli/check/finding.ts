// The three ways in which a check ends. Pure.

/** How one check ended. */
export interface Finding {
  readonly result: "ok" | "failed" | "skipped";
  /** What was found, or why it was skipped. */
  readonly message: string;
  /** What to do about a failure. */
  readonly remedy?: string;
}

/** It is as it should be. */
export function ok(message: string): Finding {
  return { result: "ok", message };
}

/** It could not be told, or does not matter here. */
export function skipped(message: string): Finding {
  return { result: "skipped", message };
}

/** It is not, and this is what to do. */
export function failed(message: string, remedy: string): Finding {
  return { result: "failed", message, remedy };
}
