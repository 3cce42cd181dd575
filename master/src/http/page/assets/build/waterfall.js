// The waterfall: what ran when, on which executor. Drawn on a canvas, since a build may have a hundred thousand atoms;
// the table of atoms says the same in text.

import { fill, h } from "../dom.js";
import { duration, ending } from "../format.js";
import { go, to } from "../router.js";
import { short } from "../text.js";
import { FAILED, KEYS, RUNNING, WAITING, WORDS } from "./atoms.js";
import { MOST_PREDICTED, Rows, lastBegun, predict, tickStep, tickText, times } from "./layout.js";

const AXIS = 24, LANE = 16, SLAVE = 24, BAR = 12;
/** Predictions of many atoms are made anew so often at most, in milliseconds. */
const PREDICTED_EVERY = 2000;
const STEP_WORDS = { fetch: "Fetch", atomizer: "Find atoms", setup: "Set-up", teardown: "Tear-down" };

export class Waterfall {
  #drawing = 0;
  #layout = { version: -1, steps: null };
  #predicted = { at: -Infinity, end: 0, bars: [] };
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
    on(canvas, "dblclick", (event) => this.zoom(2.5, this.#timeAt(event.offsetX)));
    on(canvas, "keydown", (event) => this.#key(event));
    on(matchMedia("(prefers-color-scheme: dark)"), "change", () => {
      this.colours = null;
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
      this.#drawNow();
    });
  }

  /** All of the time, in seconds from the beginning. */
  #whole() {
    const { began, ended, left } = this.times;
    const now = ended ?? Date.now() / 1000;
    const last = ended ? now : Math.max(now + (left ?? 0), this.#predicted.end);
    return Math.max((last - began) * 1.02, 0.05);
  }

  #sight() {
    return this.view ?? { from: 0, to: this.#whole() };
  }

  get #gutter() {
    return this.#isNarrow ? 40 : 150;
  }

  get #isNarrow() {
    return this.width < 560;
  }

  #x(seconds) {
    const { from, to } = this.#sight();
    return this.#gutter + (seconds - from) / (to - from) * (this.width - this.#gutter);
  }

  #timeAt(x) {
    const { from, to } = this.#sight();
    return from + (x - this.#gutter) / (this.width - this.#gutter) * (to - from);
  }

  /** Shows more or less of the time, around a moment. */
  zoom(factor, around) {
    const { from, to } = this.#sight();
    const at = around ?? (from + to) / 2;
    this.#see(at - (at - from) / factor, at + (to - at) / factor);
  }

  showAll() {
    this.view = null;
    this.draw();
  }

  #see(from, to) {
    const whole = this.#whole();
    const length = Math.min(Math.max(to - from, 0.01), whole);
    const start = Math.min(Math.max(from, 0), whole - length);
    this.view = length >= whole ? null : { from: start, to: start + length };
    this.#hideTip();
    this.draw();
  }

  #pan(pixels) {
    const { from, to } = this.#sight();
    const seconds = pixels * (to - from) / (this.width - this.#gutter);
    this.#see(from + seconds, to + seconds);
  }

  #wheel(event) {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 200), this.#timeAt(event.offsetX));
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
    if (y < AXIS || x < this.#gutter) return null;
    const index = this.#rowAt(down);
    const row = this.rows[index];
    if (!row) return null;
    const spare = 2 * (this.#timeAt(1) - this.#timeAt(0));
    const seconds = this.#timeAt(x);
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
    const guess = this.#predicted.bars.find((bar) => bar.row === index && moment >= bar.from && moment <= bar.to);
    return guess ? { words: [short(this.atoms.label(guess.place), 120), `expected to take ${duration(guess.to - guess.from)}`] } : null;
  }

  #rowAt(down) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= down) low = middle + 1;
      else high = middle;
    }
    return low;
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
    return {
      words: [short(atoms.label(place), 160), `${WORDS[state]}${end ? `, ${short(end, 80)}` : ""}`, `${duration(took)}, from +${duration(began)}`],
      href: to.atom(this.build, atoms.number("subjob_id", place), atoms.number("atom_id", place)),
    };
  }

  #stepWords(step) {
    const took = (step.ended_at ?? Date.now() / 1000) - step.began_at;
    const href = step.id === undefined ? null : to.step(this.build, step.id);
    return { words: [STEP_WORDS[step.kind] ?? step.kind, duration(took)], href };
  }

  #palette() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(`--${name}`).trim();
    this.colours ??= {
      text: get("text"), muted: get("muted"), line: get("line"), surface: get("surface"), raised: get("raised"),
      setup: get("bar-setup"), expected: get("bar-expected"), now: get("accent"),
      states: KEYS.map((key) => get(`bar-${key}`)), font: get("sans"),
    };
    return this.colours;
  }

  #drawNow() {
    const { canvas, scroller } = this;
    const width = scroller.clientWidth;
    const height = Math.min(scroller.clientHeight, this.sizer.clientHeight);
    if (!width || !height || Number.isNaN(this.times.began)) return;
    const ratio = window.devicePixelRatio || 1;
    this.width = width;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = this.#palette();
    this.#predict();
    pen.fillStyle = colours.surface;
    pen.fillRect(0, 0, width, height);
    const top = scroller.scrollTop;
    const first = this.#rowAt(top);
    const last = Math.min(this.rows.length, this.#rowAt(top + height) + 1);
    pen.save();
    pen.beginPath();
    pen.rect(0, AXIS, width, height - AXIS);
    pen.clip();
    pen.translate(0, AXIS - top);
    pen.translate(0, top - AXIS);
    this.#drawGrid(pen, height);
    pen.translate(0, AXIS - top);
    this.#drawPredicted(pen, first, last);
    for (let index = first; index < last; index += 1) this.#drawRow(pen, index);
    pen.restore();
    this.#drawAxis(pen, width, height);
    if (!this.rows.length) {
      pen.fillStyle = colours.muted;
      pen.font = `13px ${colours.font}`;
      pen.textBaseline = "middle";
      pen.fillText(this.times.ended ? "No atom has run." : "No atom runs yet.", this.#gutter + 8, AXIS + 22);
    }
  }

  #drawRow(pen, index) {
    const row = this.rows[index];
    const y = this.tops[index];
    const colours = this.#palette();
    pen.textBaseline = "middle";
    if (row.kind === "slave") {
      pen.fillStyle = colours.raised;
      pen.fillRect(0, y + 3, this.width, SLAVE - 6);
      this.#drawSteps(pen, row, y);
      pen.fillStyle = colours.text;
      pen.font = `600 12px ${colours.font}`;
      // Where there is no room beside the bars, the name stands above them.
      const [width, middle] = this.#isNarrow ? [this.width - 12, y + 9] : [this.#gutter - 12, y + SLAVE / 2];
      pen.fillText(fitted(pen, row.url, width), 6, middle);
      return;
    }
    pen.fillStyle = colours.muted;
    pen.font = `11px ${colours.font}`;
    const label = this.#gutter < 100 ? String(row.executor) : `executor ${row.executor}`;
    pen.fillText(label, this.#gutter - pen.measureText(label).width - 8, y + LANE / 2);
    this.#drawBars(pen, row, y + (LANE - BAR) / 2);
  }

  #drawSteps(pen, row, y) {
    const { setup } = this.#palette();
    for (const step of this.steps) {
      if ((step.slave_id ?? null) !== row.slave || !step.began_at) continue;
      const from = Math.max(this.#gutter, this.#x(step.began_at - this.times.began));
      const to = Math.min(this.width, this.#x((step.ended_at ?? this.times.ended ?? Date.now() / 1000) - this.times.began));
      if (to < this.#gutter || from > this.width) continue;
      pen.fillStyle = setup;
      pen.fillRect(from, this.#isNarrow ? y + 16 : y + 6, Math.max(to - from, 1.5), this.#isNarrow ? 5 : SLAVE - 12);
    }
  }

  #drawBars(pen, row, y) {
    const { states: colours } = this.#palette();
    const { places } = row;
    const { states } = this.atoms;
    const [starts, took] = [this.atoms.column("started_at"), this.atoms.column("actual_time")];
    const { from, to } = this.#sight();
    const now = this.times.ended ?? Date.now() / 1000;
    const [gutter, width, zero] = [this.#gutter, this.width, this.times.began + from];
    // A build may have a hundred thousand bars in sight: nothing is looked up for each.
    const scale = (width - gutter) / (to - from);
    const start = Math.max(0, lastBegun(this.atoms, places, zero));
    // Of bars that share a pixel the worst is drawn: its state has the lowest number.
    let [pixel, worst, right] = [-1, 9, -1];
    const flush = () => {
      if (pixel < 0) return;
      pen.fillStyle = colours[worst];
      pen.fillRect(pixel, y, Math.max(right - pixel, worst === FAILED ? 2 : 1), BAR);
    };
    for (let at = start; at < places.length; at += 1) {
      const place = places[at];
      const began = starts[place];
      const state = states[place];
      const lasted = state === RUNNING ? now - began : took[place] || 0;
      const left = gutter + (began - zero) * scale;
      if (left > width) break;
      const end = Math.min(width, left + lasted * scale);
      if (end < gutter) continue;
      const x = Math.max(gutter, left);
      const isThin = end - x < 1;
      if (isThin && Math.floor(x) === Math.floor(pixel) && right - pixel <= 1) {
        worst = Math.min(worst, state);
        right = Math.max(right, end);
        continue;
      }
      flush();
      // A gap between neighbours shows that there are two.
      [pixel, worst, right] = [x, state, end - x > 3 ? end - 1 : end];
    }
    flush();
  }

  #predict() {
    const clock = performance.now();
    if (this.times.ended || clock - this.#predicted.at < PREDICTED_EVERY) return;
    const bars = predict(this.atoms, this.rows, Date.now() / 1000);
    this.#predicted = { at: clock, end: bars.reduce((end, bar) => Math.max(end, bar.to), 0), bars };
  }

  /** Where atoms are too many to predict each: that all executors will be in use until the expected end. */
  #drawRest(pen, first, last) {
    if (!this.times.left || this.atoms.counts[WAITING] <= MOST_PREDICTED) return;
    const now = Date.now() / 1000 - this.times.began;
    const [from, to] = [Math.max(this.#gutter, this.#x(now)), Math.min(this.width, this.#x(now + this.times.left))];
    if (to <= from) return;
    for (let index = first; index < last; index += 1) {
      if (this.rows[index].kind === "lane") pen.fillRect(from, this.tops[index] + (LANE - BAR) / 2, to - from, BAR);
    }
  }

  #drawPredicted(pen, first, last) {
    if (this.times.ended) return;
    pen.fillStyle = this.#palette().expected;
    this.#drawRest(pen, first, last);
    for (const bar of this.#predicted.bars) {
      if (bar.row < first || bar.row >= last) continue;
      const from = Math.max(this.#gutter, this.#x(bar.from - this.times.began));
      const to = Math.min(this.width, this.#x(bar.to - this.times.began));
      if (to <= this.#gutter || from >= this.width) continue;
      pen.fillRect(from, this.tops[bar.row] + (LANE - BAR) / 2, Math.max(to - from - (to - from > 3 ? 1 : 0), 0.5), BAR);
    }
  }

  #tickStep() {
    const { from, to } = this.#sight();
    return tickStep(to - from, Math.max(2, Math.floor((this.width - this.#gutter) / 90)));
  }

  #drawGrid(pen, height) {
    const { from, to } = this.#sight();
    const step = this.#tickStep();
    pen.fillStyle = this.#palette().line;
    pen.globalAlpha = 0.55;
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
      pen.fillRect(Math.round(this.#x(tick)) + 0.5, AXIS, 1, height - AXIS);
    }
    pen.globalAlpha = 1;
  }

  #drawAxis(pen, width, height) {
    const colours = this.#palette();
    const { from, to } = this.#sight();
    const gutter = this.#gutter;
    const step = this.#tickStep();
    pen.font = `11px ${colours.font}`;
    pen.textBaseline = "middle";
    pen.fillStyle = colours.muted;
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
      const x = Math.round(this.#x(tick)) + 0.5;
      const text = tickText(tick, step);
      pen.fillText(text, Math.min(x + 4, width - pen.measureText(text).width - 2), 11);
    }
    if (this.times.ended) return;
    const x = this.#x(Date.now() / 1000 - this.times.began);
    if (x < gutter || x > width) return;
    pen.fillStyle = colours.now;
    pen.fillRect(Math.round(x), AXIS - 6, 1.5, height - AXIS + 6);
  }
}

/** The beginning of a text that fits a width, in pixels. */
function fitted(pen, text, width) {
  let line = short(text, 80);
  while (line.length > 2 && pen.measureText(line).width > width) line = `${line.slice(0, -2)}…`;
  return line;
}

function legend() {
  const entries = [["passed", "Passed"], ["failed", "Failed"], ["running", "Running"], ["canceled", "Canceled"], ["expected", "Expected"], ["setup", "Fetch, set-up"]];
  return h("p", { class: "legend muted small" }, entries.map(([key, word]) => h("span", {}, h("i", { class: key }), word)));
}
