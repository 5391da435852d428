// What is wrong with the folder now, by what it is about. Each is said when it comes up, and again when it came up after it was gone. Pure.

/** Problems as they come and go. */
export class StandingProblems {
  readonly #standing = new Map<string, ReadonlySet<string>>();
  readonly #tell: (message: string) => void;

  constructor(tell: (message: string) => void) {
    this.#tell = tell;
  }

  /** Everything that is wrong about `subject` now; `tell` says what was not wrong before. */
  set(subject: string, messages: readonly string[], tell = this.#tell): void {
    const before = this.#standing.get(subject);
    for (const message of new Set(messages)) if (!before?.has(message)) tell(message);
    if (messages.length === 0) this.#standing.delete(subject);
    else this.#standing.set(subject, new Set(messages));
  }

  /** The first thing that is wrong, and how many others are; `undefined` if nothing is. */
  get summary(): string | undefined {
    const [first, ...others] = [...this.#standing.values()].flatMap((messages) => [...messages]);
    return first === undefined || others.length === 0 ? first : `${first} (and ${others.length} more)`;
  }
}
