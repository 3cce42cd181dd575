// Shows a console of any length: only the blocks of lines in sight are elements.

import { h } from "../dom.js";
import { Heights } from "./heights.js";
import { paint } from "./paint.js";
import { placesIn } from "./search.js";

const LINE = 20, BLOCK = 50;
/** Browsers allow no higher elements than about these pixels; a longer console is scrolled by shares. */
const HIGHEST = 12e6;
/** What is rendered above and below what is in sight, in pixels. */
const SPARE = 600;

export class Viewer {
  #drawing = 0;
  #blocks = new Map();
  #looks = new Map();
  #heights = new Heights(LINE * BLOCK);
  /** Where the view begins, in pixels from the first line. */
  #top = 0;
  #setTop = -1;

  /** @param {import("./source.js").Source} source @param {AbortSignal} signal */
  constructor(source, signal) {
    this.source = source;
    this.life = source.life;
    this.isFollowing = false;
    this.isWrapping = false;
    this.marked = null;
    this.wanted = "";
    this.hit = -1;
    this.chosen = (first, last) => {};
    this.followed = () => {};
    this.lines = h("div", { class: "lines" });
    this.scroller = h("div", { class: "console viewer", tabindex: "0", role: "region", "aria-label": "Output" }, this.lines);
    const on = (event, handler, more) => this.scroller.addEventListener(event, handler, { signal, ...more });
    on("scroll", () => this.#scrolled());
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("click", (event) => this.#click(event));
    const observer = new ResizeObserver(() => {
      // Lines that do not wrap are the same at any width, and stay: a picture without them would be seen.
      if (!this.isWrapping) return this.draw();
      this.#heights.forget();
      this.#redraw();
    });
    observer.observe(this.scroller);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  /** Shows the lines that there are now. */
  update() {
    const { total, life } = this.source;
    if (life !== this.life) {
      this.life = life;
      this.#top = 0;
      this.#looks.clear();
      this.#heights.forget();
      this.#clear();
    }
    const count = Math.ceil(total / BLOCK);
    this.#heights.resize(count, LINE * (total - (count - 1) * BLOCK));
    this.draw();
  }

  wrap(isWrapping) {
    const first = this.firstLine();
    this.isWrapping = isWrapping;
    this.scroller.classList.toggle("wrap", isWrapping);
    this.#heights.forget();
    this.#redraw();
    if (!this.isFollowing) this.show(first, false);
  }

  /** The first line in sight. */
  firstLine() {
    if (!this.source.total) return 0;
    const block = this.#heights.at(this.#top);
    const share = (this.#top - this.#heights.top(block)) / this.#heights.heights[block];
    return Math.min(this.source.total - 1, block * BLOCK + Math.floor(share * BLOCK));
  }

  follow(isFollowing) {
    this.isFollowing = isFollowing;
    this.followed();
    this.draw();
  }

  /** Brings a line into sight. */
  show(line, isCentered = true) {
    const block = Math.floor(line / BLOCK);
    const share = (line - block * BLOCK) / BLOCK;
    const at = this.#heights.top(block) + share * this.#heights.heights[block];
    this.#go(at - (isCentered ? this.scroller.clientHeight / 3 : 0));
    this.#drawNow();
    // Where lines are wrapped, only the drawn line says where it is.
    const element = this.#blocks.get(block)?.element.children[line % BLOCK];
    if (element && this.isWrapping) {
      const off = element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
      this.#go(this.#top + off - (isCentered ? this.scroller.clientHeight / 3 : 0));
    }
  }

  /** Marks lines, from 0; null for none. */
  mark(first, last) {
    this.marked = first === null ? null : [first, last];
    this.#redraw();
  }

  /** Shows where a text is, and the line that a search has come to. */
  find(wanted, hit) {
    this.wanted = wanted.toLowerCase();
    this.hit = hit;
    if (hit >= 0) {
      this.isFollowing = false;
      this.followed();
      this.#redraw();
      this.show(hit);
    } else this.#redraw();
  }

  #clear() {
    for (const { element } of this.#blocks.values()) element.remove();
    this.#blocks.clear();
  }

  #redraw() {
    this.#clear();
    this.draw();
  }

  draw() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#drawNow();
    });
  }

  get #highest() {
    return Math.max(0, this.#heights.total - this.scroller.clientHeight + 2 * LINE);
  }

  /** How many pixels of the console one pixel of the scroll bar is. */
  get #scale() {
    const height = this.#heights.total + 2 * LINE;
    return height <= HIGHEST ? 1 : (height - this.scroller.clientHeight) / (HIGHEST - this.scroller.clientHeight);
  }

  #go(top) {
    this.#top = Math.min(Math.max(0, top), this.#highest);
    this.lines.style.height = `${Math.min(HIGHEST, this.#heights.total + 2 * LINE)}px`;
    this.scroller.scrollTop = this.#top / this.#scale;
    this.#setTop = this.scroller.scrollTop;
    this.draw();
  }

  #scrolled() {
    const { scrollTop } = this.scroller;
    if (Math.abs(scrollTop - this.#setTop) < 1) return this.draw();
    this.#setTop = scrollTop;
    this.#top = scrollTop * this.#scale;
    this.#looked();
    this.draw();
  }

  /** After the reader has moved: whoever is at the end follows. */
  #looked() {
    const isAtEnd = this.#top >= this.#highest - LINE;
    if (this.isFollowing === isAtEnd) return;
    this.isFollowing = isAtEnd;
    this.followed();
  }

  #wheel(event) {
    if (this.#scale === 1 || event.ctrlKey || event.shiftKey || !event.deltaY) return;
    event.preventDefault();
    this.#go(this.#top + event.deltaY * (event.deltaMode === 1 ? LINE : 1));
    this.#looked();
  }

  /** Moves as a key of the whole page says. */
  key(event) {
    const page = this.scroller.clientHeight - 2 * LINE;
    const steps = { ArrowDown: LINE, ArrowUp: -LINE, j: LINE, k: -LINE, PageDown: page, PageUp: -page, " ": event.shiftKey ? -page : page,
      Home: -Infinity, g: -Infinity, End: Infinity, G: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#go(step === -Infinity ? 0 : step === Infinity ? this.#highest : this.#top + step);
    this.#looked();
  }

  #click(event) {
    const number = event.target.closest?.("a.number");
    if (!number || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const line = Number(number.dataset.line) - 1;
    const from = event.shiftKey && this.marked ? this.marked[0] : line;
    this.chosen(Math.min(from, line), Math.max(from, line));
  }

  #drawNow() {
    const { scroller, source } = this;
    if (!scroller.clientHeight) return;
    if (this.isFollowing) this.#top = this.#highest;
    for (let tries = 0; tries < 4 && this.#place(); tries += 1);
    this.#top = Math.min(this.#top, this.#highest);
    this.lines.style.height = `${Math.min(HIGHEST, this.#heights.total + 2 * LINE)}px`;
    const wanted = this.#top / this.#scale;
    if (Math.abs(scroller.scrollTop - wanted) >= 1) scroller.scrollTop = wanted;
    this.#setTop = scroller.scrollTop;
    const shift = this.#scale === 1 ? 0 : scroller.scrollTop - this.#top;
    for (const [block, { element }] of this.#blocks) element.style.top = `${this.#heights.top(block) + shift}px`;
    this.#highlight();
    const [first, last] = this.#inSight();
    clearTimeout(this.asking);
    this.asking = setTimeout(() => {
      source.need(first * BLOCK, (last + 1) * BLOCK).then((isNew) => isNew && this.draw(), () => {});
    }, 30);
  }

  #inSight() {
    const first = this.#heights.at(this.#top - SPARE);
    return [first, this.#heights.at(this.#top + this.scroller.clientHeight + SPARE)];
  }

  /** Makes the blocks in sight; whether heights have turned out other than they were thought to be. */
  #place() {
    const { total } = this.source;
    const [first, last] = this.#inSight();
    for (const [block, { element }] of this.#blocks) {
      if (block >= first && block <= last) continue;
      element.remove();
      this.#blocks.delete(block);
    }
    if (!total) return false;
    let hasChanged = false;
    for (let block = first; block <= last; block += 1) {
      const number = Math.min(BLOCK, total - block * BLOCK);
      const known = this.#known(block, number);
      const present = this.#blocks.get(block);
      if (present && present.number === number && present.known === known) continue;
      const element = this.#block(block, number);
      if (present) present.element.replaceWith(element);
      else this.lines.append(element);
      this.#blocks.set(block, { element, number, known });
      if (!this.isWrapping) continue;
      const change = this.#heights.set(block, element.offsetHeight);
      if (change && this.#heights.top(block) < this.#top) this.#top += change;
      if (change && this.isFollowing) this.#top = this.#highest;
      hasChanged ||= change !== 0;
    }
    return hasChanged;
  }

  #known(block, number) {
    let known = 0;
    for (let at = 0; at < number; at += 1) known += this.source.line(block * BLOCK + at) === undefined ? 0 : 1;
    return known;
  }

  #block(block, number) {
    const element = h("div", { class: "block" });
    let look = this.#looks.get(block - 1) ?? null;
    for (let at = 0; at < number; at += 1) {
      const line = block * BLOCK + at;
      const read = this.source.line(line);
      const painted = read ? paint(read.text, look, read.cut) : { element: h("span", { class: "text unread" }, " "), look: null };
      look = painted.look;
      const isMarked = this.marked && line >= this.marked[0] && line <= this.marked[1];
      const number = h("a", { class: "number", href: `#L${line + 1}`, "aria-label": `Line ${line + 1}`, tabindex: "-1", data: { line: line + 1 } });
      element.append(h("div", { class: `line${isMarked ? " marked" : ""}${line === this.hit ? " hit" : ""}` }, number, painted.element));
    }
    this.#looks.set(block, look);
    return element;
  }

  /** Marks what is searched for in the blocks in sight, without changing them. */
  #highlight() {
    if (!window.CSS?.highlights) return;
    const ranges = [];
    if (this.wanted) {
      for (const { element } of this.#blocks.values()) {
        for (const text of element.querySelectorAll(".text")) ranges.push(...rangesIn(text, this.wanted));
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }
}

/** Ranges of the places of a text in an element of several pieces. */
function rangesIn(element, wanted) {
  const places = placesIn(element.textContent, wanted);
  if (!places.length) return [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const nodes = [];
  for (let [node, at] = [walker.nextNode(), 0]; node; at += node.length, node = walker.nextNode()) nodes.push([node, at]);
  const point = (at, isEnd) => {
    let found = nodes[0];
    for (const entry of nodes) if (isEnd ? entry[1] < at : entry[1] <= at) found = entry;
    return [found[0], at - found[1]];
  };
  return places.map(([from, to]) => {
    const range = new Range();
    range.setStart(...point(from, false));
    range.setEnd(...point(to, true));
    return range;
  });
}
