// Searches all lines of a console, however long it is.

import { plainLine } from "./ansi.js";

/** Lines beyond these are counted, but not led to. */
const MOST_LINES = 100000;
/** How long a search works before the page has its turn, in milliseconds. */
const TURN = 30;

/** How often a text has another one, which is in small letters. Pure. */
export function occurrences(text, wanted) {
  const lower = text.toLowerCase();
  let [found, at] = [0, lower.indexOf(wanted)];
  while (at >= 0) {
    found += 1;
    at = lower.indexOf(wanted, at + wanted.length);
  }
  return found;
}

/** The places of a text in a line as it is shown, as `[from, to]`. Pure. */
export function placesIn(text, wanted) {
  const lower = text.toLowerCase();
  // In few languages small letters are more characters than large ones; then places would not fit.
  if (!wanted || lower.length !== text.length) return [];
  const places = [];
  for (let at = lower.indexOf(wanted); at >= 0 && places.length < 1000; at = lower.indexOf(wanted, at + wanted.length)) {
    places.push([at, at + wanted.length]);
  }
  return places;
}

/**
 * Searches.
 * @param {import("./source.js").Source} source
 * @param {string} text
 * @param {boolean} isOver
 * @param {AbortSignal} signal
 * @param {(found: {count: number, lines: number[], isDone: boolean}) => void} tell of what was found so far
 */
export async function search(source, text, isOver, signal, tell) {
  const wanted = text.toLowerCase();
  const found = { count: 0, lines: [], isDone: false };
  let turn = performance.now();
  for await (const { first, lines } of source.all(isOver, signal)) {
    for (let at = 0; at < lines.length; at += 1) {
      const number = occurrences(plainLine(lines[at]), wanted);
      if (number) {
        found.count += number;
        if (found.lines.length < MOST_LINES) found.lines.push(first + at);
      }
      if (performance.now() - turn > TURN) {
        tell(found);
        await new Promise((resolve) => setTimeout(resolve));
        signal.throwIfAborted();
        turn = performance.now();
      }
    }
  }
  found.isDone = true;
  tell(found);
}
