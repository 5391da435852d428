// Words of the command line of the build's programs.
import { parseArgs, type ParseArgsConfig } from "node:util";
import { errorMessage, K3slbError } from "../core/shared/errors.ts";

/**
 * What the words say, as `parseArgs` takes them apart.
 * @throws {K3slbError} code "usage", with `usage` as its hint
 */
export function readWords<const Config extends ParseArgsConfig>(
  config: Config,
  usage: string,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs(config);
  } catch (error) {
    throw new K3slbError(errorMessage(error), { code: "usage", hint: usage });
  }
}

/**
 * `word`, which names one of `known`.
 * @throws {K3slbError} code "usage" if it does not
 */
export function knownWord<Word extends string>(
  word: string,
  { what, known, usage }: { readonly what: string; readonly known: readonly Word[]; readonly usage: string },
): Word {
  const found = known.find((one) => one === word);
  if (found !== undefined) return found;
  throw new K3slbError(`${what} "${word}" is not known`, { code: "usage", hint: usage });
}
