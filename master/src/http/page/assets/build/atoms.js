// All atoms of a build, in columns: a build may have a hundred thousand, and objects would take ten times the memory. Pure.

/** States of an atom, as numbers that order them: what needs a look comes first. */
export const FAILED = 0, RUNNING = 1, FLAKY = 2, CANCELED = 3, PASSED = 4, WAITING = 5;
/** Keys of the states, for colours and icons, and their words. */
export const KEYS = ["failed", "running", "flaky", "canceled", "passed", "waiting"];
export const WORDS = ["Failed", "Running", "Flaky", "Canceled", "Passed", "Waiting"];

/** The word for atoms that wait when their build is over. */
const NOT_RUN = "Not run";

/** The columns of rows that come without their names. */
const COLUMNS = ["subjob_id", "atom_id", "name", "value", "state", "exit_code", "signal", "trouble", "attempt", "slave_id",
  "slave_url", "executor_id", "started_at", "actual_time", "expected_time", "output_bytes", "max_memory_bytes", "cpu_seconds",
  "is_flaky", "failed_attempts", "fails_as_flaky", "worker", "batch_in_vain"];
const NUMBERS = ["subjob_id", "atom_id", "exit_code", "signal", "attempt", "slave_id", "executor_id", "started_at",
  "actual_time", "expected_time", "output_bytes", "max_memory_bytes", "cpu_seconds"];
/** Subjobs with larger numbers are found in another way, so that a number alone takes no memory. */
const MOST_SUBJOBS = 2 ** 22;
const TEXTS = ["name", "value", "trouble", "slave_url"];

export class Atoms {
  #numbers = Object.fromEntries(NUMBERS.map((name) => [name, new Float64Array(0)]));
  #texts = Object.fromEntries(TEXTS.map((name) => [name, []]));
  /** One string for each text that many atoms have. */
  #known = new Map();
  /** The places of the first atoms of subjobs, plus 1, and of all other atoms. */
  #firsts = new Uint32Array(0);
  #others = new Map();
  /** The attempts before the last one, of the atoms that were run again: few. */
  #tries = new Map();
  /** The last batch of those atoms that a batch did not settle. */
  #batches = new Map();
  /** The state of each atom. */
  states = new Uint8Array(0);
  /** How many atoms there are. */
  size = 0;
  /** Changes with each `put`. */
  version = 0;
  /** How many atoms are in each state. */
  counts = WORDS.map(() => 0);
  /** The places of those that have failed, in the order in which that became known. */
  failed = [];
  /** Names of the numbers that are known of some atom. */
  known = new Set();
  /** Whether the build is over: what waits then never ran. */
  isOver = false;
  /** The places that have changed since somebody took them. */
  #changed = [];
  columns = COLUMNS;

  /**
   * Takes atoms as they now are.
   * @param {string[] | undefined} columns names of the entries of each row, or as they were last
   * @param {any[][]} rows
   */
  put(columns, rows) {
    columns ??= this.columns;
    this.columns = columns;
    const at = Object.fromEntries(columns.map((name, index) => [name, index]));
    const numbers = NUMBERS.filter((name) => name in at);
    const texts = TEXTS.filter((name) => name in at);
    for (const row of rows) {
      const [subjob, atom] = [row[at.subjob_id], row[at.atom_id]];
      let place = this.find(subjob, atom);
      if (place === undefined) {
        place = this.size;
        this.#grow(place + 1);
        this.#note(subjob, atom, place);
        this.states[place] = WAITING;
        this.counts[WAITING] += 1;
      }
      for (const name of numbers) {
        const number = row[at[name]] ?? NaN;
        this.#numbers[name][place] = number;
        if (number === number) this.known.add(name);
      }
      for (const name of texts) this.#texts[name][place] = this.#shared(name, row[at[name]]);
      if (row[at.failed_attempts]?.length) this.#tries.set(place, row[at.failed_attempts]);
      if (row[at.batch_in_vain]) this.#batches.set(place, row[at.batch_in_vain]);
      const flaky = !row[at.is_flaky] ? null : row[at.fails_as_flaky] ? "fails" : "passes";
      this.#become(place, stateOf(row[at.state], row[at.exit_code], row[at.trouble], flaky));
      this.#changed.push(place);
    }
    this.version += 1;
  }

  #become(place, state) {
    const before = this.states[place];
    if (before === state) return;
    this.states[place] = state;
    this.counts[before] -= 1;
    this.counts[state] += 1;
    if (state === FAILED) this.failed.push(place);
    else if (before === FAILED) this.failed.splice(this.failed.indexOf(place), 1);
  }

  /** Says that the build is over. */
  buildEnded() {
    if (this.isOver) return;
    this.isOver = true;
    this.version += 1;
  }

  /** The word of a state. */
  word(state) {
    return state === WAITING && this.isOver ? NOT_RUN : WORDS[state];
  }

  /** The places that have changed since this was asked last. */
  takeChanged() {
    const changed = this.#changed;
    this.#changed = [];
    return changed;
  }

  #shared(name, text) {
    if (text === null || text === undefined) return null;
    if (name === "value") return text;
    if (!this.#known.has(text)) this.#known.set(text, text);
    return this.#known.get(text);
  }

  #grow(size) {
    if (size > this.states.length) {
      const length = Math.max(64, this.states.length * 2, size);
      const longer = (old, Kind) => {
        const array = new Kind(length).fill(NaN);
        array.set(old);
        return array;
      };
      this.states = longer(this.states, Uint8Array);
      for (const name of NUMBERS) this.#numbers[name] = longer(this.#numbers[name], Float64Array);
    }
    this.size = size;
  }

  /** A number of an atom; NaN where it is not known. */
  number(name, place) {
    return this.#numbers[name][place];
  }

  /** The numbers of all atoms, and perhaps more behind them. */
  column(name) {
    return this.#numbers[name];
  }

  /** A text of an atom, or null. */
  text(name, place) {
    return this.#texts[name][place] ?? null;
  }

  /** What an atom is called: what its variable is set to. */
  label(place) {
    return this.text("value", place) ?? this.text("name", place) ?? `atom ${this.number("subjob_id", place)}.${this.number("atom_id", place)}`;
  }

  /** The place of an atom, or undefined. */
  find(subjob, atom) {
    if (atom !== 0 || subjob >= MOST_SUBJOBS) return this.#others.get(`${subjob} ${atom}`);
    const found = this.#firsts[subjob];
    return found ? found - 1 : undefined;
  }

  #note(subjob, atom, place) {
    if (atom !== 0 || subjob >= MOST_SUBJOBS) {
      this.#others.set(`${subjob} ${atom}`, place);
      return;
    }
    if (subjob >= this.#firsts.length) {
      const longer = new Uint32Array(Math.max(64, this.#firsts.length * 2, subjob + 1));
      longer.set(this.#firsts);
      this.#firsts = longer;
    }
    this.#firsts[subjob] = place + 1;
  }

  /**
   * The attempts at an atom that failed, after which it was run again; the oldest first.
   * @returns {{exit_code: number | null, signal?: number | null, trouble?: string | null, started_at?: number | null, actual_time?: number | null, slave_id: number, slave_url?: string | null, executor_id?: number | null}[]}
   */
  tries(place) {
    return this.#tries.get(place) ?? [];
  }

  /**
   * The last batch that an atom was in and that did not settle it, if there was one.
   * @returns {{started_at: number, actual_time: number, executor_id: number, num_atoms: number} | undefined}
   */
  batchInVain(place) {
    return this.#batches.get(place);
  }

  /** How an atom ended: as `ending` takes it. */
  end(place) {
    const number = (name) => {
      const found = this.number(name, place);
      return Number.isNaN(found) ? null : found;
    };
    return { exit_code: number("exit_code"), signal: number("signal"), trouble: this.text("trouble", place), flaky: this.states[place] === FLAKY || (number("exit_code") === 0 && this.states[place] === FAILED) };
  }

  /**
   * The places of the atoms that a filter has, in order.
   * @param {{text?: string, state?: number | null, sort?: string, isDown?: boolean}} wanted
   * @returns {Uint32Array}
   */
  ordered({ text = "", state = null, sort = "id", isDown = false }) {
    const places = new Uint32Array(this.size);
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (let place = 0; place < this.size; place += 1) {
      if (state !== null && this.states[place] !== state) continue;
      if (words.length && !this.#has(place, words)) continue;
      places[found] = place;
      found += 1;
    }
    const order = places.subarray(0, found);
    const sign = isDown ? -1 : 1;
    if (sort === "id") {
      if (isDown) order.reverse();
    } else if (sort === "state") {
      order.sort((one, other) => sign * (this.states[one] - this.states[other]) || one - other);
    } else if (TEXTS.includes(sort)) {
      const texts = this.#texts[sort];
      const compare = (one, other) => (one === other ? 0 : one === null ? 1 : other === null ? -1 : one < other ? -sign : sign);
      order.sort((one, other) => compare(texts[one] ?? null, texts[other] ?? null) || one - other);
    } else {
      const numbers = this.#numbers[sort];
      // What is not known comes last, whichever way the rest is sorted.
      order.sort((one, other) => {
        const [a, b] = [numbers[one], numbers[other]];
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b) || one - other;
        return sign * (a - b) || one - other;
      });
    }
    return order;
  }

  #has(place, words) {
    const texts = [this.#texts.value[place], this.#texts.name[place], this.#texts.trouble[place], this.#texts.slave_url[place]];
    const text = texts.filter(Boolean).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }
}

/** The state of an atom as its number. @param {"passes" | "fails" | null} flaky whether it passed only when it was run again, and what that counts as */
export function stateOf(state, exitCode, trouble, flaky = null) {
  switch (state) {
    case "NOT_STARTED": return WAITING;
    case "IN_PROGRESS": return RUNNING;
    case "CANCELED":
    case "NOT_RUN": return CANCELED;
    default:
      if (exitCode !== 0 || trouble || flaky === "fails") return FAILED;
      return flaky ? FLAKY : PASSED;
  }
}
