// The table of all atoms of a build, which says in text what the waterfall draws.

import { chip, fill, h } from "../dom.js";
import { bytes, count, duration, ending } from "../format.js";
import { to } from "../router.js";
import { short } from "../text.js";
import { WindowTable } from "../window_table.js";
import { KEYS, RUNNING, WAITING, WORDS } from "./atoms.js";

const COLUMNS = [
  { key: "id", title: "#", isNumber: true, width: 52 },
  { key: "state", title: "State", width: 128 },
  { key: "value", title: "Atom", className: "wide", width: null },
  { key: "exit_code", title: "End", width: 118 },
  { key: "actual_time", title: "Duration", isNumber: true, width: 108 },
  { key: "expected_time", title: "Expected", isNumber: true, width: 104 },
  { key: "started_at", title: "Start", isNumber: true, width: 108 },
  { key: "slave_url", title: "Slave", className: "end-first", width: 136 },
  { key: "executor_id", title: "Executor", isNumber: true, width: 82, isSpare: true },
  { key: "attempt", title: "Attempt", isNumber: true, width: 80, isSpare: true },
  { key: "output_bytes", title: "Output", isNumber: true, width: 72 },
  { key: "max_memory_bytes", title: "Memory", isNumber: true, width: 80 },
  { key: "cpu_seconds", title: "Processor", isNumber: true, width: 92 },
];
/** Columns that not every master knows; one that knows nothing of them has no such columns. */
const MAYBE = ["expected_time", "attempt", "output_bytes", "max_memory_bytes", "cpu_seconds"];
/** From this width of the window on, all columns have room; below, the spare ones are left out. */
const ROOMY = "(min-width: 1450px)";
/** The table is ordered anew so often at most, in milliseconds, and takes a tenth of the time at most. */
const ORDERED_EVERY = 1000, SHARE = 10;

export class AtomTable {
  #timer = 0;
  #orderAt = 0;
  /** How many atoms there were when they were ordered last. */
  #ordered = 0;

  constructor(build, atoms, signal) {
    this.build = build;
    this.atoms = atoms;
    this.wanted = { text: "", state: null, sort: "id", isDown: false };
    this.began = NaN;
    /** The places of the atoms that are shown. */
    this.order = new Uint32Array(0);
    this.text = h("input", { type: "search", id: "atom-text", placeholder: "Filter atoms", on: { input: () => this.filter() } });
    this.state = h("select", { id: "atom-state", on: { change: () => this.filter() } }, h("option", { value: "" }, "All states"),
      WORDS.map((word, state) => h("option", { value: state }, word)));
    this.found = h("span", { class: "muted small", role: "status" });
    this.place = h("div");
    this.element = h("section", { class: "card", "aria-labelledby": "atoms-title" },
      h("h2", { id: "atoms-title" }, "Atoms ", this.found),
      h("div", { class: "filters" }, h("label", { class: "visually-hidden", for: "atom-text" }, "Filter atoms by text"), this.text,
        h("label", { class: "visually-hidden", for: "atom-state" }, "State of atoms"), this.state),
      this.place);
    this.roomy = matchMedia(ROOMY);
    this.roomy.addEventListener("change", () => {
      this.#make(this.known);
      this.tick();
    }, { signal });
    this.#make([]);
  }

  #make(known) {
    this.columns = COLUMNS.filter(({ key, isSpare }) => (!MAYBE.includes(key) || known.includes(key)) && (!isSpare || this.roomy.matches));
    this.known = known;
    this.table = new WindowTable({ caption: "All atoms", columns: this.columns, sort: (key) => this.sort(key), empty: "No atom fits." });
    fill(this.place, this.table.scroller);
    this.table.sorted(this.wanted.sort, this.wanted.isDown);
  }

  filter() {
    this.wanted.text = this.text.value;
    this.wanted.state = this.state.value === "" ? null : Number(this.state.value);
    this.table.scroller.scrollTop = 0;
    this.#order();
  }

  /** Shows the atoms of one state. */
  filterState(state) {
    this.state.value = String(state);
    this.filter();
    this.element.scrollIntoView({ block: "start" });
  }

  sort(key) {
    const isSame = this.wanted.sort === key;
    // What is long, large or late is looked for first.
    const isDownFirst = ["actual_time", "expected_time", "output_bytes", "max_memory_bytes", "cpu_seconds", "attempt"].includes(key);
    this.wanted.isDown = isSame ? !this.wanted.isDown : isDownFirst;
    this.wanted.sort = key;
    this.table.sorted(key, this.wanted.isDown);
    this.#order();
  }

  /** Shows the atoms as they now are. `began`: when the build began, in seconds since 1970. */
  draw(began) {
    this.began = began;
    this.#nameWaiting();
    const known = MAYBE.filter((key) => this.atoms.known.has(key));
    if (known.length > this.known.length) this.#make(known);
    const wait = this.#orderAt - performance.now();
    // The first atoms are not waited for.
    if (wait <= 0 || !this.#ordered) this.#order();
    else this.#timer ||= setTimeout(() => this.#order(), wait);
  }

  #nameWaiting() {
    const option = this.state.options[1 + WAITING];
    const word = this.atoms.word(WAITING);
    if (option.text !== word) option.text = word;
  }

  #order() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const began = performance.now();
    const order = this.atoms.ordered(this.wanted);
    const ended = performance.now();
    this.#orderAt = ended + Math.max(ORDERED_EVERY, SHARE * (ended - began));
    fill(this.found, order.length === this.atoms.size ? count(order.length, "atom") : `${order.length.toLocaleString("en")} of ${count(this.atoms.size, "atom")}`);
    this.order = order;
    this.#ordered = this.atoms.size;
    this.tick();
  }

  /** Lets the durations of running atoms in sight go on. */
  tick() {
    const { order } = this;
    const now = Date.now() / 1000;
    this.table.show(order.length, (row) => this.#cells(order[row], now));
  }

  #cells(place, now) {
    const { atoms } = this;
    const number = (name) => atoms.number(name, place);
    const state = atoms.states[place];
    const isAgain = state === WAITING && !atoms.isOver && atoms.tries(place).length > 0;
    const word = isAgain ? "Waits to run again" : atoms.word(state);
    const began = number("started_at");
    const took = state === RUNNING && !Number.isNaN(began) ? now - began : number("actual_time");
    const label = short(atoms.label(place), 200);
    const slave = short(atoms.text("slave_url", place) ?? "", 60);
    const href = to.atom(this.build, number("subjob_id"), number("atom_id"));
    const all = {
      id: number("atom_id") ? `${number("subjob_id")}.${number("atom_id")}` : String(number("subjob_id")),
      state: [word, () => chip({ key: KEYS[state], word })],
      value: [`${href} ${label}`, () => h("a", { href, title: atoms.label(place).slice(0, 1000) }, h("bdi", {}, label))],
      exit_code: short(ending(atoms.end(place)), 60),
      actual_time: some(took, duration),
      expected_time: some(number("expected_time"), duration),
      started_at: some(began - this.began, (seconds) => `+${duration(seconds)}`),
      slave_url: [slave, () => h("bdi", { title: slave }, slave)],
      executor_id: some(number("executor_id"), String),
      attempt: some(number("attempt"), String),
      output_bytes: some(number("output_bytes"), bytes),
      max_memory_bytes: some(number("max_memory_bytes"), bytes),
      cpu_seconds: some(number("cpu_seconds"), duration),
    };
    return this.columns.map(({ key }) => all[key]);
  }
}

function some(number, words) {
  return Number.isNaN(number) ? "" : words(number);
}
