// What of a stranger's text reaches the screen. Pure.

/** Characters that are never seen or that change the order in which text is read. */
const OBEYED =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\u{e0001}|[\u{e0020}-\u{e007f}]/gu;

/**
 * A text with everything written out that a reader would not see: `\u{202e}`. Line feeds and tabs stay.
 * @param {unknown} text
 * @returns {string}
 */
export function visible(text) {
  return String(text ?? "").replace(OBEYED, (character) => {
    return `\\u{${character.codePointAt(0).toString(16)}}`;
  });
}

/**
 * A text on one line and not longer than `length`, with an ellipsis where some of it is left out.
 * @param {unknown} text
 * @param {number} length
 */
export function short(text, length) {
  const line = visible(text).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

/**
 * The address where it is one of the web, else null: what strangers name must not run as a script.
 * @param {unknown} address
 * @returns {string | null}
 */
export function webAddress(address) {
  if (typeof address !== "string" || !/^https?:\/\//i.test(address)) return null;
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
