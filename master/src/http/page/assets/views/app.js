// One app: how it stands, its processes, its log as it grows, its variables and its releases; and what may be changed.

import { read, session } from "../api.js";
import { Changing } from "../app/changing.js";
import { Scale } from "../app/scale.js";
import { Variables } from "../app/variables.js";
import { addressesOf, hostLink, isReplaced, sizeOf, stateOf, typesOf } from "../apps.js";
import { paint } from "../console/paint.js";
import { ask } from "../dialogs.js";
import { chip, fill, h, name, time } from "../dom.js";
import { ago, moment } from "../format.js";
import { instanceChip } from "../instances.js";
import { follow, soon, until } from "../live.js";
import { tab } from "../notify.js";
import { go, to } from "../router.js";
import { short } from "../text.js";

/** How many lines of the log are shown: the newest. */
const SHOWN = 2000;
/** How many lines are asked for at first. */
const FIRST = 500;
/** How long one question waits for something new, in seconds. */
const WAITS = 20;
/** How many releases are shown before all are asked for. */
const RELEASES = 10;

/** Shows the view. */
export async function show({ main, params, signal }) {
  const view = new AppView(main, params.app, signal);
  const load = async () => view.take(await read(`/v2/apps/${params.app}`, signal));
  const changed = soon(load, signal);
  const isThis = (id) => view.app?.project_id === id;
  const on = { app: ({ id }) => id === params.app && changed(), app_deleted: ({ id }) => isThis(id) && changed(), instance: changed };
  const of = { events: "/v2/events", load, on, signal };
  await Promise.all([view.log(), follow(of)]);
}

class AppView {
  constructor(main, id, signal) {
    this.id = id;
    this.signal = signal;
    this.allReleases = false;
    this.changing = new Changing(id, (found) => this.take(found));
    this.scale = new Scale(this.changing);
    this.variables = new Variables(id, this.changing, signal);
    this.head = h("div", { class: "head" }, h("h1", {}, name(id)));
    this.facts = h("dl", { class: "pairs" });
    this.processes = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Processes" });
    this.releases = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Releases" });
    this.output = h("pre", { class: "console log", tabindex: "0", role: "region", "aria-label": "Log" });
    fill(main, this.head, this.changing.problem, h("section", { class: "card", "aria-label": "About it" }, this.facts), h("h2", {}, "Processes"), this.processes,
      this.scale.element, h("h2", {}, "Log"), this.output, this.variables.element, h("h2", {}, "Releases"), this.releases);
  }

  take(found) {
    const mark = JSON.stringify(found);
    if (mark === this.mark) return;
    this.mark = mark;
    const { app, releases, access } = found;
    this.app = app;
    const mayChange = session.user !== null && (access === "use" || access === "own");
    const state = stateOf(app);
    tab(`${state.word}: ${short(app.id, 40)}`, state.key);
    fill(this.head, h("div", {}, h("p", { class: "crumbs small" }, h("a", { href: to.apps() }, "Apps"), ` / ${app.id}`), h("h1", {}, name(app.id), " ", chip(state))),
      h("div", { class: "actions" }, state.key === "passed" ? openLink(app) : null, access === "own" && session.user ? h("button", { type: "button", class: "danger", on: { click: (event) => this.remove(event.currentTarget) } }, "Delete") : null));
    this.drawFacts(app);
    this.drawProcesses(app);
    this.scale.draw(app, mayChange);
    this.variables.draw(app, mayChange);
    this.drawReleases(releases, mayChange && app.is_deployed);
  }

  drawFacts(app) {
    const list = (parts) => parts.flatMap((part, at) => (at ? [", ", part] : [part]));
    const types = typesOf(app).map(({ type, up, wanted }) => [name(short(type, 60)), ` ${up} of ${wanted} up`]);
    const pairs = [["Release", [`v${app.release.version}: `, name(short(app.release.summary, 400))]], ["Processes", list(types)],
      ["Addresses", list(addressesOf(app, location).map(hostLink))], ["Owner", app.owner && [name(short(app.owner, 80))]],
      ["Created", [since(app.created)]], ["Changed", [since(app.updated)]]];
    fill(this.facts, pairs.filter(([, value]) => value?.length).map(([word, value]) => [h("dt", {}, word), h("dd", {}, value)]));
  }

  drawProcesses(app) {
    const shown = app.processes.filter((process) => !isReplaced(app, process));
    const row = (process) => h("tr", {},
      h("th", { scope: "row" }, h("a", { href: to.instance(process.instance_id) }, name(short(process.name, 80)))),
      h("td", { class: "long" }, instanceChip(process), process.reason ? h("div", { class: "small muted" }, short(process.reason, 300)) : null),
      h("td", {}, `v${process.release}`),
      h("td", {}, process.slave_id ? `slave ${process.slave_id}` : ""),
      h("td", {}, process.restarts || ""));
    const heads = ["Process", "State", "Release", "Slave", "Restarts"];
    const none = app.is_deployed ? "No process runs: the app is scaled to zero." : "Nothing is deployed yet.";
    fill(this.processes, shown.length
      ? h("table", { class: "roomy" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, shown.map(row)))
      : h("p", { class: "muted" }, app.is_deployed && sizeOf(app.structure) ? "No process is there yet." : none));
  }

  drawReleases(releases, mayRollBack) {
    const now = Date.now() / 1000;
    const shown = this.allReleases ? releases : releases.slice(0, RELEASES);
    const row = (release) => h("tr", {},
      h("th", { scope: "row" }, `v${release.version}`),
      h("td", { class: "long" }, name(short(release.summary, 400))),
      h("td", {}, name(short(release.by, 80))),
      h("td", {}, since(release.created, now)),
      mayRollBack ? h("td", {}, release.version < this.app.release.version && release.version > 1
        ? h("button", { type: "button", "aria-label": `Roll back to v${release.version}`, on: { click: (event) => this.rollBack(event.currentTarget, release) } }, "Roll back") : null) : null);
    const heads = ["Release", "What is new", "By", "When"];
    const spare = mayRollBack ? h("td") : null;
    const more = () => {
      this.allReleases = true;
      this.drawReleases(releases, mayRollBack);
      this.releases.focus();
    };
    fill(this.releases, h("table", { class: "roomy" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)), spare)), h("tbody", {}, shown.map(row))),
      shown.length < releases.length ? h("p", {}, h("button", { type: "button", on: { click: more } }, `Show ${releases.length - shown.length} older releases`)) : null);
  }

  async rollBack(button, release) {
    const words = `A new release runs what v${release.version} ran, with the variables of then. Its processes take the place of the present ones.`;
    if (await ask(`Roll back to v${release.version}?`, words, "Roll back", "Stay here")) await this.changing.put(button, { roll_back_to: release.version });
  }

  async remove(button) {
    const words = "Its processes end, and its releases, variables, addresses and log are gone for good.";
    if (await ask(`Delete ${this.id}?`, words, "Delete the app", "Keep it") && await this.changing.remove(button)) go(to.apps());
  }

  /** Follows the log. */
  async log() {
    let next = null;
    while (!this.signal.aborted) {
      let part;
      try {
        const wanted = next === null ? `last=${FIRST}` : `first=${next}&wait_s=${WAITS}`;
        part = await read(`/v2/app_logs/${this.id}?${wanted}`, this.signal);
      } catch (error) {
        if (this.signal.aborted) return;
        if (error.status > 0 && error.status < 500) return;
        await until(this.signal, [], 2000);
        continue;
      }
      const isNear = this.output.scrollTop + this.output.clientHeight >= this.output.scrollHeight - 30;
      if (next !== null && part.first > next) this.output.append(h("span", { class: "cut" }, "… some lines are not kept any more\n"));
      this.output.append(...part.lines.slice(-SHOWN).map(line));
      while (this.output.childElementCount > SHOWN) this.output.firstChild.remove();
      if (isNear) this.output.scrollTop = this.output.scrollHeight;
      const isSame = part.next === next;
      next = part.next;
      // A master with too many readers answers at once.
      if (isSame) await until(this.signal, [], 1000);
    }
  }
}

/** The link to the program of an app that is up. */
function openLink(app) {
  const [first] = addressesOf(app, location);
  return first?.href ? h("a", { class: "button", href: first.href, target: "_blank", rel: "noreferrer noopener" }, "Open") : null;
}

/** How long ago a moment is; on hovering, when. */
function since(seconds, now = Date.now() / 1000) {
  return time(seconds, ago(seconds, now), moment(seconds));
}

/** A line: when the master got it, the process that printed it or nothing where the master says it, and its text. */
function line({ at, process, text }) {
  const time = new Date(at * 1000).toLocaleTimeString(undefined, { hour12: false });
  return h("span", { class: "tail-line app-line" }, h("time", { title: moment(at) }, `${time} `),
    process ? h("span", { class: "from" }, `${short(process, 60)} `) : null, paint(text, null).element, "\n");
}
