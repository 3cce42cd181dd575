// The projects: whose builds there are, and how each stands.

import { read, session } from "../api.js";
import { chip, fill, h, name, time } from "../dom.js";
import { ago, buildState, count, moment, span } from "../format.js";
import { follow, soon } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** How many projects are read at a time. */
const PAGE = 50;
/** Projects are read anew so often at most while builds change, in milliseconds: all builds are gone through for it. */
const PAUSE = 2000;

/** Shows the view. */
export async function show({ main, signal }) {
  const view = new Projects(main, signal);
  const changed = soon(() => view.load(), signal, PAUSE);
  await follow({ events: "/v2/events", load: () => view.load(), on: { build: changed, build_deleted: changed }, signal });
}

class Projects {
  constructor(main, signal) {
    this.signal = signal;
    this.pages = 1;
    this.summary = h("p", { class: "muted" });
    this.list = h("ul", { class: "cards" });
    this.more = h("button", { type: "button", hidden: true, on: { click: () => this.showMore() } }, "Show more projects");
    fill(main, h("div", { class: "head" }, h("h1", {}, "Projects")), this.summary, this.list, h("p", { class: "more" }, this.more));
  }

  async load() {
    const projects = [];
    let total = 0;
    for (let page = 0; page < this.pages; page += 1) {
      const part = await read(`/v2/projects?offset=${page * PAGE}&limit=${PAGE}`, this.signal);
      projects.push(...part.projects);
      total = part.total;
    }
    this.draw(projects, total);
  }

  async showMore() {
    this.pages += 1;
    this.more.disabled = true;
    await this.load().finally(() => { this.more.disabled = false; });
  }

  draw(projects, total) {
    tab("Projects");
    fill(this.summary, total ? `${count(total, "project")}, those with the newest builds first.` : "");
    this.more.hidden = projects.length >= total;
    const now = Date.now() / 1000;
    const focused = this.list.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    fill(this.list, projects.length ? projects.map((project) => card(project, now)) : nothing());
    if (focused) this.list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

function card(project, now) {
  const last = project.last_build;
  const { began, ended } = last ? span(last) : {};
  const at = ended ?? began;
  return h("li", { class: "card project" },
    h("div", { class: "slave-head" }, h("h2", {}, h("a", { href: to.project(project.id) }, name(short(project.name, 80)))),
      last ? chip(buildState(last)) : null),
    h("p", { class: "small muted" }, "of ", name(short(project.owner, 60)), project.is_private ? " · private" : null),
    project.description ? h("p", { class: "small" }, name(short(project.description, 240))) : null,
    h("p", { class: "small" }, count(project.num_builds, "build"),
      last ? [", last ", h("a", { href: to.build(last.id) }, `#${last.id}`), " ", time(at, ago(at, now), moment(at))] : null));
}

function nothing() {
  return h("li", { class: "empty" }, h("h2", {}, "No projects yet"),
    h("p", {}, session.mayBuild ? ["A project begins with its first build. Submit one ", h("a", { href: to.submit() }, "here"), "."] : "A project begins with its first build."));
}
