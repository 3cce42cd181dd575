// All builds: those that are not over first, then history, the newest first.

import { read, session } from "../api.js";
import { chip, fill, h, name, time } from "../dom.js";
import { ago, buildState, commitAddress, count, duration, isOver, jobOf, moment, projectOf, span, workingTreeOf } from "../format.js";
import { follow } from "../live.js";
import { tab } from "../notify.js";
import { bar, parts } from "../progress.js";
import { to } from "../router.js";
import { short, visible } from "../text.js";

/** How many builds are read at a time. */
const PAGE = 50;
/** How many pages are read for one push of the button while nothing fits the filter. */
const PAGES_AT_ONCE = 10;
const FILTERS = [["all", "All states"], ["active", "Waiting or running"], ["passed", "Passed"], ["failed", "Failed"],
  ["error", "Error"], ["canceled", "Canceled"]];

/** Shows the view. */
export async function show({ main, signal, query }) {
  const view = new Builds(main, query);
  view.tick(signal);
  await follow({
    events: "/v2/events",
    load: () => view.load(signal),
    on: {
      build: ({ build }) => view.take(build),
      build_deleted: ({ id }) => view.drop(id),
    },
    signal,
  });
}

class Builds {
  constructor(main, query) {
    /** @type {Map<number, object>} */
    this.builds = new Map();
    this.hasOlder = false;
    const state = query.get("state");
    this.filter = { text: query.get("q") ?? "", state: FILTERS.some(([known]) => known === state) ? state : "all" };
    this.drawing = 0;
    this.text = h("input", { type: "search", id: "filter-text", placeholder: "Project, job, branch, commit, user or number", value: this.filter.text,
      on: { input: () => this.filtered() } });
    this.state = h("select", { id: "filter-state", on: { change: () => this.filtered() } },
      FILTERS.map(([value, word]) => h("option", { value, selected: value === this.filter.state }, word)));
    this.summary = h("p", { class: "muted", id: "summary" });
    this.active = h("div");
    this.history = h("div");
    this.older = h("button", { type: "button", hidden: true, on: { click: () => this.readOlder() } }, "Show older builds");
    fill(main,
      h("div", { class: "head" }, h("h1", {}, "Builds"), session.mayBuild ? h("a", { class: "button", href: to.submit() }, "Submit a build") : null),
      h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
        h("label", { for: "filter-text", class: "visually-hidden" }, "Filter builds by text"), this.text,
        h("label", { for: "filter-state", class: "visually-hidden" }, "State"), this.state),
      this.summary, this.active, this.history, h("p", { class: "more" }, this.older));
  }

  /** Reads the builds that are not over and the newest page. */
  async load(signal) {
    this.signal = signal;
    const [queue, newest] = await Promise.all([read("/v2/queue", signal), read(`/v2/builds?newest_first=true&limit=${PAGE}`, signal)]);
    const page = newest.builds;
    const oldest = Math.min(...page.map((build) => build.id));
    // Builds that a page would have shown and that are not there any more were deleted.
    for (const id of this.builds.keys()) if (id >= oldest) this.builds.delete(id);
    for (const build of this.builds.values()) if (!isOver(build)) this.builds.delete(build.id);
    for (const build of [...queue.queue, ...page]) this.builds.set(build.id, build);
    this.hasOlder = page.length > 0 && Math.min(...this.builds.keys()) > 1;
    this.draw();
  }

  async readOlder() {
    this.older.disabled = true;
    try {
      const before = this.shown().length;
      for (let pages = 0; pages < PAGES_AT_ONCE && this.hasOlder && this.shown().length < before + PAGE / 2; pages += 1) {
        const over = [...this.builds.values()].filter(isOver).map((build) => build.id);
        const path = `/v2/builds?newest_first=true&limit=${PAGE}&before=${Math.min(...over)}`;
        const { builds } = await read(path, this.signal);
        this.hasOlder = builds.length > 0 && builds.at(-1).id > 1;
        for (const build of builds) this.builds.set(build.id, build);
      }
    } finally {
      this.older.disabled = false;
      this.draw();
    }
  }

  /** Takes a build as it now is. */
  take(build) {
    this.builds.set(build.id, build);
    this.draw();
  }

  drop(id) {
    this.builds.delete(id);
    this.draw();
  }

  filtered() {
    this.filter = { text: this.text.value, state: this.state.value };
    const query = new URLSearchParams();
    if (this.filter.text) query.set("q", this.filter.text);
    if (this.filter.state !== "all") query.set("state", this.filter.state);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
    this.draw();
  }

  shown() {
    const all = [...this.builds.values()].sort((one, other) => other.id - one.id);
    return all.filter((build) => fits(build, this.filter));
  }

  /** Draws with the next picture of the screen, however many builds have changed. */
  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const shown = this.shown();
    const active = shown.filter((build) => !isOver(build)).reverse();
    const over = shown.filter(isOver);
    const now = Date.now() / 1000;
    const running = active.filter((build) => build.status === "BUILDING").length;
    tab(running ? `${count(running, "build")} running` : "Builds", running ? "running" : "none");
    const isFiltered = this.filter.text || this.filter.state !== "all";
    fill(this.summary, isFiltered ? `${count(shown.length, "build")} of ${count(this.builds.size, "build")} that were read fit.`
      : active.length ? `${count(running, "build")} running, ${active.length - running} waiting.` : "");
    drawBuilds(this.active, active.length ? "Now" : null, active, now);
    drawBuilds(this.history, over.length ? "History" : null, over, now);
    if (!shown.length) fill(this.history, isFiltered ? nothingFits() : nothing());
    this.older.hidden = !this.hasOlder;
  }

  /** Lets durations go on. */
  async tick(signal) {
    while (!signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (!document.hidden && [...this.builds.values()].some((build) => !isOver(build))) this.draw();
    }
  }
}

function fits(build, { text, state }) {
  const { key } = buildState(build);
  const groups = { active: ["waiting", "preparing", "running", "failing"], failed: ["failed", "failing", "atomless"] };
  if (state !== "all" && !(groups[state] ?? [state]).includes(key)) return false;
  const params = build.request_params ?? {};
  const texts = [`#${build.id}`, projectOf(build), jobOf(build), params.branch, params.url, build.commit, params.hash, params.project_directory, build.started_by];
  const lower = texts.filter(Boolean).join("\n").toLowerCase();
  return text.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}

/** Draws a list of builds below a title; without one nothing. */
export function drawBuilds(place, title, builds, now) {
  if (!title) return fill(place);
  // Rows that stay keep their elements, so that focus and selection stay with them.
  const list = place.querySelector("ul") ?? h("ul", { class: "builds" });
  if (!list.parentNode) fill(place, h("h2", {}, title), list);
  const known = new Map([...list.children].map((item) => [Number(item.dataset.build), item]));
  let at = list.firstChild;
  for (const build of builds) {
    const item = known.get(build.id) ?? h("li", { data: { build: build.id } });
    known.delete(build.id);
    redraw(item, build, now);
    if (item === at) at = at.nextSibling;
    else list.insertBefore(item, at);
  }
  for (const item of known.values()) item.remove();
}

/** The parts of an entry. Only what has changed is made anew, so that a click is never lost to a clock. */
function redraw(item, build, now) {
  const state = buildState(build);
  const { began, ended } = span(build);
  item.className = `build ${state.key}`;
  part(item, "state", [state], () => chip(state));
  part(item, "what", [build.request_params, jobOf(build), build.commit, build.started_by, build.error_message, build.details, build.parent, build.children?.length], () => what(build));
  const numbers = parts(build);
  part(item, "how", [numbers, state], () => [numbers.total || !isOver(build) ? bar(numbers, isOver(build)) : null, h("span", { class: "muted small" }, briefly(numbers, state))]);
  const left = build.seconds_left !== null && !ended ? `, ${duration(build.seconds_left)} left` : "";
  const took = began ? duration((ended ?? now) - began) : "–";
  const since = ago(ended ?? began, now);
  part(item, "when muted", [left, took, since], () => [h("span", {}, took, left), time(began, since, moment(ended ?? began))]);
}

/** Makes a part of an entry, if what it says has changed. */
function part(item, kind, says, make) {
  item.parts ??= new Map();
  const mark = JSON.stringify(says);
  let known = item.parts.get(kind);
  if (!known) {
    known = { element: h("div", { class: kind }), mark: null };
    item.parts.set(kind, known);
    item.append(known.element);
  }
  if (known.mark === mark) return;
  known.mark = mark;
  fill(known.element, make());
}

function what(build) {
  const params = build.request_params ?? {};
  const job = jobOf(build);
  const commit = build.commit ?? params.hash;
  const link = params.working_tree ? null : commitAddress(params.url, commit);
  const tree = workingTreeOf(build);
  const brief = tree ?? (commit ? visible(commit).slice(0, 10) : null);
  return [
    h("a", { class: "title", href: to.build(build.id) }, h("span", { class: "number" }, `#${build.id} `), name(short(projectOf(build), 80)), job ? [" · ", name(short(job, 80))] : null),
    h("p", { class: "muted sub" },
      params.branch ? [h("span", { class: "visually-hidden" }, "branch "), h("bdi", { class: "tag" }, short(params.branch, 60)), " "] : null,
      brief ? [link ? h("a", { href: link, class: "mono", rel: "noreferrer" }, brief) : h("span", { class: "mono" }, brief), " "] : null,
      build.matrix ? ["matrix ", h("bdi", { class: "tag" }, short(Object.entries(build.matrix).map(([name, value]) => `${name}=${value}`).join(" "), 80)), " ",
        build.parent ? ["of ", h("a", { href: to.build(build.parent) }, `#${build.parent}`), " "] : null] : null,
      build.children?.length ? [`${count(build.children.length, "build")} of a matrix `] : null,
      build.started_by ? ["by ", h("bdi", {}, short(build.started_by, 40)), " "] : null,
      build.error_message ? h("bdi", { class: "why" }, short(build.error_message, 160)) : waits(build)),
  ];
}

function briefly({ failed, flaky, passed, running, total }, state) {
  if (!total) return state.key === "preparing" ? "looking for atoms" : "";
  const done = failed + flaky + passed;
  const all = done === total ? count(total, "atom") : `${done.toLocaleString("en")} of ${count(total, "atom")}`;
  return [all, failed ? `${failed.toLocaleString("en")} failed` : null, flaky ? `${flaky.toLocaleString("en")} flaky` : null, running ? `${running} running` : null].filter(Boolean).join(", ");
}

function waits(build) {
  const found = /It waits: .*/.exec(build.details ?? "");
  return found ? h("span", { class: "why" }, short(found[0], 160)) : null;
}

function nothingFits() {
  return h("p", { class: "empty" }, "No build that was read fits this filter.");
}

function nothing() {
  return h("div", { class: "empty" }, h("h2", {}, "No builds yet"),
    h("p", {}, session.mayBuild ? ["Submit one ", h("a", { href: to.submit() }, "here"), ", or with the command:"] : "Submit one with the command:"),
    h("pre", { class: "command", tabindex: "0" }, `clusterrunner build --master-url ${location.host} git --url https://example.org/project.git`));
}
