// The picture of a waterfall on its canvas.

import { short } from "../text.js";
import { FAILED, KEYS, RUNNING, WAITING } from "./atoms.js";
import { MOST_PREDICTED, lastBegun, predict, tickStep, tickText } from "./layout.js";

/** Heights of the axis and of the rows, and of a bar in its row, in pixels. */
export const AXIS = 24, LANE = 16, SLAVE = 24;
const BAR = 12;
/** Predictions are made anew so often at most, in milliseconds. */
const PREDICTED_EVERY = 2000;

export class Picture {
  /** What is expected of the rest of the build, and when that ends. */
  predicted = { at: -Infinity, end: 0, bars: [] };
  #colours = null;

  /** @param {import("./waterfall.js").Waterfall} scene what is drawn, and on which canvas */
  constructor(scene) {
    this.scene = scene;
    this.width = 0;
  }

  /** Forgets the colours, since the reader prefers others. */
  forgetColours() {
    this.#colours = null;
  }

  /** All of the time, in seconds from the beginning. */
  whole() {
    const { began, ended, left } = this.scene.times;
    const now = ended ?? Date.now() / 1000;
    const last = ended ? now : Math.max(now + (left ?? 0), this.predicted.end);
    return Math.max((last - began) * 1.02, 0.05);
  }

  /** What of the time is in sight, in seconds from the beginning. */
  sight() {
    return this.scene.view ?? { from: 0, to: this.whole() };
  }

  /** The width of the names at the left, in pixels. */
  get gutter() {
    return this.#isNarrow ? 40 : 150;
  }

  get #isNarrow() {
    return this.width < 560;
  }

  #x(seconds) {
    const { from, to } = this.sight();
    return this.gutter + (seconds - from) / (to - from) * (this.width - this.gutter);
  }

  /** The moment at a place, in seconds from the beginning. */
  timeAt(x) {
    const { from, to } = this.sight();
    return from + (x - this.gutter) / (this.width - this.gutter) * (to - from);
  }

  /** The row at a height, in pixels below the axis and from the first row. */
  rowAt(down) {
    let [low, high] = [0, this.scene.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.scene.tops[middle + 1] <= down) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #palette() {
    const style = getComputedStyle(document.documentElement);
    const get = (name) => style.getPropertyValue(`--${name}`).trim();
    this.#colours ??= {
      text: get("text"), muted: get("muted"), line: get("line"), surface: get("surface"), raised: get("raised"),
      setup: get("bar-setup"), expected: get("bar-expected"), now: get("accent"),
      states: KEYS.map((key) => get(`bar-${key}`)), font: get("sans"),
    };
    return this.#colours;
  }

  /** Draws what of the scene is in sight. */
  draw() {
    const { canvas, scroller } = this.scene;
    const width = scroller.clientWidth;
    const height = Math.min(scroller.clientHeight, this.scene.sizer.clientHeight);
    if (!width || !height || Number.isNaN(this.scene.times.began)) return;
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
    const first = this.rowAt(top);
    const last = Math.min(this.scene.rows.length, this.rowAt(top + height) + 1);
    pen.save();
    pen.beginPath();
    pen.rect(0, AXIS, width, height - AXIS);
    pen.clip();
    this.#drawGrid(pen, height);
    pen.translate(0, AXIS - top);
    this.#drawPredicted(pen, first, last);
    for (let index = first; index < last; index += 1) this.#drawRow(pen, index);
    pen.restore();
    this.#drawAxis(pen, width, height);
    if (!this.scene.rows.length) {
      pen.fillStyle = colours.muted;
      pen.font = `13px ${colours.font}`;
      pen.textBaseline = "middle";
      pen.fillText(this.scene.times.ended ? "No atom has run." : "No atom runs yet.", this.gutter + 8, AXIS + 22);
    }
  }

  #drawRow(pen, index) {
    const row = this.scene.rows[index];
    const y = this.scene.tops[index];
    const colours = this.#palette();
    pen.textBaseline = "middle";
    if (row.kind === "slave") {
      pen.fillStyle = colours.raised;
      pen.fillRect(0, y + 3, this.width, SLAVE - 6);
      this.#drawSteps(pen, row, y);
      pen.fillStyle = colours.text;
      pen.font = `600 12px ${colours.font}`;
      // Where there is no room beside the bars, the name stands above them.
      const [width, middle] = this.#isNarrow ? [this.width - 12, y + 9] : [this.gutter - 12, y + SLAVE / 2];
      pen.fillText(fitted(pen, row.url, width), 6, middle);
      return;
    }
    pen.fillStyle = colours.muted;
    pen.font = `11px ${colours.font}`;
    const label = this.gutter < 100 ? String(row.executor) : `executor ${row.executor}`;
    pen.fillText(label, this.gutter - pen.measureText(label).width - 8, y + LANE / 2);
    this.#drawTries(pen, row.batches, y + (LANE - BAR) / 2);
    this.#drawTries(pen, row.tries, y + (LANE - BAR) / 2);
    this.#drawBars(pen, row, y + (LANE - BAR) / 2);
  }

  /** Attempts and batches that do not count, since their atoms were run again: bars with a border, empty inside. */
  #drawTries(pen, tries, y) {
    if (!tries.length) return;
    const { states: colours, surface } = this.#palette();
    const { began } = this.scene.times;
    let right = -1;
    pen.fillStyle = colours[FAILED];
    for (const { from, to } of tries) {
      const [left, end] = [Math.max(this.gutter, this.#x(from - began)), Math.min(this.width, this.#x(to - began))];
      // Of those that share a pixel one is enough.
      if (end < this.gutter || left > this.width || end <= right) continue;
      right = Math.max(end, left + 1.5);
      const width = right - left > 4 ? right - left - 1 : right - left;
      pen.fillRect(left, y, width, BAR);
      if (width < 4) continue;
      pen.fillStyle = surface;
      pen.fillRect(left + 1.5, y + 1.5, width - 3, BAR - 3);
      pen.fillStyle = colours[FAILED];
    }
  }

  #drawSteps(pen, row, y) {
    const { setup } = this.#palette();
    for (const step of this.scene.steps) {
      if ((step.slave_id ?? null) !== row.slave || !step.began_at) continue;
      const from = Math.max(this.gutter, this.#x(step.began_at - this.scene.times.began));
      const to = Math.min(this.width, this.#x((step.ended_at ?? this.scene.times.ended ?? Date.now() / 1000) - this.scene.times.began));
      if (to < this.gutter || from > this.width) continue;
      pen.fillStyle = setup;
      pen.fillRect(from, this.#isNarrow ? y + 16 : y + 6, Math.max(to - from, 1.5), this.#isNarrow ? 5 : SLAVE - 12);
    }
  }

  #drawBars(pen, row, y) {
    const { states: colours } = this.#palette();
    const { places } = row;
    const { states } = this.scene.atoms;
    const [starts, took] = [this.scene.atoms.column("started_at"), this.scene.atoms.column("actual_time")];
    const { from, to } = this.sight();
    const now = this.scene.times.ended ?? Date.now() / 1000;
    const [gutter, width, zero] = [this.gutter, this.width, this.scene.times.began + from];
    // A build may have a hundred thousand bars in sight: nothing is looked up for each.
    const scale = (width - gutter) / (to - from);
    const start = Math.max(0, lastBegun(this.scene.atoms, places, zero));
    // Of bars that share a pixel the worst is drawn: its state has the lowest number.
    let [pixel, worst, right] = [-1, 9, -1];
    const flush = () => {
      if (pixel < 0) return;
      pen.fillStyle = colours[worst];
      const width = Math.max(right - pixel, worst === FAILED ? 2 : 1);
      // What is thin fills whole pixels: spread over two it would be pale.
      if (width <= 2) pen.fillRect(Math.floor(pixel), y, Math.ceil(width), BAR);
      else pen.fillRect(pixel, y, width, BAR);
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
    if (this.scene.times.ended || clock - this.predicted.at < PREDICTED_EVERY) return;
    const bars = predict(this.scene.atoms, this.scene.rows, Date.now() / 1000);
    this.predicted = { at: clock, end: bars.reduce((end, bar) => Math.max(end, bar.to), 0), bars };
  }

  /** Where atoms are too many to predict each: that all executors will be in use until the expected end. */
  #drawRest(pen, first, last) {
    if (!this.scene.times.left || this.scene.atoms.counts[WAITING] <= MOST_PREDICTED) return;
    const now = Date.now() / 1000 - this.scene.times.began;
    const [from, to] = [Math.max(this.gutter, this.#x(now)), Math.min(this.width, this.#x(now + this.scene.times.left))];
    if (to <= from) return;
    for (let index = first; index < last; index += 1) {
      if (this.scene.rows[index].kind === "lane") pen.fillRect(from, this.scene.tops[index] + (LANE - BAR) / 2, to - from, BAR);
    }
  }

  #drawPredicted(pen, first, last) {
    if (this.scene.times.ended) return;
    pen.fillStyle = this.#palette().expected;
    this.#drawRest(pen, first, last);
    const now = Math.max(this.gutter, this.#x(Date.now() / 1000 - this.scene.times.began));
    for (const bar of this.predicted.bars) {
      if (bar.row < first || bar.row >= last) continue;
      const from = Math.max(now, this.#x(bar.from - this.scene.times.began));
      const to = Math.min(this.width, this.#x(bar.to - this.scene.times.began));
      if (to <= from || from >= this.width) continue;
      pen.fillRect(from, this.scene.tops[bar.row] + (LANE - BAR) / 2, Math.max(to - from - (to - from > 3 ? 1 : 0), 0.5), BAR);
    }
  }

  #tickStep() {
    const { from, to } = this.sight();
    return tickStep(to - from, Math.max(2, Math.floor((this.width - this.gutter) / 90)));
  }

  #drawGrid(pen, height) {
    const { from, to } = this.sight();
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
    const { from, to } = this.sight();
    const gutter = this.gutter;
    const step = this.#tickStep();
    pen.font = `11px ${colours.font}`;
    pen.textBaseline = "middle";
    pen.fillStyle = colours.muted;
    for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) {
      const x = Math.round(this.#x(tick)) + 0.5;
      const text = tickText(tick, step);
      pen.fillText(text, Math.min(x + 4, width - pen.measureText(text).width - 2), 11);
    }
    if (this.scene.times.ended) return;
    const x = this.#x(Date.now() / 1000 - this.scene.times.began);
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
