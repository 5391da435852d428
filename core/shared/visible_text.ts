// Foreign words on their way to a terminal, a log, an Event or a condition: what steers a terminal or hides text is shown, never sent. Pure.
// Facts: ECMA-48 (C0 and C1 control characters, ESC sequences), Unicode Standard Annex 9 (marks that turn the direction of text).

/** `text` with control and format characters as `\uXXXX`, which is their form in JSON too; line feeds and tabs stay. */
export function visibleText(text: string): string {
  return UNSAFE_REGEXP.test(text) ? text.replaceAll(UNSAFE_CHARACTERS, escaped) : text;
}

/** `text` as one line: line ends, tabs and runs of blanks become one blank, the rest as in {@linkcode visibleText}. */
export function visibleLine(text: string): string {
  return visibleText(text.replaceAll(/\s+/g, " ").trim());
}

/** Whether `text` has a character that {@linkcode visibleText} would show in another form, or a line feed or tab. */
export function hasControls(text: string): boolean {
  return UNSAFE_REGEXP.test(text) || /[\n\t]/.test(text);
}

function escaped(character: string): string {
  let shown = "";
  for (let i = 0; i < character.length; i++) {
    shown += `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`;
  }
  return shown;
}

const UNSAFE = String.raw`(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`;
const UNSAFE_REGEXP = new RegExp(UNSAFE, "u");
const UNSAFE_CHARACTERS = new RegExp(UNSAFE, "gu");
