// The files that an atom left, to look at or to save.

import { readOr } from "../api.js";
import { fill, h, name } from "../dom.js";
import { bytes, count } from "../format.js";
import { short } from "../text.js";

/** How many files are listed at first, and for each push of the button. */
const PAGE = 200;
/** Larger files are saved only. */
const LARGEST_SHOWN = 20e6;
/** Files that nobody reads as text. */
const CLOSED = /\.(7z|a|bin|bz2|class|core|dat|db|deb|dll|exe|gz|iso|jar|mov|mp4|o|pdf|pyc|rpm|so|sqlite|tar|tgz|war|webm|whl|woff2?|xz|zip|zst)$/i;

/** The address of a file. Pure. @param {string} place the path of its atom */
export function addressOf(place, path) {
  return `${place}/artifacts/${path.split("/").map(encodeURIComponent).join("/")}`;
}

/** Whether a browser can show a file as text or as a picture. Pure. */
export function canBeShown({ path, bytes: size }) {
  return size <= LARGEST_SHOWN && !CLOSED.test(path);
}

/** A list that is hidden while there are no files. */
export class Artifacts {
  #read = 0;

  /** @param {string} place the path of the atom in the API @param {AbortSignal} signal */
  constructor(place, signal) {
    this.place = place;
    this.signal = signal;
    this.words = h("summary");
    this.list = h("ul");
    this.more = h("button", { type: "button", on: { click: () => this.load() } });
    this.element = h("details", { class: "artifacts", hidden: true }, this.words, this.list, this.more);
  }

  /** Reads the next files and lists them. */
  async load() {
    this.more.disabled = true;
    const found = await readOr(null, `${this.place}/artifacts?offset=${this.#read}&limit=${PAGE}`, this.signal).catch(() => null);
    this.more.disabled = false;
    if (!found) return;
    const { artifacts, total } = found;
    const isFirst = this.#read === 0;
    this.#read += artifacts.length;
    this.element.hidden = !total;
    fill(this.words, count(total, "file"));
    const items = artifacts.map((file) => this.#item(file));
    this.list.append(...items);
    const left = total - this.#read;
    this.more.hidden = !left || !artifacts.length;
    fill(this.more, `Show ${count(Math.min(PAGE, left), "more file")}`);
    // The button is gone or further down: what it brought is what comes next.
    if (!isFirst) items[0]?.querySelector("a")?.focus();
  }

  #item(file) {
    const href = addressOf(this.place, file.path);
    const text = name(short(file.path, 300));
    const save = { href, download: file.path.slice(file.path.lastIndexOf("/") + 1) };
    const isShown = canBeShown(file);
    return h("li", {},
      isShown ? h("a", { href: `${href}?view`, target: "_blank", rel: "noreferrer noopener" }, text) : h("a", save, text),
      h("span", { class: "muted small" }, bytes(file.bytes)),
      isShown ? h("a", { ...save, class: "small", "aria-label": `Download ${short(file.path, 300)}` }, "Download") : null);
  }
}
