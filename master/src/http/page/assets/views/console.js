// The console of an atom or of a step.

import { ApiError, read, readBuild } from "../api.js";
import { Artifacts } from "../build/artifacts.js";
import { KEYS, WORDS, stateOf } from "../build/atoms.js";
import { stateWords } from "../build/steps.js";
import { hashOf, linesOf } from "../console/line_link.js";
import { search } from "../console/search.js";
import { Source } from "../console/source.js";
import { Viewer } from "../console/viewer.js";
import { announce, chip, fill, h, name } from "../dom.js";
import { count, duration, ending, isOver } from "../format.js";
import { connected, until } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** How often a console that grows is asked for more: soon after something came, later while nothing comes. */
const SOONEST = 150, LATEST = 400;
/** How long a master that does not answer is left alone. */
const AFTER_LOSS = 1500;
/** How often it is asked how what prints stands. */
const STATE_EVERY = 1000;
const STEPS = { atomizer: "Find the atoms", setup: "Set-up", teardown: "Tear-down" };
/** What a worker had to do with the result of an atom. */
const IN_WORKER = { ran: "in a worker", failed: "failed in a worker before" };
/** How long typing must pause before the search begins, in milliseconds. */
const TYPING = 200;

/** Shows the view. */
export async function show({ main, params, signal, query }) {
  const attempt = /^\d{1,9}$/.test(query?.get("attempt") ?? "") ? Number(query.get("attempt")) : null;
  const view = new ConsoleView(main, { ...params, attempt }, signal);
  await view.run();
}

class ConsoleView {
  constructor(main, params, signal) {
    this.params = params;
    this.signal = signal;
    this.isStep = params.step !== undefined;
    this.place = this.isStep ? `/v2/builds/${params.build}/steps/${params.step}`
      : `/v2/builds/${params.build}/subjobs/${params.subjob}/atoms/${params.atom}`;
    const asked = params.attempt ? `attempt=${params.attempt}&` : "";
    this.source = new Source(`${this.place}/console`, signal, asked);
    this.viewer = new Viewer(this.source, signal);
    this.viewer.chosen = (first, last) => this.choose(first, last);
    this.viewer.followed = () => this.showFollowing();
    this.artifacts = new Artifacts(this.place, signal);
    /** Whether it was asked for the files that the atom left. */
    this.hasFiles = false;
    this.isOver = false;
    /** Whether the build ended before the atom ran. */
    this.neverRan = false;
    this.found = { count: 0, lines: [], isDone: true };
    this.at = -1;
    this.#build(main);
    signal.addEventListener("abort", () => window.CSS?.highlights?.delete("found"));
    window.addEventListener("hashchange", () => this.fromHash(), { signal });
    document.addEventListener("keydown", (event) => this.key(event), { signal });
  }

  #build(main) {
    this.head = h("div", { class: "console-head" }, h("h1", {}, "Console"));
    this.text = h("input", { type: "search", "aria-label": "Search the output", placeholder: "Search", on: {
      input: () => this.searchSoon(),
      keydown: (event) => {
        if (event.key === "Enter") this.step(event.shiftKey ? -1 : 1);
        else if (event.key === "Escape") this.viewer.scroller.focus();
        else return;
        event.preventDefault();
      },
    } });
    this.result = h("span", { class: "small muted result", role: "status" });
    this.following = h("button", { type: "button", "aria-pressed": "false", on: { click: () => this.viewer.follow(!this.viewer.isFollowing) } }, "Follow");
    this.wrapping = h("button", { type: "button", "aria-pressed": "false", title: "Wrap long lines (w)", on: { click: () => this.wrap() } }, "Wrap");
    this.raw = h("a", { class: "button", href: `${this.source.path}offset_byte=0`, download: `build-${this.params.build}-console.txt`, hidden: true }, "Raw");
    this.number = h("span", { class: "small muted" });
    const tool = (label, text, act) => h("button", { type: "button", "aria-label": label, title: label, on: { click: act } }, text);
    this.note = h("p", { class: "console note", role: "status" }, "Loading …");
    this.viewer.scroller.hidden = true;
    fill(main, this.head, this.artifacts.element, h("div", { class: "console-tools", role: "toolbar", "aria-label": "Output" },
      h("div", { class: "search" }, this.text, this.result, tool("Previous hit (N)", "↑", () => this.step(-1)), tool("Next hit (n)", "↓", () => this.step(1))),
      h("div", { class: "rest" }, this.number, this.following, this.wrapping, this.raw)), this.note, this.viewer.scroller);
  }

  async run() {
    let pause = SOONEST;
    let isFirst = true;
    let stateAt = -Infinity;
    for (;;) {
      try {
        if (performance.now() - stateAt > STATE_EVERY || isFirst) {
          await this.readState();
          stateAt = performance.now();
        }
        const wasOver = this.isOver;
        const hasGrown = this.atom?.state === "NOT_STARTED" ? false : await this.readConsole();
        this.shown(hasGrown, isFirst);
        connected(this.isOver ? "idle" : "asking");
        isFirst = false;
        if (this.isOver && !this.isStep && !this.neverRan && !this.hasFiles) {
          this.hasFiles = true;
          this.artifacts.load();
        }
        pause = hasGrown ? SOONEST : Math.min(LATEST, pause * 1.5);
        if (wasOver) return;
      } catch (error) {
        if (this.signal.aborted) return;
        if (error.status === 404) await readBuild(this.params.build, this.signal);
        if (!(error instanceof ApiError) || (error.status !== 0 && error.status < 500)) throw error;
        connected("lost");
        pause = AFTER_LOSS;
      }
      await until(this.signal, [[document, "visibilitychange"]], document.hidden ? 5000 : pause);
      if (this.signal.aborted) return;
    }
  }

  async readState() {
    if (this.isStep) {
      const { steps } = await read(`/v2/builds/${this.params.build}/steps`, this.signal);
      const step = steps.find((step) => step.id === this.params.step);
      if (!step) throw new ApiError(404, "The build has no such step.");
      this.isOver = step.ended_at !== null && step.ended_at !== undefined;
      this.drawHead(STEPS[step.kind] ?? step.kind, null, [stateWords(step), step.slave_url, step.began_at && step.ended_at ? duration(step.ended_at - step.began_at) : null]);
      return;
    }
    const { atom } = await read(this.place, this.signal);
    this.atom = atom;
    this.neverRan = atom.state === "NOT_RUN" || atom.state === "NOT_STARTED" && await this.buildIsOver();
    this.isOver = this.neverRan || atom.state === "COMPLETED" || atom.state === "CANCELED";
    const flaky = !atom.is_flaky ? null : atom.fails_as_flaky ? "fails" : "passes";
    const state = stateOf(atom.state, atom.exit_code, atom.trouble, flaky);
    const [key, word] = [KEYS[state], this.neverRan ? "Not run" : WORDS[state]];
    const tries = atom.failed_attempts ?? [];
    const earlier = tries.findIndex(({ attempt }) => attempt === this.params.attempt);
    if (earlier >= 0) return this.showAttempt(atom, earlier);
    const took = atom.actual_time ?? (atom.state === "IN_PROGRESS" && atom.started_at ? Date.now() / 1000 - atom.started_at : null);
    this.drawHead(atom.value ?? atom.command_string, { key, word }, [ending({ ...atom, flaky }), tries.length ? `attempt ${tries.length + 1} of ${tries.length + 1}` : null, took === null ? null : duration(took),
      IN_WORKER[atom.worker] ?? null, atom.executor_id === undefined || atom.executor_id === null ? null : `executor ${atom.executor_id}`]);
  }

  /** An attempt that failed, after which the atom was run again. */
  showAttempt(atom, at) {
    const tried = atom.failed_attempts[at];
    [this.isOver, this.neverRan, this.hasFiles] = [true, false, true];
    this.drawHead(atom.value ?? atom.command_string, { key: "failed", word: "Failed" }, [ending(tried), `attempt ${at + 1} of ${atom.failed_attempts.length + 1}`,
      typeof tried.actual_time === "number" ? duration(tried.actual_time) : null, tried.slave_url]);
  }

  /** Links to the attempts of an atom that was run again. */
  attempts() {
    const tries = this.atom?.failed_attempts ?? [];
    if (!tries.length) return null;
    const { build, subjob, atom, attempt: present } = this.params;
    const isEarlier = tries.some(({ attempt }) => attempt === present);
    const link = (words, attempt, isPresent) => h("a", { href: to.atom(build, subjob, atom, attempt), "aria-current": isPresent ? "page" : null }, words);
    return h("nav", { class: "attempts small", "aria-label": "Attempts" }, tries.map(({ attempt }, at) => link(`Attempt ${at + 1}, failed`, attempt, attempt === present)),
      link(`Attempt ${tries.length + 1}`, null, !isEarlier));
  }

  async buildIsOver() {
    return isOver(await readBuild(this.params.build, this.signal));
  }

  drawHead(title, state, facts) {
    const { build } = this.params;
    const mark = JSON.stringify([title, state, facts, this.atom?.failed_attempts?.length]);
    if (mark === this.mark) return;
    const wasRunning = this.state?.key === "running";
    this.mark = mark;
    this.state = state;
    tab(`${short(title, 60)} #${build}`, state?.key ?? "none");
    if (wasRunning && this.isOver) announce(`The atom has ended: ${state.word}`);
    fill(this.head, h("p", { class: "crumbs small" }, h("a", { href: to.builds() }, "Builds"), " / ", h("a", { href: to.build(build) }, `#${build}`)),
      h("h1", { title: title.slice(0, 1000) }, name(short(title, 160)), " ", state ? chip(state) : null),
      h("p", { class: "facts muted small" }, facts.filter(Boolean).map((fact) => h("span", {}, name(short(fact, 160))))), this.isStep ? null : this.attempts());
    this.raw.hidden = !this.isOver || this.neverRan;
  }

  /** Reads what is new; whether something is. */
  async readConsole() {
    try {
      return await this.source.refresh();
    } catch (error) {
      // An atom that has not begun has no console; one may be asked for an attempt that it does not have.
      if (error.status === 404 && this.params.attempt) this.missing = error.message;
      if (error instanceof ApiError && [404, 502].includes(error.status)) return false;
      throw error;
    }
  }

  shown(hasGrown, isFirst) {
    const { total } = this.source;
    this.viewer.scroller.hidden = !total;
    this.note.hidden = total > 0;
    if (!total) fill(this.note, this.emptyWords());
    fill(this.number, total ? count(total, "line") : "");
    this.following.hidden = this.isOver;
    if (hasGrown || isFirst) this.viewer.update();
    if (!total || this.isPlaced) return;
    this.isPlaced = true;
    if (this.fromHash()) return;
    // What went wrong is told at the end.
    if (!this.isOver) this.viewer.follow(true);
    else if (this.state?.key === "failed") this.viewer.show(total - 1);
  }

  /** What is said instead of an output. */
  emptyWords() {
    if (this.neverRan) return "The build ended before this atom ran.";
    if (this.missing) return this.missing;
    if (this.isOver) return "It printed nothing.";
    return this.atom?.state === "NOT_STARTED" ? "It has not started yet." : "Nothing was printed yet.";
  }

  fromHash() {
    const lines = linesOf(location.hash);
    if (!lines) return false;
    this.viewer.mark(...lines);
    this.viewer.follow(false);
    this.viewer.show(Math.min(lines[0], Math.max(0, this.source.total - 1)));
    return true;
  }

  choose(first, last) {
    history.replaceState(null, "", hashOf(first, last));
    this.viewer.mark(first, last);
  }

  showFollowing() {
    this.following.setAttribute("aria-pressed", String(this.viewer.isFollowing));
  }

  wrap() {
    const isWrapping = !this.viewer.isWrapping;
    this.wrapping.setAttribute("aria-pressed", String(isWrapping));
    this.viewer.wrap(isWrapping);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input, select, textarea")) return;
    const acts = { "/": () => this.text.focus(), n: () => this.step(1), N: () => this.step(-1), w: () => this.wrap(), f: () => this.viewer.follow(true) };
    if (!acts[event.key]) {
      // Enter and the space bar push what has the focus.
      if (event.key !== " " || !event.target.matches?.("a, button, summary")) this.viewer.key(event);
      return;
    }
    event.preventDefault();
    acts[event.key]();
  }

  searchSoon() {
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.search(), TYPING);
  }

  async search() {
    this.searching?.abort();
    const text = this.text.value;
    this.searched = text;
    this.at = -1;
    this.found = { count: 0, lines: [], isDone: true };
    if (!text) {
      this.viewer.find("", -1);
      return this.showResult();
    }
    this.searching = new AbortController();
    const signal = AbortSignal.any([this.signal, this.searching.signal]);
    const first = this.viewer.firstLine();
    try {
      await search(this.source, text, this.isOver, signal, (found) => {
        this.found = found;
        // The first hit that is not above what is looked at.
        const next = found.lines.findIndex((line) => line >= first);
        if (this.at < 0 && (next >= 0 || found.isDone)) this.to(next >= 0 ? next : 0);
        this.showResult();
      });
    } catch (error) {
      if (!signal.aborted) fill(this.result, error.message);
    }
  }

  to(at) {
    const { lines } = this.found;
    this.at = lines.length ? (at + lines.length) % lines.length : -1;
    this.viewer.find(this.searched, this.at < 0 ? -1 : lines[this.at]);
    this.showResult();
  }

  step(by) {
    if (this.text.value !== this.searched) return this.search();
    if (this.found.lines.length) this.to(this.at + by);
  }

  showResult() {
    const { count: number, lines, isDone } = this.found;
    if (!this.searched) return fill(this.result);
    const where = lines.length > 0 && this.at >= 0 ? ` in ${count(lines.length, "line")}, at no. ${(this.at + 1).toLocaleString("en")}` : "";
    fill(this.result, `${count(number, "hit")}${where}${isDone ? "" : " …"}`);
  }
}
