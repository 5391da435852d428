// Keys that wait, each once, by groups that take turns: whoever has much to do does not keep others waiting. In-memory only, no I/O.

/** Keys in the order in which they came within their group, groups by turns. */
export class Turns {
  readonly #groupOf: (key: string) => string;
  /** The first group is next. */
  readonly #groups = new Map<string, Set<string>>();
  /** Keys that wait. */
  size = 0;

  constructor(groupOf: (key: string) => string) {
    this.#groupOf = groupOf;
  }

  /** Puts the key at the end of its group. */
  add(key: string): void {
    const group = this.#groupOf(key);
    const keys = this.#groups.get(group) ?? new Set();
    if (!keys.has(key)) this.size++;
    this.#groups.set(group, keys.add(key));
  }

  /** The key no longer waits. */
  delete(key: string): void {
    const group = this.#groupOf(key);
    const keys = this.#groups.get(group);
    if (!keys?.delete(key)) return;
    this.size--;
    if (keys.size === 0) this.#groups.delete(group);
  }

  /** The next key, which no longer waits. */
  take(): string | undefined {
    for (const [group, keys] of this.#groups) {
      this.#groups.delete(group);
      for (const key of keys) {
        keys.delete(key);
        this.size--;
        if (keys.size > 0) this.#groups.set(group, keys);
        return key;
      }
    }
    return undefined;
  }

  /** All of a group, which no longer wait. */
  takeGroup(group: string): Iterable<string> {
    const keys = this.#groups.get(group) ?? new Set();
    this.#groups.delete(group);
    this.size -= keys.size;
    return keys;
  }

  /** How many of `group` wait. */
  waitingOf(group: string): number {
    return this.#groups.get(group)?.size ?? 0;
  }

  clear(): void {
    this.#groups.clear();
    this.size = 0;
  }
}
