// Files of credentials, read again when they were rotated. Contents never enter messages.
import { readFile, stat } from "node:fs/promises";
import type { Clock } from "../../runtime/clock.ts";
import { errorMessage, K3slbError } from "../../shared/errors.ts";

/**
 * The content of one credential, now; with `refresh` what is known is not taken for granted.
 *
 * @throws {K3slbError} code `credentials-unreadable`
 */
export type CredentialText = (options?: { readonly refresh?: boolean }) => Promise<string>;

/**
 * The credential that `data` is or `file` holds, data first as in kubectl; `undefined` if there is neither. A file is looked at again at most
 * once in 10 s and read when it changed. A file that cannot be read while a former content is known, as in the middle of a rotation, gives the
 * former one.
 */
export function credentialText(
  { data, file }: { readonly file?: string | undefined; readonly data?: string | undefined },
  { what, clock }: { readonly what: string; readonly clock: Clock },
): CredentialText | undefined {
  if (data !== undefined) return () => Promise.resolve(data);
  if (file === undefined) return undefined;
  let known: { readonly text: string; readonly signature: string } | undefined;
  let checkedAtMs = Number.NEGATIVE_INFINITY;
  return async ({ refresh = false } = {}) => {
    const nowMs = clock.monotonicMs();
    if (known !== undefined && !refresh && nowMs - checkedAtMs < CHECK_INTERVAL_MS) return known.text;
    try {
      // stat follows links: kubelet and mounted tokens rotate by switching a link.
      const { ino, size, mtimeMs } = await stat(file);
      const signature = `${ino} ${size} ${mtimeMs}`;
      if (known?.signature !== signature || refresh) {
        const text = await readFile(file, "utf8");
        if (text.trim() === "") throw new Error("the file is empty");
        known = { text, signature };
      }
      checkedAtMs = nowMs;
      return known.text;
    } catch (error) {
      if (known !== undefined) return known.text;
      throw new K3slbError(`Cannot read the ${what} "${file}": ${errorMessage(error)}`, {
        code: "credentials-unreadable",
        hint: "Check that the file exists and that this user may read it",
        retriable: true,
        details: { file },
        cause: error,
      });
    }
  };
}

const CHECK_INTERVAL_MS = 10_000;
