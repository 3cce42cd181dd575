// "Why did it take so long?": named seconds that add up to the whole.

import { readOr } from "../api.js";
import { fill, h } from "../dom.js";
import { count, duration } from "../format.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** The parts as people say them, and what each of them means. */
const PARTS = {
  queue: ["Waiting for its turn", "Other builds were prepared before."],
  fetch: ["Fetch", "The master fetched the project."],
  atomizer: ["Atomizer", "The master found out what to run."],
  waiting_for_slaves: ["Waiting for slaves", "No slave was free."],
  set_up: ["Set-up", "The first slave fetched the commit and ran setup_build."],
  matrix: ["Builds of the matrix", "Each of them says where its time went."],
  atoms: ["Atoms, shared out evenly", "What the atoms take on these executors at best; where the build was cut off, all the time in which they ran."],
  batches_in_vain: ["Batches whose atoms ran again", "Many atoms ran in one process, and it did not settle them: one failed, or was not named."],
  longest_atom: ["Longest atom beyond that", "One atom is longer than an even share: split it."],
  imbalance: ["Imbalance", "Executors had nothing left to run while others ran."],
  nothing_ran: ["Nothing ran", "No atom ran, though some had run before and some were left: slaves or the master were away, or hand-outs on their way."],
  retries: ["Retries", "Only atoms ran that had run before: they had failed, or were lost or doubted."],
  upload: ["Upload", "The last results came to the master, and the archive was made."],
};

/** Seconds that are shown as nothing. */
const NOTHING = 0.0005;

/**
 * The parts of an explanation that took some time, with their shares of the whole. Pure.
 * @param {{seconds: number, parts: {name: string, seconds: number}[]}} explanation
 * @returns {{word: string, hint: string, seconds: number, share: number}[]}
 */
export function partsOf({ seconds: whole, parts }) {
  return parts.filter(({ seconds }) => seconds >= NOTHING).map(({ name, seconds }) => {
    const [word, hint] = PARTS[name] ?? [short(name, 60).replace(/_/g, " "), ""];
    return { word, hint, seconds, share: whole > 0 ? Math.max(0, seconds) / whole : 0 };
  });
}

export class Why {
  constructor(build) {
    this.build = build;
    this.list = h("div");
    this.element = h("section", { class: "card", "aria-labelledby": "why-title", hidden: true },
      h("h2", { id: "why-title" }, "Why did it take so long?"), this.list);
  }

  async load(signal) {
    const found = await readOr(null, `/v2/builds/${this.build}/explanation`, signal);
    if (!found?.explanation?.seconds) return;
    this.element.hidden = false;
    const { explanation } = found;
    const rows = partsOf(explanation).map(({ word, hint, seconds, share }) => {
      const bar = h("span", { class: "share", "aria-hidden": "true" });
      bar.style.width = `${share * 100}%`;
      return h("tr", {}, h("th", { scope: "row" }, word, h("span", { class: "hint muted small" }, hint)),
        h("td", { class: "number-cell nowrap" }, duration(seconds)), h("td", { class: "number-cell nowrap" }, `${Math.round(share * 100)} %`), h("td", { class: "track" }, bar));
    });
    const whole = h("tr", {}, h("th", { scope: "row" }, "The whole build"), h("td", { class: "number-cell nowrap" }, duration(explanation.seconds)), h("td"), h("td"));
    const longest = explanation.longest_atom;
    fill(this.list, h("table", { class: "reasons" }, h("tbody", {}, rows), h("tfoot", {}, whole)),
      h("p", { class: "muted small" }, explanation.num_executors ? `${count(explanation.num_executors, "executor")} ran its atoms. ` : null,
        longest ? ["The longest atom took ", h("a", { href: to.atom(this.build, longest.subjob_id, longest.atom_id) }, duration(longest.seconds)), "."] : null,
        explanation.hunting ? ` Idle executors hunted for flakes meanwhile: ${count(explanation.hunting.runs, "run")} in ${duration(explanation.hunting.executor_seconds)}, ${count(explanation.hunting.flakes, "flake")} found.` : null));
  }
}
