// The one error class for everything an operator can see. Programmer mistakes use TypeError and RangeError.
// Style of messages: upper-case start, no final period, quoted values, what failed and why; the hint says what to do. Pure.

/** What a {@linkcode K3slbError} is made of. */
export interface K3slbErrorOptions {
  /** Stable kebab-case name of the kind of failure, such as `kubeconfig-invalid`. */
  readonly code: string;
  /** What the operator can do about it, as one sentence. */
  readonly hint?: string;
  /**
   * Whether trying the same thing again later may succeed.
   * @default {false}
   */
  readonly retriable?: boolean;
  /** Values that programs may want, never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The failure underneath. */
  readonly cause?: unknown;
}

/** A failure that an operator can see and act on. Secrets never enter its fields. */
export class K3slbError extends Error {
  /** The class. */
  override readonly name = "K3slbError";
  /** Stable kebab-case name of the kind of failure. */
  readonly code: string;
  /** What the operator can do about it. */
  readonly hint: string | undefined;
  /** Whether trying again may succeed. */
  readonly retriable: boolean;
  /** Values that programs may want, never secrets. */
  readonly details: Readonly<Record<string, unknown>>;

  /** A failure with its code. */
  constructor(message: string, options: K3slbErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.hint = options.hint;
    this.retriable = options.retriable ?? false;
    this.details = options.details ?? {};
  }
}

/** Whether `error` is a {@linkcode K3slbError} with the given code (any code if none is given). */
export function isK3slbError(error: unknown, code?: string): error is K3slbError {
  return error instanceof K3slbError && (code === undefined || error.code === code);
}

/** One line that says what went wrong, for any thrown value. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What to do about any thrown value; `undefined` if it does not say. */
export function errorHint(error: unknown): string | undefined {
  return isK3slbError(error) ? error.hint : undefined;
}

/** Whether `error` says that there is no such file or folder. */
export function isNoSuchFile(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

/** Whether `error` says that the caller's own {@linkcode AbortSignal} ended the work. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** What an operation ends with whose signal was aborted. */
export function abortError(): DOMException {
  return new DOMException("The operation was aborted", "AbortError");
}
