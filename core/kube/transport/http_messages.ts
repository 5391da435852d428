// HTTP/1.1 as a client speaks it: requests as bytes, answers out of bytes as they come (RFC 9112). Pure. Sockets are connections.ts's business,
// time and size limits exchange.ts's.

/** What {@linkcode renderRequest} takes. */
export interface HttpRequest {
  readonly method: string;
  /** Path with its query. */
  readonly target: string;
  /** In order; a name may come several times. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body?: string;
}

/** What stands before an answer's body. */
export interface HttpHead {
  readonly status: number;
  /** By names in lower case; values of those that came several times are joined by commas. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The bytes of a request; the length of its body is added.
 *
 * @throws {TypeError} if something would end a line early, naming the header but never its value
 */
export function renderRequest({ method, target, headers, body }: HttpRequest): Uint8Array {
  if (!TARGET_REGEXP.test(target)) throw new TypeError("Invalid character in the path");
  const lines = [`${method} ${target} HTTP/1.1`];
  const add = (name: string, value: string): void => {
    if (!NAME_REGEXP.test(name) || !VALUE_REGEXP.test(value)) {
      throw new TypeError(`Invalid character in header "${name}"`);
    }
    lines.push(`${name}: ${value}`);
  };
  for (const [name, value] of headers) add(name, value);
  const bytes = Buffer.from(body ?? "");
  if (body !== undefined) add("content-length", String(bytes.length));
  return Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), bytes]);
}

/** Reads one answer, whose bytes may be torn anywhere. */
export class AnswerReader {
  /** `undefined` until all of it is there. */
  head: HttpHead | undefined;
  isComplete = false;
  #isKept = false;
  #part: "status" | "header" | "sized" | "endless" | "chunk size" | "chunk" | "chunk end" | "trailer" = "status";
  #status = 0;
  #headers: Record<string, string> = {};
  /** Of a line that has not ended. */
  #text = "";
  /** Bytes that are still to come of the body or of a chunk. */
  #left = 0;
  #lineBytes = 0;

  /** Whether the connection serves another request after this answer, which is complete. */
  get isConnectionKept(): boolean {
    return this.isComplete && this.#isKept;
  }

  /**
   * The parts of the body that are in `bytes`.
   *
   * @throws {SyntaxError} if it is no answer
   */
  push(bytes: Uint8Array): Uint8Array[] {
    const body: Uint8Array[] = [];
    let at = 0;
    while (at < bytes.length) {
      // Nobody has asked for more: who talks on can't be trusted with the next request.
      if (this.isComplete) {
        this.#isKept = false;
        break;
      }
      if (this.#part === "sized" || this.#part === "chunk" || this.#part === "endless") {
        const end = this.#part === "endless" ? bytes.length : Math.min(bytes.length, at + this.#left);
        body.push(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left === 0 && this.#part !== "endless") this.#endPart();
        continue;
      }
      const lineEnd = bytes.indexOf(LINE_FEED, at);
      this.#keepText(bytes.subarray(at, lineEnd === -1 ? bytes.length : lineEnd));
      if (lineEnd === -1) break;
      at = lineEnd + 1;
      const line = this.#text.endsWith("\r") ? this.#text.slice(0, -1) : this.#text;
      this.#text = "";
      this.#takeLine(line);
    }
    return body;
  }

  /** The connection has ended: whether that completes the answer. */
  end(): boolean {
    if (this.#part === "endless") this.isComplete = true;
    return this.isComplete;
  }

  #keepText(bytes: Uint8Array): void {
    this.#lineBytes += bytes.length;
    if (this.#lineBytes > MAX_LINE_BYTES) throw new SyntaxError("the lines before the answer's body have no end");
    this.#text += Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
    // Who speaks something else may never end its line.
    if (this.#part === "status" && !PROTOCOL.startsWith(this.#text.slice(0, PROTOCOL.length))) throw notHttp();
  }

  #takeLine(line: string): void {
    if (this.#part === "status") return this.#takeStatus(line);
    if (this.#part === "header") return line === "" ? this.#endHead() : this.#takeHeader(line);
    if (this.#part === "chunk size") return this.#takeChunkSize(line);
    if (this.#part === "chunk end") {
      if (line !== "") throw new SyntaxError("a chunk of the answer is longer than it says");
      this.#part = "chunk size";
    } else if (line === "") this.#complete();
  }

  #takeStatus(line: string): void {
    const [, minor, status] = STATUS_REGEXP.exec(line) ?? [];
    if (status === undefined) throw notHttp();
    this.#status = Number(status);
    this.#isKept = minor === "1";
    this.#headers = {};
    this.#part = "header";
  }

  #takeHeader(line: string): void {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    if (!NAME_REGEXP.test(name)) throw new SyntaxError("a header of the answer has no name");
    const value = line.slice(colon + 1).trim();
    const former = this.#headers[name];
    this.#headers[name] = former === undefined ? value : `${former}, ${value}`;
  }

  #endHead(): void {
    const isInterim = this.#status < 200;
    if (isInterim) {
      this.#part = "status";
      return;
    }
    const { connection = "", "transfer-encoding": encoding, "content-length": length } = this.#headers;
    this.head = { status: this.#status, headers: this.#headers };
    if (/\bclose\b/i.test(connection)) this.#isKept = false;
    if (this.#status === 204 || this.#status === 304) return this.#complete();
    if (encoding !== undefined) {
      if (encoding.toLowerCase() !== "chunked") throw new SyntaxError("the answer's body is encoded");
      // Two lengths are what servers are tricked with.
      if (length !== undefined) this.#isKept = false;
      this.#part = "chunk size";
    } else if (length === undefined) {
      this.#isKept = false;
      this.#part = "endless";
    } else {
      if (!/^\d{1,15}$/.test(length)) throw new SyntaxError("the answer's length is not a number");
      this.#left = Number(length);
      this.#part = "sized";
      if (this.#left === 0) this.#complete();
    }
  }

  #takeChunkSize(line: string): void {
    const [size = ""] = line.split(";", 1);
    if (!/^[0-9a-f]{1,12}\s*$/i.test(size)) throw new SyntaxError("a chunk of the answer has no length");
    this.#lineBytes = 0;
    this.#left = parseInt(size, 16);
    this.#part = this.#left === 0 ? "trailer" : "chunk";
  }

  #endPart(): void {
    if (this.#part === "sized") this.#complete();
    else this.#part = "chunk end";
  }

  #complete(): void {
    this.isComplete = true;
  }
}

function notHttp(): SyntaxError {
  return new SyntaxError("it does not begin as HTTP/1.1 does");
}

const PROTOCOL = "HTTP/1.";
const STATUS_REGEXP = /^HTTP\/1\.([01]) (\d{3})(?: |$)/;
/** RFC 9110, "token". */
const NAME_REGEXP = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE_REGEXP = /^[\t\x20-\x7e\x80-\xff]*$/;
const TARGET_REGEXP = /^\/[\x21-\x7e]*$/;
const LINE_FEED = 0x0a;
/** Of a head, and of what stands between two chunks. */
const MAX_LINE_BYTES = 64 * 1024;
