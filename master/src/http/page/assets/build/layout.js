// Where the bars of a waterfall are: rows of slaves and their executors, and when what runs there. Pure.

import { RUNNING, WAITING } from "./atoms.js";

/** More waiting atoms than these are not predicted one by one. */
export const MOST_PREDICTED = 4000;
/** Of so many atoms the median is taken, spread over all of them. */
const SAMPLE = 1000;

/**
 * A row of executors: one of a slave that heads those of its executors, or one of an executor.
 * @typedef {{kind: "slave" | "lane", slave: number, url: string, executor?: number, places?: number[], tries?: Try[], batches?: Batch[]}} Row
 */

/**
 * An attempt that failed, after which its atom was run again: `number` counts from 1, times are seconds since 1970.
 * @typedef {{place: number, number: number, from: number, to: number}} Try
 */

/**
 * A batch after which atoms that were in it ran again: `again` of `size`; times are seconds since 1970.
 * @typedef {{from: number, to: number, size: number, again: number}} Batch
 */

/** The rows of a build, which grow with its atoms. */
export class Rows {
  #slaves = new Map();
  /** Of how many attempts of an atom the bars are placed, by its place. */
  #tried = new Map();
  /** The bar of an atom's last batch in vain, by its place; atoms of a batch share it. */
  #batches = new Map();
  /** All lanes, by their numbers; none has the number 0. */
  #all = [null];
  /** Of each atom the number of its lane, 0 where it has none, and when it began there. */
  #numbers = new Uint32Array(0);
  #starts = new Float64Array(0);

  /** Takes those atoms that have changed. @param {import("./atoms.js").Atoms} atoms @param {number[]} changed */
  take(atoms, changed) {
    const [slaves, executors, starts] = ["slave_id", "executor_id", "started_at"].map((name) => atoms.column(name));
    const unordered = new Set();
    this.#grow(atoms.size);
    for (const place of changed) {
      const [slave, executor, start] = [slaves[place], executors[place], starts[place]];
      const isPlaced = !Number.isNaN(slave) && !Number.isNaN(executor) && !Number.isNaN(start);
      const lane = isPlaced ? this.#lane(slave, atoms.text("slave_url", place), executor) : null;
      const before = this.#all[this.#numbers[place]];
      if (before === lane && (!lane || this.#starts[place] === start)) continue;
      // An atom that runs again goes elsewhere, or begins later.
      if (before) before.places.splice(before.places.indexOf(place), 1);
      this.#numbers[place] = lane?.number ?? 0;
      this.#starts[place] = start;
      if (!lane) continue;
      const last = lane.places.at(-1);
      if (last !== undefined && starts[last] > start) unordered.add(lane);
      lane.places.push(place);
    }
    for (const { places } of unordered) places.sort((one, other) => starts[one] - starts[other]);
    const tried = new Set();
    for (const place of changed) this.#takeTries(atoms, place, tried);
    for (const { tries } of tried) tries.sort((one, other) => one.from - other.from);
    for (const place of changed) this.#takeBatch(atoms, place);
  }

  /** Places the bars of attempts that are not placed yet: there are ever more of an atom, never less. Whose order may be wrong
      then is in `lanes`. */
  #takeTries(atoms, place, lanes) {
    const tries = atoms.tries(place);
    const known = this.#tried.get(place) ?? 0;
    if (tries.length <= known) return;
    this.#tried.set(place, tries.length);
    tries.slice(known).forEach((tried, at) => {
      const from = tried.started_at;
      if (typeof from !== "number" || typeof tried.executor_id !== "number") return;
      const lane = this.#lane(tried.slave_id, tried.slave_url, tried.executor_id);
      lane.tries.push({ place, number: known + at + 1, from, to: from + (tried.actual_time ?? 0) });
      lanes.add(lane);
    });
  }

  /** Places the bar of the batch that did not settle an atom, once for all that were in it. */
  #takeBatch(atoms, place) {
    const batch = atoms.batchInVain(place);
    const slave = atoms.number("slave_id", place);
    if (!batch || Number.isNaN(slave) || this.#batches.has(place)) return;
    const { batches } = this.#lane(slave, atoms.text("slave_url", place), batch.executor_id);
    const from = batch.started_at;
    let bar = batches.find((one) => one.from === from && one.size === batch.num_atoms);
    if (!bar) batches.push(bar = { from, to: from + batch.actual_time, size: batch.num_atoms, again: 0 });
    bar.again += 1;
    this.#batches.set(place, bar);
  }

  #grow(size) {
    if (size <= this.#numbers.length) return;
    const length = Math.max(64, this.#numbers.length * 2, size);
    const longer = (old, Kind) => {
      const array = new Kind(length);
      array.set(old);
      return array;
    };
    this.#numbers = longer(this.#numbers, Uint32Array);
    this.#starts = longer(this.#starts, Float64Array);
  }

  #slave(id, url) {
    if (!this.#slaves.has(id)) this.#slaves.set(id, { url: url ?? `slave ${id}`, lanes: new Map() });
    return this.#slaves.get(id);
  }

  #lane(id, url, executor) {
    const { lanes } = this.#slave(id, url);
    if (!lanes.has(executor)) {
      const lane = { number: this.#all.length, places: [], tries: [], batches: [] };
      lanes.set(executor, lane);
      this.#all.push(lane);
    }
    return lanes.get(executor);
  }

  /**
   * The rows, by slave and executor; the places of a lane are atoms in the order of their starts. Slaves that only set
   * up have a row, too.
   * @param {{slave_id?: number | null, slave_url?: string | null}[]} steps
   * @returns {Row[]}
   */
  list(steps) {
    for (const step of steps) if (step.slave_id !== null && step.slave_id !== undefined) this.#slave(step.slave_id, step.slave_url);
    const found = [];
    for (const [slave, { url, lanes }] of [...this.#slaves].sort(([one], [other]) => one - other)) {
      found.push({ kind: "slave", slave, url });
      for (const [executor, { places, tries, batches }] of [...lanes].sort(([one], [other]) => one - other)) {
        if (places.length || tries.length || batches.length) found.push({ kind: "lane", slave, url, executor, places, tries, batches });
      }
    }
    return found;
  }
}

/** When an atom began and ended, or `now` while it runs; in seconds since 1970. */
export function times(atoms, place, now) {
  const began = atoms.number("started_at", place);
  const took = atoms.number("actual_time", place);
  if (atoms.states[place] === RUNNING) return [began, Math.max(began, now)];
  return [began, Number.isNaN(took) ? began : began + took];
}

/** How long an atom will take that has not ended: as expected, else as the median of those that ended. */
export function expectations(atoms) {
  const times = atoms.column("actual_time");
  const took = [];
  for (let place = 0; place < atoms.size; place += Math.ceil(atoms.size / SAMPLE)) if (!Number.isNaN(times[place])) took.push(times[place]);
  took.sort((one, other) => one - other);
  const median = took.length ? took[took.length >> 1] : NaN;
  const expected = atoms.column("expected_time");
  return (place) => (Number.isNaN(expected[place]) ? median : expected[place]);
}

/**
 * Where the rest of a build will run, if each executor takes the next waiting atom as soon as it is free.
 * @param {import("./atoms.js").Atoms} atoms
 * @param {Row[]} found
 * @param {number} now
 * @returns {{row: number, place: number, from: number, to: number}[]} first the expected rest of those that run; of very
 *   many waiting atoms nothing
 */
export function predict(atoms, found, now) {
  const expected = expectations(atoms);
  const bars = [];
  const heap = [];
  found.forEach((row, index) => {
    if (row.kind !== "lane") return;
    const last = row.places[row.places.length - 1];
    let free = now;
    if (last !== undefined && atoms.states[last] === RUNNING) {
      const end = atoms.number("started_at", last) + expected(last);
      if (end > now) {
        bars.push({ row: index, place: last, from: now, to: end });
        free = end;
      }
    }
    push(heap, { free, row: index });
  });
  if (!heap.length || atoms.counts[WAITING] > MOST_PREDICTED) return bars;
  for (let place = 0; place < atoms.size; place += 1) {
    if (atoms.states[place] !== WAITING) continue;
    const takes = expected(place);
    if (Number.isNaN(takes)) continue;
    const next = pop(heap);
    bars.push({ row: next.row, place, from: next.free, to: next.free + takes });
    push(heap, { free: next.free + takes, row: next.row });
  }
  return bars;
}

const before = (one, other) => one.free < other.free || (one.free === other.free && one.row < other.row);

function push(heap, entry) {
  let at = heap.length;
  heap.push(entry);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(heap[at], heap[parent])) break;
    [heap[at], heap[parent]] = [heap[parent], heap[at]];
    at = parent;
  }
}

function pop(heap) {
  const first = heap[0];
  const last = heap.pop();
  if (!heap.length) return first;
  heap[0] = last;
  for (let at = 0; ;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < heap.length && before(heap[child], heap[least])) least = child;
    }
    if (least === at) return first;
    [heap[at], heap[least]] = [heap[least], heap[at]];
    at = least;
  }
}

/** The last of some places, ordered by start, that began at `moment` at the latest; -1 if none did. */
export function lastBegun(atoms, places, moment) {
  const starts = atoms.column("started_at");
  let [low, high] = [0, places.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[places[middle]] <= moment) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Steps of an axis of time: round numbers of seconds, so far apart that about `number` fit. */
export function tickStep(seconds, number) {
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600,
    7200, 14400, 21600, 43200, 86400];
  return steps.find((step) => seconds / step <= number) ?? Math.ceil(seconds / number / 86400) * 86400;
}

/** A moment of an axis: `0`, `0.25 s`, `1:05`, `2:00:00`. */
export function tickText(seconds, step) {
  if (seconds <= 0) return "0";
  if (step < 1) return `${seconds.toFixed(step < 0.01 ? 3 : step < 0.1 ? 2 : 1)} s`;
  if (step < 60 && seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
