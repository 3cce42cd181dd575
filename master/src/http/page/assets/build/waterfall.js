// The waterfall: what ran when, on which executor. Drawn on a canvas, since a build may have a hundred thousand atoms;
// the table of atoms says the same in text.

import { fill, h } from "../dom.js";
import { duration, ending } from "../format.js";
import { go, to } from "../router.js";
import { short } from "../text.js";
import { RUNNING } from "./atoms.js";
import { Rows, lastBegun, times } from "./layout.js";
import { AXIS, LANE, Picture, SLAVE } from "./waterfall_picture.js";

const STEP_WORDS = { fetch: "Fetch", atomizer: "Find atoms", setup: "Set-up", teardown: "Tear-down" };

export class Waterfall {
  #drawing = 0;
  #layout = { version: -1, steps: null };
  #pointer = null;

  constructor(build, atoms, signal) {
    this.build = build;
    this.atoms = atoms;
    this.all = new Rows();
    this.rows = [];
    this.tops = new Float64Array(1);
    this.steps = [];
    this.times = { began: NaN, ended: null };
    /** What of the time is in sight, in seconds from the beginning; null for all of it. */
    this.view = null;
    this.picture = new Picture(this);
    this.canvas = h("canvas", { tabindex: "0", role: "img", "aria-describedby": "waterfall-help" });
    this.sizer = h("div", { class: "sizer" }, this.canvas);
    this.scroller = h("div", { class: "waterfall", on: { scroll: () => this.draw() } }, this.sizer);
    this.tip = h("div", { class: "tip", hidden: true });
    this.note = h("span", { class: "muted small" });
    const tool = (label, text, act) => h("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    this.element = h("section", { class: "card", "aria-labelledby": "waterfall-title" },
      h("h2", { id: "waterfall-title" }, h("span", {}, "Waterfall ", this.note), h("span", { class: "tools" },
        tool("Zoom in", "+", () => this.zoom(1.6)), tool("Zoom out", "−", () => this.zoom(1 / 1.6)), tool("Show all of it", "All", () => this.showAll()))),
      h("p", { id: "waterfall-help", class: "visually-hidden" }, "Bars show when each atom ran. The table of atoms below says the same in text. Keys: plus and minus zoom, arrows move, 0 shows all."),
      this.scroller, this.tip, legend());
    this.#listen(signal);
  }

  #listen(signal) {
    const { canvas } = this;
    const on = (target, event, handler, more = {}) => target.addEventListener(event, handler, { signal, ...more });
    on(canvas, "wheel", (event) => this.#wheel(event), { passive: false });
    on(canvas, "pointerdown", (event) => this.#down(event));
    on(canvas, "pointermove", (event) => this.#move(event));
    on(canvas, "pointerup", (event) => this.#up(event));
    on(canvas, "pointerleave", () => this.#leave());
    on(canvas, "pointercancel", () => this.#leave());
    on(canvas, "dblclick", (event) => this.zoom(2.5, this.picture.timeAt(event.offsetX)));
    on(canvas, "keydown", (event) => this.#key(event));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => {
      this.picture.forgetColours();
      this.draw();
    });
    const observer = new ResizeObserver(() => this.draw());
    observer.observe(this.scroller);
    on(signal, "abort", () => observer.disconnect());
  }

  /** Takes what is known now. @param {{began: number, ended: number | null, left: number | null}} when */
  show(when, steps) {
    this.times = when;
    if (steps !== this.#layout.steps || this.atoms.version !== this.#layout.version) {
      this.#layout = { steps, version: this.atoms.version };
      this.steps = steps;
      this.all.take(this.atoms, this.atoms.takeChanged());
      this.rows = this.all.list(steps);
      const own = steps.filter((step) => step.slave_id === null || step.slave_id === undefined);
      if (own.length) this.rows.unshift({ kind: "slave", slave: null, url: "Master" });
      this.tops = new Float64Array(this.rows.length + 1);
      this.rows.forEach((row, at) => { this.tops[at + 1] = this.tops[at] + (row.kind === "slave" ? SLAVE : LANE); });
    }
    const lanes = this.rows.filter((row) => row.kind === "lane").length;
    const slaves = this.rows.filter((row) => row.kind === "slave" && row.slave !== null).length;
    const words = lanes ? `${slaves} slave${slaves === 1 ? "" : "s"}, ${lanes} executor${lanes === 1 ? "" : "s"}` : "";
    fill(this.note, words);
    this.canvas.setAttribute("aria-label", lanes ? `Waterfall of ${this.atoms.size} atoms on ${words}` : "Waterfall: nothing has run yet");
    this.sizer.style.height = `${Math.max(AXIS + this.tops[this.rows.length] + 6, 70)}px`;
    this.draw();
  }

  draw() {
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.picture.draw();
    });
  }

  /** Shows more or less of the time, around a moment. */
  zoom(factor, around) {
    const { from, to } = this.picture.sight();
    const at = around ?? (from + to) / 2;
    this.#see(at - (at - from) / factor, at + (to - at) / factor);
  }

  showAll() {
    this.view = null;
    this.draw();
  }

  #see(from, to) {
    const whole = this.picture.whole();
    const length = Math.min(Math.max(to - from, 0.01), whole);
    const start = Math.min(Math.max(from, 0), whole - length);
    this.view = length >= whole ? null : { from: start, to: start + length };
    this.#hideTip();
    this.draw();
  }

  #pan(pixels) {
    const { from, to } = this.picture.sight();
    const seconds = pixels * (to - from) / (this.picture.width - this.picture.gutter);
    this.#see(from + seconds, to + seconds);
  }

  #wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 200), this.picture.timeAt(event.offsetX));
    } else if (this.view && (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY))) {
      event.preventDefault();
      this.#pan(event.deltaX || event.deltaY);
    }
  }

  #key(event) {
    const acts = { "+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), 0: () => this.showAll(),
      ArrowLeft: () => this.#pan(-80), ArrowRight: () => this.#pan(80) };
    if (event.ctrlKey || event.metaKey || event.altKey || !acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  #down(event) {
    if (event.button !== 0) return;
    this.#pointer = { x: event.offsetX, startX: event.offsetX, startY: event.offsetY, hasMoved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const pointer = this.#pointer;
    if (pointer) {
      pointer.hasMoved ||= Math.abs(event.offsetX - pointer.startX) > 4;
      if (pointer.hasMoved && this.view) this.#pan(pointer.x - event.offsetX);
      pointer.x = event.offsetX;
      return;
    }
    this.#tell(event);
  }

  #up(event) {
    const pointer = this.#pointer;
    this.#pointer = null;
    const found = pointer && !pointer.hasMoved ? this.#at(event.offsetX, event.offsetY) : null;
    if (found?.href) go(found.href);
  }

  #leave() {
    this.#pointer = null;
    this.#hideTip();
  }

  #hideTip() {
    this.tip.hidden = true;
    this.canvas.classList.remove("over");
  }

  #tell(event) {
    const found = this.#at(event.offsetX, event.offsetY);
    if (!found) return this.#hideTip();
    fill(this.tip, found.words.filter(Boolean).map((words, at) => h("div", { class: at ? "muted" : "strong" }, words)));
    this.tip.hidden = false;
    this.canvas.classList.toggle("over", Boolean(found.href));
    const box = this.element.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${y + 18}px`;
  }

  /** What is at a place of the canvas: its words, and where a click leads. */
  #at(x, y) {
    const down = y - AXIS + this.scroller.scrollTop;
    if (y < AXIS || x < this.picture.gutter) return null;
    const index = this.picture.rowAt(down);
    const row = this.rows[index];
    if (!row) return null;
    const spare = 2 * (this.picture.timeAt(1) - this.picture.timeAt(0));
    const seconds = this.picture.timeAt(x);
    if (row.kind === "slave") {
      const step = this.steps.find((step) => (step.slave_id ?? null) === row.slave && this.#covers(step, seconds, spare));
      return step ? this.#stepWords(step) : null;
    }
    const moment = this.times.began + seconds;
    const last = lastBegun(this.atoms, row.places, moment + spare);
    for (let at = last; at >= 0 && at > last - 3; at -= 1) {
      const place = row.places[at];
      const [began, ended] = times(this.atoms, place, Date.now() / 1000);
      if (moment >= began - spare && moment <= ended + spare) return this.#atomWords(place, ended - began);
    }
    const tried = row.tries.findLast(({ from, to }) => moment >= from - spare && moment <= to + spare);
    if (tried) return this.#tryWords(tried);
    const batch = row.batches.findLast(({ from, to }) => moment >= from - spare && moment <= to + spare);
    if (batch) return this.#batchWords(batch);
    const guess = this.picture.predicted.bars.find((bar) => bar.row === index && moment >= bar.from && moment <= bar.to);
    return guess ? { words: [short(this.atoms.label(guess.place), 120), `expected to take ${duration(guess.to - guess.from)}`] } : null;
  }

  #covers(step, seconds, spare) {
    const from = step.began_at - this.times.began;
    const to = (step.ended_at ?? Date.now() / 1000) - this.times.began;
    return seconds >= from - spare && seconds <= to + spare;
  }

  #atomWords(place, took) {
    const { atoms } = this;
    const state = atoms.states[place];
    const end = state === RUNNING ? "" : ending(atoms.end(place));
    const began = atoms.number("started_at", place) - this.times.began;
    const tries = atoms.tries(place).length;
    const attempt = tries ? `attempt ${tries + 1} of ${tries + 1}` : "";
    return {
      words: [short(atoms.label(place), 160), [attempt, atoms.word(state), short(end, 80)].filter(Boolean).join(", "), `${duration(took)}, from +${duration(began)}`],
      href: this.#hrefOf(place),
    };
  }

  /** An attempt after which its atom was run again. */
  #tryWords({ place, number, from, to: ended }) {
    const { atoms } = this;
    const tries = atoms.tries(place);
    const end = ending({ signal: null, ...tries[number - 1] });
    return {
      words: [short(atoms.label(place), 160), `attempt ${number} of ${tries.length + 1}, failed${end ? `, ${short(end, 80)}` : ""}`,
        `${duration(ended - from)}, from +${duration(from - this.times.began)}`],
      href: this.#hrefOf(place, tries[number - 1].attempt),
    };
  }

  /** A batch that did not settle all of its atoms. */
  #batchWords({ from, to: ended, size, again }) {
    return {
      words: [`Batch of ${size} atom${size === 1 ? "" : "s"}, ${again === size ? "all" : again} of which ran again`,
        `${duration(ended - from)}, from +${duration(from - this.times.began)}`],
    };
  }

  #hrefOf(place, attempt) {
    return to.atom(this.build, this.atoms.number("subjob_id", place), this.atoms.number("atom_id", place), attempt);
  }

  #stepWords(step) {
    const took = (step.ended_at ?? Date.now() / 1000) - step.began_at;
    const href = step.id === undefined ? null : to.step(this.build, step.id);
    return { words: [STEP_WORDS[step.kind] ?? step.kind, duration(took)], href };
  }

}

function legend() {
  const entries = [["passed", "Passed"], ["failed", "Failed"], ["retried", "Failed, run again"], ["flaky", "Flaky"], ["running", "Running"], ["canceled", "Canceled"], ["expected", "Expected"], ["setup", "Fetch, set-up"]];
  return h("p", { class: "legend muted small" }, entries.map(([key, word]) => h("span", {}, h("i", { class: key }), word)));
}
