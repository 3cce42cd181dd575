// One project: its badge and its builds.

import { read, readOr, ApiError } from "../api.js";
import { fill, h, name } from "../dom.js";
import { count } from "../format.js";
import { follow, soon } from "../live.js";
import { tab } from "../notify.js";
import { badgeAddress, badgeMarkdown } from "../projects.js";
import { to } from "../router.js";
import { short, webAddress } from "../text.js";
import { drawBuilds } from "./builds.js";

/** How many builds are read at a time. */
const PAGE = 50;
/** The project is read anew so often at most while builds change, in milliseconds: all builds are gone through for it. */
const PAUSE = 2000;

/** Shows the view. */
export async function show({ main, params, signal }) {
  const view = new Project(main, params.project, signal);
  const changed = soon(() => view.load(), signal, PAUSE);
  await follow({
    events: "/v2/events",
    load: () => view.load(),
    on: { build: ({ build }) => { if (build.project_id === params.project) changed(); }, build_deleted: changed },
    signal,
  });
}

class Project {
  constructor(main, id, signal) {
    this.id = id;
    this.signal = signal;
    this.head = h("div", { class: "head" });
    this.about = h("div");
    this.badge = document.createElement("img");
    this.badge.height = 20;
    this.markdown = h("pre", { class: "command", tabindex: "0", "aria-label": "The badge as Markdown" });
    this.copied = h("span", { class: "small muted", role: "status" });
    const copy = navigator.clipboard ? h("button", { type: "button", on: { click: () => this.copy() } }, "Copy") : null;
    this.builds = h("div");
    this.older = h("button", { type: "button", hidden: true, on: { click: () => this.readOlder() } }, "Show older builds");
    this.element = h("div", {}, this.head, this.about,
      h("section", { class: "card badge-card", "aria-labelledby": "badge-title" }, h("h2", { id: "badge-title" }, "Badge"), h("p", {}, this.badge),
        h("p", { class: "muted small" }, "For a README, as Markdown:"), this.markdown, h("p", { class: "actions" }, copy, this.copied)),
      this.builds, h("p", { class: "more" }, this.older));
    this.main = main;
    /** Those that were read, by their ids. */
    this.known = new Map();
  }

  async load() {
    const found = await readOr(null, `/v2/projects/${this.id}`, this.signal);
    if (!found) throw new ApiError(404, `There is no project ${this.id}.`);
    const { builds } = await read(`/v2/projects/${this.id}/builds?limit=${PAGE}`, this.signal);
    // What the newest page does not have any more was deleted.
    const oldest = builds.at(-1)?.id ?? 0;
    for (const id of this.known.keys()) if (id >= oldest) this.known.delete(id);
    this.take(builds);
    this.draw(found.project);
  }

  async readOlder() {
    this.older.disabled = true;
    try {
      const before = this.all().at(-1).id;
      const { builds } = await read(`/v2/projects/${this.id}/builds?limit=${PAGE}&before=${before}`, this.signal);
      this.take(builds);
      this.isWhole = !builds.length;
      this.drawBuilds();
    } finally {
      this.older.disabled = false;
    }
  }

  /** All builds that were read, the newest first. */
  all() {
    return [...this.known.values()].sort((one, other) => other.id - one.id);
  }

  take(builds) {
    for (const build of builds) this.known.set(build.id, build);
  }

  draw(project) {
    if (!this.element.isConnected) fill(this.main, this.element);
    const title = short(project.name, 120);
    tab(`Project ${short(project.name, 40)}`);
    fill(this.head, h("div", {}, h("p", { class: "crumbs small" }, h("a", { href: to.projects() }, "Projects"), " / ", String(project.id)), h("h1", {}, name(title))));
    const address = project.url ? webAddress(project.url) : null;
    fill(this.about, h("p", { class: "facts muted" }, h("span", {}, "of ", name(short(project.owner, 60))), project.is_private ? h("span", {}, "private") : null,
      project.url ? h("span", {}, address ? h("a", { href: address, rel: "noreferrer" }, name(short(project.url, 160))) : name(short(project.url, 160))) : null,
      h("span", {}, count(project.num_builds, "build"))),
      project.description ? h("p", {}, name(short(project.description, 2000))) : null);
    const last = project.last_build;
    const source = `${badgeAddress("", project)}?of=${last ? `${last.id}-${last.status}` : "none"}`;
    if (this.badge.getAttribute("src") !== source) this.badge.src = source;
    this.badge.alt = `Badge of ${title}`;
    const markdown = badgeMarkdown(location.origin, project);
    if (this.markdown.textContent !== markdown) fill(this.markdown, markdown);
    this.number = project.num_builds;
    this.drawBuilds();
  }

  drawBuilds() {
    const builds = this.all();
    if (builds.length) drawBuilds(this.builds, "Builds", builds, Date.now() / 1000);
    else fill(this.builds, h("p", { class: "empty" }, "It has no builds yet."));
    this.older.hidden = this.isWhole || builds.length >= this.number;
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.markdown.textContent);
      fill(this.copied, "Copied.");
    } catch {
      fill(this.copied, "The browser does not let the page copy: select the text.");
    }
  }
}
