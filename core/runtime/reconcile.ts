// How one reconciliation of a key ends: the one contract of all loops, after controller-runtime's `reconcile` package. Pure.

/**
 * Brings what belongs to `key` nearer to what is wanted, from the whole present state. It ends in one of four ways:
 * - *done*: resolves with nothing; the key comes again when something changes;
 * - *again in*: resolves with milliseconds after which the key comes again though nothing has changed;
 * - *failed*: rejects; the key comes again after a backoff that grows with each failure in a row;
 * - *never again*: what no second try can help, such as a value that can't be read, is told (condition, Event, log) and is *done*.
 */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<number | void>;
