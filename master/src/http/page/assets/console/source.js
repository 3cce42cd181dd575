// The lines of a console, read by ranges and kept while they are near what is looked at.

import { read, stream } from "../api.js";

/** How many lines are read at a time. */
export const CHUNK = 250;
/** How many chunks are kept. */
const KEPT = 48;
/** Of a longer line only so many characters are kept; no screen shows more of it. */
const LONGEST = 1 << 16;
/** How many lines a search reads at a time from a console that still grows. */
const SEARCHED = 5000;

/** A line as it is kept, and how many characters of it are left out. */
export class Line {
  /** @param {string} text */
  constructor(text) {
    this.text = text;
    this.cut = 0;
    if (text.length <= LONGEST) return;
    // What comes after a carriage return covers what was before: the end is what a terminal would show.
    const tail = text.slice(-LONGEST);
    const covered = tail.indexOf("\r");
    const kept = covered >= 0 ? tail.slice(covered + 1) : text.slice(0, LONGEST);
    this.cut = covered >= 0 ? 0 : text.length - LONGEST;
    // A part of a string keeps the whole string in memory; a copy does not.
    this.text = [...kept].join("");
  }
}

export class Source {
  #chunks = new Map();
  #asked = new Map();

  /** @param {string} path of the console @param {AbortSignal} signal @param {string} [query] what each request has, with a `&` behind it */
  constructor(path, signal, query = "") {
    this.path = `${path}?${query}`;
    this.signal = signal;
    /** How many lines there are. */
    this.total = 0;
    /** Changes when the output begins anew, since the atom runs again. */
    this.life = 0;
  }

  /** A line that was read, or undefined. @returns {Line | undefined} */
  line(number) {
    return this.#chunks.get(Math.floor(number / CHUNK))?.[number % CHUNK];
  }

  /** Learns how many lines there are; whether there is something new. */
  async refresh() {
    const from = Math.max(0, this.total - 1);
    const answer = await read(`${this.path}offset_line=${this.total ? from : 0}&max_lines=${CHUNK}`, this.signal).catch((error) => {
      // Fewer lines than before: the atom has begun anew.
      if (error.status === 400 && this.total) return null;
      throw error;
    });
    if (!answer || answer.total_num_lines < this.total) {
      this.#chunks.clear();
      this.total = 0;
      this.life += 1;
      return answer ? this.refresh() : true;
    }
    const hasGrown = answer.total_num_lines !== this.total;
    if (hasGrown) {
      const last = Math.floor(this.total / CHUNK);
      this.total = answer.total_num_lines;
      this.#put(answer.offset_line, linesOf(answer));
      // A chunk that was not full is read anew, unless the answer went on where it ended.
      if ((this.#chunks.get(last)?.length ?? 0) < Math.min(CHUNK, this.total - last * CHUNK)) this.#chunks.delete(last);
    }
    return hasGrown;
  }

  #put(from, lines) {
    lines.forEach((line, at) => {
      const number = from + at;
      const index = Math.floor(number / CHUNK);
      const chunk = this.#chunks.get(index) ?? [];
      if (number % CHUNK > chunk.length) return;
      chunk[number % CHUNK] = line;
      this.#chunks.set(index, chunk);
    });
    this.#forget();
  }

  /** Reads the chunks of some lines that are not here; whether some were read. */
  async need(first, last) {
    const missing = [];
    for (let index = Math.floor(first / CHUNK); index * CHUNK < Math.min(last, this.total); index += 1) {
      const wanted = Math.min(CHUNK, this.total - index * CHUNK);
      const chunk = this.#chunks.get(index);
      if (chunk && chunk.length >= wanted) {
        this.#chunks.delete(index);
        this.#chunks.set(index, chunk);
      } else missing.push(index);
    }
    await Promise.all(missing.map((index) => this.#read(index)));
    return missing.length > 0;
  }

  #read(index) {
    const asked = this.#asked.get(index) ?? this.#readNow(index).finally(() => this.#asked.delete(index));
    this.#asked.set(index, asked);
    return asked;
  }

  async #readNow(index) {
    const { life } = this;
    const lines = [];
    const wanted = () => Math.min(CHUNK, this.total - index * CHUNK);
    // An answer has 8 MiB at most: of very long lines it has fewer.
    while (lines.length < wanted()) {
      const answer = await read(`${this.path}offset_line=${index * CHUNK + lines.length}&max_lines=${CHUNK - lines.length}`, this.signal);
      const more = linesOf(answer);
      if (!more.length) break;
      lines.push(...more);
    }
    if (life !== this.life) return;
    this.#chunks.set(index, lines);
    this.#forget();
  }

  #forget() {
    for (const index of this.#chunks.keys()) {
      if (this.#chunks.size <= KEPT) return;
      this.#chunks.delete(index);
    }
  }

  /**
   * Gives all lines in order, some at a time, with the number of the first.
   * @param {boolean} isOver whether all that was printed can be read in one stream
   */
  async *all(isOver, signal) {
    if (isOver) yield* this.#streamed(signal);
    else yield* this.#paged(signal);
  }

  async *#streamed(signal) {
    const body = await stream(`${this.path}offset_byte=0`, signal);
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let [rest, number] = ["", 0];
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + (value ?? "")).split("\n");
      rest = lines.pop();
      if (done && rest) lines.push(rest);
      if (lines.length) yield { first: number, lines };
      number += lines.length;
      if (done) return;
    }
  }

  async *#paged(signal) {
    for (let first = 0; first < this.total;) {
      const answer = await read(`${this.path}offset_line=${first}&max_lines=${SEARCHED}`, signal);
      const lines = textsOf(answer);
      if (!lines.length) return;
      yield { first, lines };
      first += lines.length;
    }
  }
}

function textsOf({ content, num_lines: number }) {
  const lines = content.split("\n");
  lines.length = Math.min(lines.length, number);
  return lines;
}

function linesOf(answer) {
  return textsOf(answer).map((text) => new Line(text));
}
