// The builds of a matrix: each with its variables, how it stands, and the way to it.

import { chip, fill, h, name } from "../dom.js";
import { buildState, count, isOver } from "../format.js";
import { bar, parts } from "../progress.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** The part of the page about the builds that a build was split into. */
export class Children {
  constructor() {
    this.title = h("h2", { id: "children-title" });
    this.list = h("tbody");
    this.element = h("section", { class: "card", "aria-labelledby": "children-title", hidden: true }, this.title,
      h("div", { class: "scroll" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Build", "Variables", "State", "Atoms"].map((title) => h("th", { scope: "col" }, title)))), this.list)));
  }

  /** Shows them as they now are; nothing for other builds. */
  draw(build) {
    const children = build.children ?? [];
    const mark = JSON.stringify(children);
    if (mark === this.mark) return;
    this.mark = mark;
    this.element.hidden = !children.length;
    fill(this.title, `${count(children.length, "build")} of a matrix`);
    fill(this.list, children.map(row));
  }
}

function row(child) {
  const over = isOver(child);
  const numbers = parts({ ...child, num_atoms_in_progress: 0 });
  const failed = child.num_atoms_failed ? `, ${child.num_atoms_failed.toLocaleString("en")} failed` : "";
  return h("tr", {},
    h("td", {}, h("a", { href: to.build(child.build_id) }, `#${child.build_id}`)),
    h("td", {}, h("a", { href: to.build(child.build_id) }, name(short(child.name, 200))),
      child.error_message ? h("p", { class: "small" }, h("bdi", { class: "why" }, short(child.error_message, 160))) : null),
    h("td", {}, chip(buildState(child))),
    h("td", {}, numbers.total ? bar(numbers, over) : null, h("span", { class: "muted small nowrap" }, `${count(child.num_atoms, "atom")}${failed}`)));
}
