// Lines of a console as elements.

import { h } from "../dom.js";
import { webAddress } from "../text.js";
import { PLAIN, legible, readLine, rgb } from "./ansi.js";

/** Addresses of the web, without what ends a sentence behind them. */
const ADDRESS = /https?:\/\/[^\s"'<>`]*[^\s"'<>`.,;:!?)\]}]/g;

/**
 * A line as an element.
 * @param {string} line without its line feed
 * @param {import("./ansi.js").Look | null} look how the line before ended
 * @param {number} [more] how many characters of it are not there
 * @returns {{element: HTMLElement, look: import("./ansi.js").Look}}
 */
export function paint(line, look, more = 0) {
  const read = readLine(line, look ?? PLAIN);
  const element = h("span", { class: "text" });
  for (const piece of read.pieces) element.append(pieceOf(piece));
  const cut = read.cut + more;
  if (cut) element.append(h("span", { class: "cut" }, ` … ${cut.toLocaleString("en")} more characters; the raw output has them`));
  return { element, look: read.look };
}

function pieceOf({ text, look }) {
  if (look === PLAIN) return linked(text);
  const names = ["bold", "dim", "italic", "underline", "strike", "hidden"].filter((name) => look[name]);
  let { fg, bg } = look;
  if (look.inverse) {
    [fg, bg] = [bg, fg];
    if (fg === null) names.push("fg-ground");
    if (bg === null) names.push("bg-text");
  }
  if (fg !== null && fg < 16) names.push(`fg-${look.bold && fg < 8 ? fg + 8 : fg}`);
  if (bg !== null && bg < 16) names.push(`bg-${bg}`);
  const piece = look.link ? outside(look.link) : document.createElement("span");
  if (names.length) piece.className = names.join(" ");
  const [front, back] = [fg, bg].map((colour) => (colour === null ? null : rgb(colour)));
  // On a ground of its own a colour is what it is; on ours it must be seen.
  if (front) piece.style.color = css(bg === null && !look.inverse ? legible(front) : front);
  if (back) piece.style.backgroundColor = css(back);
  piece.append(look.link ? document.createTextNode(text) : linked(text));
  return piece;
}

/** A text in which addresses of the web are links. */
function linked(text) {
  const parts = document.createDocumentFragment();
  let at = 0;
  for (const { 0: written, index } of text.matchAll(ADDRESS)) {
    const address = webAddress(written);
    if (!address) continue;
    const link = outside(address);
    link.append(document.createTextNode(written));
    parts.append(document.createTextNode(text.slice(at, index)), link);
    at = index + written.length;
  }
  parts.append(document.createTextNode(text.slice(at)));
  return parts;
}

/** A link that leaves the page. */
function outside(address) {
  return h("a", { href: address, rel: "noreferrer noopener", target: "_blank" });
}

function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}
