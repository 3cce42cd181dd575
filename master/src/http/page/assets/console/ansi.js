// What a line of a terminal looks like: colours, links, and what overwrites what. Pure.

import { visible, webAddress } from "../text.js";

/**
 * How a piece of text looks. Colours are numbers: 0 to 255 of a terminal, or 2^24 and more with red, green and blue.
 * @typedef {{fg: number | null, bg: number | null, bold: boolean, dim: boolean, italic: boolean, underline: boolean,
 *   inverse: boolean, strike: boolean, hidden: boolean, link: string | null}} Look
 */

/** @type {Look} */
export const PLAIN = Object.freeze({ fg: null, bg: null, bold: false, dim: false, italic: false, underline: false, inverse: false,
  strike: false, hidden: false, link: null });
/** What a terminal shows is not wider; a longer line is cut. */
export const WIDEST = 20000;
const TRUE_COLOUR = 2 ** 24;

/**
 * Reads a line without its line feed.
 * @param {string} text
 * @param {Look} [look] how the line before ended
 * @returns {{pieces: {text: string, look: Look}[], look: Look, cut: number}} `cut`: characters that were left out
 */
export function readLine(text, look = PLAIN) {
  if (!/[\u0000-\u0008\u000b-\u001f\u007f\u009b\u009d]/.test(text)) {
    const cut = Math.max(0, text.length - WIDEST);
    const shown = visible(cut ? text.slice(0, WIDEST) : text);
    return { pieces: shown ? [{ text: shown, look }] : [], look, cut };
  }
  const row = new Row(look);
  let at = 0;
  while (at < text.length) {
    const character = text[at];
    const code = text.charCodeAt(at);
    if (character === "\u001b" || code === 0x9b || code === 0x9d) at = escape(text, at, row);
    else if (character === "\r") {
      row.column = 0;
      at += 1;
    } else if (character === "\b") {
      row.column = Math.max(0, row.column - 1);
      at += 1;
    } else if (code === 7) at += 1;
    else {
      const whole = String.fromCodePoint(text.codePointAt(at));
      row.put(whole);
      at += whole.length;
    }
  }
  return { pieces: row.pieces(), look: row.look, cut: row.cut };
}

/** A row of cells and where the next character goes. */
class Row {
  constructor(look) {
    this.look = look;
    this.column = 0;
    this.cut = 0;
    this.characters = [];
    this.looks = [];
  }

  put(character) {
    if (this.column >= WIDEST) {
      this.cut += 1;
      return;
    }
    while (this.characters.length < this.column) {
      this.characters.push(" ");
      this.looks.push(PLAIN);
    }
    this.characters[this.column] = character;
    this.looks[this.column] = this.look;
    this.column += 1;
  }

  /** Erases to the end, to the beginning, or all of it. */
  erase(part) {
    if (part === 0) this.characters.length = this.looks.length = Math.min(this.column, this.characters.length);
    const last = part === 1 ? Math.min(this.column + 1, this.characters.length) : part === 2 ? this.characters.length : 0;
    this.characters.fill(" ", 0, last);
    this.looks.fill(PLAIN, 0, last);
  }

  pieces() {
    const pieces = [];
    let from = 0;
    for (let at = 1; at <= this.characters.length; at += 1) {
      if (at < this.characters.length && this.looks[at] === this.looks[from]) continue;
      pieces.push({ text: visible(this.characters.slice(from, at).join("")), look: this.looks[from] });
      from = at;
    }
    return pieces;
  }
}

/** Obeys the escape sequence at a place; where it ends. One that does not end takes the rest of the line. */
function escape(text, at, row) {
  const isLong = text[at] === "\u001b";
  const kind = isLong ? text[at + 1] : text.charCodeAt(at) === 0x9b ? "[" : "]";
  const from = at + (isLong ? 2 : 1);
  if (kind === "[") {
    let end = from;
    while (end < text.length && !(text.charCodeAt(end) >= 0x40 && text.charCodeAt(end) <= 0x7e)) end += 1;
    if (end < text.length) control(text[end], text.slice(from, end), row);
    return end + 1;
  }
  if (kind === "]" || kind === "P" || kind === "X" || kind === "^" || kind === "_") {
    const ends = /\u0007|\u001b\\|\u009c/g;
    ends.lastIndex = from;
    const found = ends.exec(text);
    if (kind === "]" && found) link(text.slice(from, found.index), row);
    return found ? found.index + found[0].length : text.length;
  }
  // Sequences of two or three characters, such as the choice of a character set.
  return kind !== undefined && /[ #%()*+\-./]/.test(kind) ? from + 1 : from;
}

function control(final, parameters, row) {
  if (final === "m") {
    row.look = select(row.look, parameters);
    return;
  }
  const number = Number.parseInt(parameters, 10);
  const steps = Number.isNaN(number) || number < 1 ? 1 : Math.min(number, WIDEST);
  switch (final) {
    case "K": return row.erase(Number.isNaN(number) ? 0 : number);
    case "C": row.column = Math.min(row.column + steps, WIDEST); break;
    case "D": row.column = Math.max(0, row.column - steps); break;
    case "G": row.column = steps - 1; break;
    default: // Nothing else changes a single line.
  }
}

/** Operating system command 8: a link, of which only those to the web are taken. */
function link(body, row) {
  const found = /^8;[^;]*;([^]*)$/.exec(body);
  if (!found) return;
  const address = found[1].length > 2000 ? null : webAddress(found[1]);
  row.look = { ...row.look, link: address };
}

/** A look after "select graphic rendition". */
export function select(look, parameters) {
  const codes = parameters.split(";");
  let next = { ...look };
  for (let at = 0; at < codes.length; at += 1) {
    const parts = codes[at].split(":");
    const code = parts[0] === "" ? 0 : Number(parts[0]);
    if (code === 38 || code === 48) {
      const isShort = parts.length === 1;
      const more = isShort ? codes.slice(at + 1) : parts.slice(1);
      const [colour, taken] = colourOf(more, isShort);
      if (isShort) at += taken;
      if (colour !== null) next[code === 38 ? "fg" : "bg"] = colour;
    } else next = selected(next, code, parts[1]);
  }
  return Object.values(next).every((value) => !value && value !== 0) ? PLAIN : next;
}

/** A colour of 256 or a true one, and how many codes say it. */
function colourOf(codes, isShort) {
  const number = (text) => {
    const value = Number(text);
    return text !== "" && text !== undefined && Number.isInteger(value) && value >= 0 && value <= 255 ? value : null;
  };
  if (codes[0] === "5") return [number(codes[1]), 2];
  if (codes[0] !== "2") return [null, 0];
  // With colons a colour space may come before the colours.
  const [red, green, blue] = (isShort || codes.length < 5 ? codes.slice(1, 4) : codes.slice(2, 5)).map(number);
  const isKnown = [red, green, blue].every((value) => value !== null && value !== undefined);
  return [isKnown ? TRUE_COLOUR + red * 65536 + green * 256 + blue : null, 4];
}

function selected(look, code, part) {
  switch (code) {
    case 0: return { ...PLAIN, link: look.link };
    case 1: return { ...look, bold: true };
    case 2: return { ...look, dim: true };
    case 3: return { ...look, italic: true };
    case 4: return { ...look, underline: part !== "0" };
    case 7: return { ...look, inverse: true };
    case 8: return { ...look, hidden: true };
    case 9: return { ...look, strike: true };
    case 21: return { ...look, underline: true };
    case 22: return { ...look, bold: false, dim: false };
    case 23: return { ...look, italic: false };
    case 24: return { ...look, underline: false };
    case 27: return { ...look, inverse: false };
    case 28: return { ...look, hidden: false };
    case 29: return { ...look, strike: false };
    case 39: return { ...look, fg: null };
    case 49: return { ...look, bg: null };
    default:
  }
  if (code >= 30 && code <= 37) return { ...look, fg: code - 30 };
  if (code >= 40 && code <= 47) return { ...look, bg: code - 40 };
  if (code >= 90 && code <= 97) return { ...look, fg: code - 82 };
  if (code >= 100 && code <= 107) return { ...look, bg: code - 92 };
  return look;
}

/** The text of a line as a terminal would show it. */
export function plainLine(text) {
  return readLine(text).pieces.map((piece) => piece.text).join("");
}

/** A colour beyond the first 16 as `[red, green, blue]`; null for those, which the page's style has. */
export function rgb(colour) {
  if (colour >= TRUE_COLOUR) return [(colour >> 16) & 255, (colour >> 8) & 255, colour & 255];
  if (colour < 16) return null;
  if (colour >= 232) {
    const grey = 8 + 10 * (colour - 232);
    return [grey, grey, grey];
  }
  const level = (step) => (step ? 55 + 40 * step : 0);
  const at = colour - 16;
  return [level(Math.floor(at / 36)), level(Math.floor(at / 6) % 6), level(at % 6)];
}

/** A colour that can be read on the ground of consoles: mixed with white where it is too dark. */
export function legible([red, green, blue]) {
  const light = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
  if (light > 0.42) return [red, green, blue];
  const mix = Math.min(0.75, (0.42 - light) / (1 - light));
  return [red, green, blue].map((value) => Math.round(value + (255 - value) * mix));
}
