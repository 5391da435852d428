// Files of credentials, read again when they were rotated. Contents never enter messages.
import { readFile, stat } from "node:fs/promises";
import type { Clock } from "../../runtime/clock.ts";
import { errorMessage, K3slbError } from "../../shared/errors.ts";

/** The content of one credential, now. */
export interface CredentialText {
  /** @throws {K3slbError} code `credentials-unreadable` */
  read(options?: { readonly refresh?: boolean }): Promise<string>;
}

/**
 * The credential that `data` is or `file` holds, data first as in kubectl; `undefined` if there is neither. A file is looked at again at most once in 10 s and read
 * when it changed. A file that cannot be read while a former content is known, as in the middle of a rotation, gives the former one.
 */
export function credentialText(
  { data, file }: { readonly file?: string | undefined; readonly data?: string | undefined },
  options: { readonly what: string; readonly clock: Clock },
): CredentialText | undefined {
  if (data !== undefined) return { read: () => Promise.resolve(data) };
  return file === undefined ? undefined : new RotatedFile(file, options);
}

class RotatedFile implements CredentialText {
  readonly #path: string;
  readonly #what: string;
  readonly #clock: Clock;
  #known: { readonly text: string; readonly signature: string } | undefined;
  #checkedAtMs = Number.NEGATIVE_INFINITY;

  constructor(path: string, options: { readonly what: string; readonly clock: Clock }) {
    this.#path = path;
    this.#what = options.what;
    this.#clock = options.clock;
  }

  async read(options: { readonly refresh?: boolean } = {}): Promise<string> {
    const nowMs = this.#clock.monotonicMs();
    const isDue = options.refresh === true || nowMs - this.#checkedAtMs >= CHECK_INTERVAL_MS;
    if (this.#known !== undefined && !isDue) return this.#known.text;
    try {
      // stat follows links: kubelet and mounted tokens rotate by switching a link.
      const { ino, size, mtimeMs } = await stat(this.#path);
      const signature = `${ino} ${size} ${mtimeMs}`;
      if (this.#known?.signature !== signature || options.refresh === true) {
        const text = await readFile(this.#path, "utf8");
        if (text.trim() === "") throw new Error("the file is empty");
        this.#known = { text, signature };
      }
      this.#checkedAtMs = nowMs;
      return this.#known.text;
    } catch (error) {
      if (this.#known !== undefined) return this.#known.text;
      throw new K3slbError(`Cannot read the ${this.#what} "${this.#path}": ${errorMessage(error)}`, {
        code: "credentials-unreadable",
        hint: "Check that the file exists and that this user may read it",
        retriable: true,
        details: { file: this.#path },
        cause: error,
      });
    }
  }
}

const CHECK_INTERVAL_MS = 10_000;
