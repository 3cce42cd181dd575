// What a build does beside its atoms: fetch, atomizer, set-up and tear-down on each slave.

import { fill, h, name } from "../dom.js";
import { bytes, duration, ending } from "../format.js";
import { to } from "../router.js";
import { short } from "../text.js";

const WORDS = { fetch: "Fetch the project", atomizer: "Find the atoms", setup: "Set-up", teardown: "Tear-down" };

/** The table of steps; hidden while there are none. */
export class Steps {
  constructor(build) {
    this.build = build;
    this.body = h("tbody");
    this.element = h("section", { class: "card", "aria-labelledby": "steps-title", hidden: true },
      h("h2", { id: "steps-title" }, "Steps"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Steps" }, h("table", {}, h("thead", {}, h("tr", {},
        ["Step", "Slave", "State", "Start", "Duration", "Output"].map((title) => h("th", { scope: "col" }, title)))), this.body)));
  }

  draw(steps, began) {
    const own = steps.filter((step) => step.id !== undefined);
    this.element.hidden = !own.length;
    const now = Date.now() / 1000;
    fill(this.body, own.map((step) => h("tr", { class: step.state === "FAILED" ? "bad" : null },
      h("td", {}, h("a", { href: to.step(this.build, step.id) }, WORDS[step.kind] ?? short(step.kind, 40))),
      h("td", {}, step.slave_url ? name(short(step.slave_url, 60)) : "master"),
      h("td", { class: "nowrap" }, stateWords(step)),
      h("td", { class: "nowrap" }, step.began_at ? `+${duration(step.began_at - began)}` : ""),
      h("td", { class: "nowrap" }, step.began_at ? duration((step.ended_at ?? now) - step.began_at) : ""),
      h("td", { class: "nowrap" }, step.output_bytes === null || step.output_bytes === undefined ? "" : bytes(step.output_bytes)))));
  }
}

/** How a step stands, in words. */
export function stateWords(step) {
  const word = String(step.state ?? "").toLowerCase().replace(/_/g, " ");
  const end = step.trouble || step.exit_code ? `, ${short(ending(step), 120)}` : "";
  return `${short(word, 40)}${end}`;
}

/**
 * All steps of a build: those that the master lists. Where it lists none, the preparation and set-ups under way.
 * Pure.
 */
export function stepsOf(build, listed) {
  const times = build.state_timestamps ?? {};
  const found = [...listed ?? []];
  if (!listed && times.preparing) {
    const ended = times.prepared ?? times.error ?? times.canceled ?? null;
    found.push({ kind: "fetch", slave_id: null, slave_url: null, began_at: times.preparing, ended_at: ended });
  }
  for (const slave of listed ? [] : build.slaves_setting_up ?? []) {
    if (slave.since) found.push({ kind: "setup", slave_id: slave.slave_id, slave_url: slave.url, began_at: slave.since, ended_at: null });
  }
  return found;
}
