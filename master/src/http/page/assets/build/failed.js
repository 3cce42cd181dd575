// Failed atoms first: each with the last lines of what it printed.

import { read } from "../api.js";
import { paint } from "../console/paint.js";
import { Line } from "../console/source.js";
import { chip, fill, h } from "../dom.js";
import { count, duration, ending } from "../format.js";
import { to } from "../router.js";
import { short } from "../text.js";
import { Artifacts } from "./artifacts.js";
import { FAILED } from "./atoms.js";

/** How many failed atoms are listed here; the table has all of them. */
const LISTED = 10;
/** How many show their last lines at once. */
const OPEN = 3;
const LAST_LINES = 10;

export class FailedAtoms {
  #items = new Map();

  constructor(build, atoms, signal, showAll) {
    this.build = build;
    this.atoms = atoms;
    this.signal = signal;
    this.title = h("h2", { id: "failed-title" });
    this.list = h("div");
    this.more = h("button", { type: "button", hidden: true, on: { click: () => showAll(FAILED) } });
    this.element = h("section", { class: "card failures", "aria-labelledby": "failed-title", hidden: true }, this.title, this.list, this.more);
  }

  /** Shows those that have failed by now. */
  draw() {
    const { atoms } = this;
    const failed = atoms.failed.slice(0, LISTED);
    const number = atoms.failed.length;
    this.element.hidden = !number;
    fill(this.title, count(number, "failed atom"));
    for (const place of failed) {
      if (this.#items.has(place)) continue;
      const item = this.#item(place, this.#items.size < OPEN);
      this.#items.set(place, item);
      this.list.append(item);
    }
    for (const [place, item] of this.#items) {
      if (failed.includes(place)) continue;
      item.remove();
      this.#items.delete(place);
    }
    this.more.hidden = number <= LISTED;
    fill(this.more, `Show all ${number.toLocaleString("en")} in the table`);
  }

  #item(place, isOpen) {
    const { atoms } = this;
    const [subjob, atom] = [atoms.number("subjob_id", place), atoms.number("atom_id", place)];
    const href = to.atom(this.build, subjob, atom);
    const output = h("pre", { class: "console tail", tabindex: "0", "aria-label": "Last lines" }, "…");
    const took = atoms.number("actual_time", place);
    const artifacts = new Artifacts(`/v2/builds/${this.build}/subjobs/${subjob}/atoms/${atom}`, this.signal);
    const details = h("details", {},
      h("summary", {}, chip({ key: "failed", word: "Failed" }), " ", h("bdi", { class: "strong" }, short(atoms.label(place), 200)),
        h("span", { class: "muted small" }, ` ${short(ending(atoms.end(place)), 120)}${Number.isNaN(took) ? "" : `, ${duration(took)}`}`)),
      output,
      h("p", {}, h("a", { href }, "Open the console")), artifacts.element);
    let isRead = false;
    details.addEventListener("toggle", () => {
      if (!details.open || isRead) return;
      isRead = true;
      this.#read(output, subjob, atom);
      artifacts.load();
    });
    details.open = isOpen;
    return details;
  }

  async #read(output, subjob, atom) {
    try {
      const path = `/v2/builds/${this.build}/subjobs/${subjob}/atoms/${atom}/console?max_lines=${LAST_LINES}`;
      const { content } = await read(path, this.signal);
      if (!content) return output.replaceWith(h("p", { class: "muted" }, "It printed nothing."));
      const lines = content.replace(/\n$/, "").split("\n").map((line) => new Line(line));
      let look = null;
      fill(output, lines.map(({ text, cut }) => {
        const painted = paint(text, look, cut);
        look = painted.look;
        return h("span", { class: "tail-line" }, painted.element, "\n");
      }));
    } catch (error) {
      if (!this.signal.aborted) fill(output, error.message);
    }
  }
}
