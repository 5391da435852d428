// A stream of bytes as lines. Pure. Each byte is looked at once and copied at most once, however large a line is.

/** Splits chunks into lines without their line ends; the last line needs none. */
export class LineSplitter {
  #parts: Uint8Array[] = [];
  #pendingBytes = 0;
  readonly #decoder = new TextDecoder();
  readonly #maxLineBytes: number;

  /** @param maxLineBytes A longer line is a {@linkcode RangeError}. */
  constructor(maxLineBytes: number) {
    this.#maxLineBytes = maxLineBytes;
  }

  /** Number of bytes after the last line end. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The lines that `chunk` completes. */
  push(chunk: Uint8Array): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      this.#keep(chunk.subarray(start, end));
      lines.push(this.#take());
      start = end + 1;
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return lines;
  }

  /** What stands after the last line end; empty if nothing does. */
  rest(): string {
    return this.#take();
  }

  #keep(part: Uint8Array): void {
    this.#pendingBytes += part.length;
    if (this.#pendingBytes > this.#maxLineBytes) {
      throw new RangeError(`Line is longer than ${this.#maxLineBytes} bytes`);
    }
    this.#parts.push(part);
  }

  #take(): string {
    const [only] = this.#parts;
    const bytes = this.#parts.length === 1 && only !== undefined ? only : joinBytes(this.#parts, this.#pendingBytes);
    this.#parts = [];
    this.#pendingBytes = 0;
    return this.#decoder.decode(bytes);
  }
}

function joinBytes(parts: readonly Uint8Array[], size: number): Uint8Array {
  const joined = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

const LINE_FEED = 0x0a;
