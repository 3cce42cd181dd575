// One build: how far it is, what ran when, what failed, and why.

import { readBuild, readOr } from "../api.js";
import { About } from "../build/about.js";
import { Atoms, RUNNING } from "../build/atoms.js";
import { readAtoms } from "../build/atoms_source.js";
import { Children } from "../build/children.js";
import { Doing } from "../build/doing.js";
import { FailedAtoms } from "../build/failed.js";
import { Steps, stepsOf } from "../build/steps.js";
import { AtomTable } from "../build/table.js";
import { Waterfall } from "../build/waterfall.js";
import { Why } from "../build/why.js";
import { announce, chip, fill, h, name, time } from "../dom.js";
import { ago, buildState, commitAddress, duration, isOver, jobOf, moment, projectOf, span, workingTreeOf } from "../format.js";
import { follow } from "../live.js";
import { canNotify, ended, isWanted, tab, want } from "../notify.js";
import { bar, parts, partsOf, words } from "../progress.js";
import { to } from "../router.js";
import { short, visible } from "../text.js";

/** Without events, a build of more atoms than these is read so often only, in milliseconds. */
const MANY = 2000, MANY_EVERY = 10000;

/** How often steps are read, in milliseconds, and how long tear-downs may take to begin after a build, in seconds. */
const STEPS_EVERY = 2000, TEARDOWN_LASTS = 10;

/** Shows the view. */
export async function show({ main, params, signal }) {
  const view = new BuildView(main, params.build, signal);
  view.tick();
  await follow({
    events: `/v2/builds/${params.build}/events`,
    load: () => view.load(),
    on: {
      build: ({ build }) => view.take(build),
      atoms: ({ columns, rows }) => view.takeAtoms(columns, rows),
    },
    signal,
    isOver: () => view.isWhole,
    pause: () => (view.atoms.size > MANY ? MANY_EVERY : 2000),
  });
}

class BuildView {
  constructor(main, id, signal) {
    this.id = id;
    this.signal = signal;
    this.main = main;
    this.atoms = new Atoms();
    this.build = null;
    /** When it was told. */
    this.toldAt = 0;
    this.steps = null;
    this.listed = null;
    /** Whether all is read of a build that is over. */
    this.isWhole = false;
    this.drawing = 0;
    this.head = h("div", { class: "head" });
    this.facts = h("p", { class: "facts muted" });
    this.bar = h("div");
    this.message = h("pre", { class: "message", hidden: true });
    this.atomless = h("p", { class: "atomless-note", hidden: true }, "No atom ran, so nothing was tested, and this build counts as bad: the job's atomizers printed nothing. Where that is right, ",
      h("code", {}, "allow_no_atoms: true"), " in the job lets such builds pass.");
    this.doing = new Doing(signal);
    this.table = new AtomTable(id, this.atoms, signal);
    this.failed = new FailedAtoms(id, this.atoms, signal, (state) => this.table.filterState(state));
    this.waterfall = new Waterfall(id, this.atoms, signal);
    this.stepTable = new Steps(id);
    this.children = new Children();
    this.why = new Why(id);
    this.about = new About();
    fill(main, h("p", { class: "empty" }, "Loading …"));
  }

  async load() {
    const build = await readBuild(this.id, this.signal);
    this.take(build);
    await Promise.all([
      readAtoms(this.id, this.atoms, () => this.draw(), this.signal),
      this.loadSteps(),
    ]);
    if (isOver(build)) {
      await this.why.load(this.signal);
      this.isWhole = true;
    }
    this.draw();
  }

  async loadSteps() {
    this.stepsAt = performance.now();
    const found = await readOr(null, `/v2/builds/${this.id}/steps`, this.signal);
    this.listed = found ? found.steps : null;
    this.steps = null;
  }

  /** Takes the build as it now is. */
  take(build) {
    const before = this.build;
    this.build = build;
    this.toldAt = performance.now();
    if (!this.listed) this.steps = null;
    if (before && !isOver(before) && isOver(build)) this.over();
    this.draw();
  }

  over() {
    const { word } = buildState(this.build);
    announce(`Build ${this.id}: ${word}`);
    ended(this.id, word.toLowerCase());
  }

  takeAtoms(columns, rows) {
    this.atoms.put(columns, rows);
    this.draw();
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      if (!this.signal.aborted && this.build) this.drawNow();
    });
  }

  drawNow() {
    const { build } = this;
    const state = buildState(build);
    const over = isOver(build);
    const { began, ended: end } = span(build);
    if (over) this.atoms.buildEnded();
    tab(`${state.word}: ${short(projectOf(build), 40)} #${build.id}`, state.key);
    this.drawHead(state);
    // Only the atoms themselves say which of them ran when their build was canceled or failed.
    const isCut = build.status === "CANCELED" || build.status === "ERROR";
    const numbers = (isCut || build.num_atoms === null) && this.atoms.size ? partsOf(this.atoms.counts) : parts(build);
    fill(this.bar, numbers.total || !over ? [bar(numbers, over), h("p", { class: "muted small under-bar" }, words(numbers, over) || waitWords(build))] : null);
    this.message.hidden = !build.error_message;
    fill(this.message, build.error_message ?? "");
    this.atomless.hidden = !build.lacks_atoms;
    if (!this.element) {
      this.element = h("div", {}, this.head, this.facts, this.bar, this.message, this.atomless, this.doing.problem, this.children.element, this.failed.element, this.waterfall.element,
        this.table.element, this.stepTable.element, this.why.element, this.about.warned, this.about.element);
      fill(this.main, this.element);
    }
    this.children.draw(build);
    this.steps ??= stepsOf(build, this.listed);
    this.failed.draw();
    this.waterfall.element.hidden = over && !this.atoms.size;
    this.table.element.hidden = over && !this.atoms.size;
    this.waterfall.show({ began: began ?? NaN, ended: end, left: build.seconds_left }, this.steps);
    if (this.table.drawn !== this.atoms.version) this.table.draw(began);
    else if (this.atoms.counts[RUNNING]) this.table.tick();
    this.table.drawn = this.atoms.version;
    this.stepTable.draw(this.steps, began);
    this.about.draw(build, over);
    // A parent of a matrix has no atoms of its own; what failed in its children can be run again from it.
    const failed = build.children?.length ? build.num_atoms_failed : build.failed_atoms?.length || this.atoms.failed.length;
    this.doing.draw(build, failed);
  }

  drawHead(state) {
    const { build } = this;
    const over = isOver(build);
    const { began, ended: end } = span(build);
    const params = build.request_params ?? {};
    const job = jobOf(build);
    const commit = build.commit ?? params.hash;
    const tree = workingTreeOf(build);
    const link = tree ? null : commitAddress(params.url, commit);
    const now = Date.now() / 1000;
    // The tests of a matrix are on the pages of its builds.
    const hasTests = !build.children?.length && !(over && !build.num_subjobs);
    const mark = JSON.stringify([state, job, commit, hasTests, isWanted(build.id)]);
    if (mark !== this.mark) {
      this.mark = mark;
      fill(this.head, h("div", {},
        h("p", { class: "crumbs small" }, h("a", { href: to.builds() }, "Builds"), " / ",
          build.project_id ? [h("a", { href: to.project(build.project_id) }, name(short(projectOf(build), 60))), " / "] : null, `#${build.id}`),
        h("h1", {}, name(short(projectOf(build), 120)), job ? [" · ", name(short(job, 120))] : null, " ", chip(state))),
        h("div", { class: "actions" }, hasTests ? h("a", { class: "button", href: to.tests(build.id) }, "Tests") : null, over ? null : this.notifyButton(), this.doing.element));
    }
    const brief = tree ?? (commit ? visible(commit).slice(0, 10) : null);
    const facts = JSON.stringify([params.branch, brief, build.started_by, build.matrix]);
    if (facts !== this.said) {
      this.said = facts;
      this.clock = [h("span"), h("strong"), h("span")];
      fill(this.facts,
        params.branch ? [h("span", { class: "visually-hidden" }, "branch "), h("bdi", { class: "tag" }, short(params.branch, 80))] : null,
        brief ? (link ? h("a", { class: "mono", href: link, rel: "noreferrer" }, brief) : h("span", { class: "mono" }, brief)) : null,
        build.matrix ? h("span", {}, "matrix ", h("bdi", { class: "tag" }, short(variables(build.matrix), 200)), build.parent ? [" of ", h("a", { href: to.build(build.parent) }, `#${build.parent}`)] : null) : null,
        build.started_by ? h("span", {}, "by ", h("bdi", { class: "strong" }, short(build.started_by, 60))) : null,
        h("span", {}, this.clock[0], " ", this.clock[1]), this.clock[2]);
    }
    const [since, took, left] = this.clock;
    fill(since, over ? ["queued ", time(began, ago(began, now), moment(began)), ", took"] : time(began, "queued for", moment(began)));
    fill(took, began ? duration((end ?? now) - began) : "–");
    fill(left, over ? null : leftOf(build, (performance.now() - this.toldAt) / 1000));
  }

  notifyButton() {
    if (!canNotify()) return null;
    const isOn = isWanted(this.id);
    return h("button", { type: "button", "aria-pressed": String(isOn), on: { click: async (event) => {
      if (await want(this.id)) event.target.setAttribute("aria-pressed", "true");
    } } }, "Tell me when it ends");
  }

  /** Lets durations and the line of now go on, and steps, of which no event tells. */
  async tick() {
    while (!this.signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      if (document.hidden || !this.build) continue;
      if (this.hasNewSteps()) await this.loadSteps().catch(() => {});
      else if (isOver(this.build)) continue;
      this.draw();
    }
  }

  /** Whether it is time to look for steps: slaves also tear builds down that are over. */
  hasNewSteps() {
    if (!this.listed || performance.now() - this.stepsAt < STEPS_EVERY) return false;
    const { ended: end } = span(this.build);
    return !end || Date.now() / 1000 - end < TEARDOWN_LASTS || this.listed.some((step) => !step.ended_at);
  }
}

/** The variables of a build of a matrix, in one line. */
function variables(matrix) {
  return Object.entries(matrix).map(([name, value]) => `${name}=${value}`).join(" ");
}

function waitWords(build) {
  const found = /It waits: .*/.exec(build.details ?? "");
  if (found) return found[0];
  return build.status === "QUEUED" ? "It waits for its turn, or the master looks for its atoms." : "No atoms yet.";
}

/** How long a build will still take, with the interval where the master foretells it; null where nobody knows. It was
 *  told so many seconds ago: the master tells again where counting down from that would be wrong. */
function leftOf({ finish, seconds_left }, ago) {
  const left = (seconds) => duration(Math.max(1, Math.round(seconds - ago)));
  if (finish) return `about ${left(finish.median)} left (${left(finish.low)} to ${left(finish.high)})`;
  return seconds_left === null ? null : `about ${duration(seconds_left)} left`;
}
