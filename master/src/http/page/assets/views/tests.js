// The tests of a build, as the reports of its atoms name them.

import { read, readBuild } from "../api.js";
import { chip, fill, h, name } from "../dom.js";
import { count, duration, isOver, jobOf, projectOf } from "../format.js";
import { follow, soon } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** How many tests are read at a time, and how many are listed at most: more are found by a text. */
const PAGE = 100, MOST = 1000;
/** How long typing must pause before tests are read, in milliseconds. */
const TYPING = 200;

/** The outcomes, with the key of their colour and icon, and a word. */
const OUTCOMES = [
  ["failed", "failed", "Failed"],
  ["flaky", "flaky", "Flaky"],
  ["skipped", "canceled", "Skipped"],
  ["passed", "passed", "Passed"],
];

/** Shows the view. */
export async function show({ main, params, signal, query }) {
  const view = new Tests(main, params.build, signal, query);
  await follow({
    events: `/v2/builds/${params.build}/events`,
    load: () => view.load(),
    on: {
      build: ({ build }) => view.take(build),
      atoms: soon(() => view.loadTests(), signal),
    },
    signal,
    isOver: () => view.isWhole,
  });
}

class Tests {
  constructor(main, build, signal, query) {
    this.id = build;
    this.signal = signal;
    this.limit = PAGE;
    /** Whether all is read of a build that is over. */
    this.isWhole = false;
    const outcome = query?.get("outcome") ?? "";
    this.outcome = OUTCOMES.some(([key]) => key === outcome) ? outcome : "";
    this.head = h("div", { class: "head" });
    this.text = h("input", { type: "search", id: "test-text", placeholder: "Filter tests", on: { input: () => this.#typed() } });
    this.choices = h("div", { class: "actions", role: "group", "aria-label": "Outcome" });
    this.found = h("p", { class: "muted small", role: "status" });
    this.list = h("div");
    this.more = h("button", { type: "button", hidden: true, on: { click: () => this.#showMore() } }, "Show more");
    this.card = h("section", { class: "card failures calm", "aria-label": "Tests" },
      h("div", { class: "filters" }, h("label", { class: "visually-hidden", for: "test-text" }, "Filter tests by text"), this.text, this.choices),
      this.found, this.list, this.more);
    fill(main, this.head, this.card);
  }

  async load() {
    this.take(await readBuild(this.id, this.signal));
    await this.loadTests();
    this.isWhole = isOver(this.build);
  }

  take(build) {
    this.build = build;
    tab(`Tests: ${short(projectOf(build), 40)} #${build.id}`);
    const job = jobOf(build);
    fill(this.head, h("div", {},
      h("p", { class: "crumbs small" }, h("a", { href: to.builds() }, "Builds"), " / ", h("a", { href: to.build(build.id) }, `#${build.id}`), " / Tests"),
      h("h1", {}, name(short(projectOf(build), 120)), job ? [" · ", name(short(job, 120))] : null)));
  }

  async loadTests() {
    const asking = this.asking = {};
    const body = this.outcome ? await this.#read(this.outcome, this.limit) : await this.#readWorstFirst();
    // Something else may be wanted by now.
    if (asking === this.asking) this.#draw(body);
  }

  #read(outcome, limit) {
    const asked = new URLSearchParams({ limit });
    if (outcome) asked.set("outcome", outcome);
    if (this.text.value.trim()) asked.set("q", this.text.value.trim());
    return read(`/v2/builds/${this.id}/tests?${asked}`, this.signal);
  }

  /** Tests of all outcomes: the master lists them by atoms, so each outcome is read by itself. */
  async #readWorstFirst() {
    const { limit } = this;
    const body = await this.#read("", 0);
    for (const [outcome] of OUTCOMES) {
      if (!body.counts[outcome] || body.tests.length >= limit) continue;
      body.tests.push(...(await this.#read(outcome, limit - body.tests.length)).tests);
    }
    return body;
  }

  #typed() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.#anew(), TYPING);
  }

  #choose(outcome) {
    this.outcome = outcome;
    history.replaceState(null, "", to.tests(this.id, outcome));
    this.#anew();
  }

  #showMore() {
    this.limit = Math.min(this.limit + PAGE, MOST);
    this.#anew(this.limit);
  }

  #anew(limit = PAGE) {
    this.limit = limit;
    this.loadTests().catch((error) => {
      if (!this.signal.aborted) fill(this.found, error.message);
    });
  }

  #draw({ tests, total, counts }) {
    const all = Object.values(counts).reduce((sum, number) => sum + number, 0);
    const choice = (key, words) => h("button", { type: "button", "aria-pressed": String(this.outcome === key), on: { click: () => this.#choose(key) } }, words);
    const focused = document.activeElement?.parentElement === this.choices ? [...this.choices.children].indexOf(document.activeElement) : -1;
    fill(this.choices, choice("", `All ${all.toLocaleString("en")}`),
      OUTCOMES.map(([key, , word]) => choice(key, `${word} ${(counts[key] ?? 0).toLocaleString("en")}`)));
    this.choices.children[focused]?.focus();
    this.card.classList.toggle("calm", !counts.failed);
    const end = isOver(this.build) ? "" : " so far";
    fill(this.found, total ? `${count(total, "test")}${end}` : all ? "No test fits." : `No atom has ended${end}, so there are no tests.`);
    const isOpen = new Set([...this.list.querySelectorAll("details[open]")].map((details) => details.dataset.test));
    fill(this.list, tests.map((test, at) => this.#test(test, at, isOpen)));
    this.more.hidden = total <= tests.length || this.limit >= MOST;
    if (total > MOST && this.limit >= MOST) this.list.append(h("p", { class: "muted" }, "There are more: a text finds them."));
  }

  #test(test, at, isOpen) {
    const [, key, word] = OUTCOMES.find(([outcome]) => outcome === test.outcome) ?? OUTCOMES[0];
    const isFailed = test.outcome === "failed";
    const id = JSON.stringify([test.subjob_id, test.atom_id, test.class, test.name]);
    const isNamed = test.name === test.class || (test.name.startsWith(test.class ?? "") && /^[^\p{L}\p{N}]/u.test(test.name.slice(test.class?.length ?? 0)));
    const where = test.class && !isNamed ? [h("bdi", { class: "muted" }, short(test.class, 200)), " "] : null;
    const head = [chip({ key, word }), " ", where, h("bdi", { class: "strong" }, short(test.name, 300)),
      h("span", { class: "muted small" }, test.time === null ? "" : ` ${duration(test.time)}`)];
    const more = [test.message ? h("pre", { class: "console tail", tabindex: "0", "aria-label": "Message" }, test.message) : null,
      h("p", { class: "small" }, test.file ? [h("bdi", {}, short(test.file, 300)), " · "] : null,
        h("a", { href: to.atom(this.id, test.subjob_id, test.atom_id) }, "Console of ", name(short(test.atom, 120))), " · ",
        h("a", { href: to.history(test.name) }, "Earlier builds"))];
    const details = h("details", { data: { test: id } }, h("summary", {}, head), more);
    details.open = isOpen.has(id) || (isFailed && at < 3 && !isOpen.size);
    return details;
  }
}
