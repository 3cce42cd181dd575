// "Why did it take so long?": named seconds that add up to the whole.

import { readOr } from "../api.js";
import { fill, h } from "../dom.js";
import { duration } from "../format.js";
import { short } from "../text.js";

/** Words for names that the master gives; others are shown as they are, without underscores. */
function words(key) {
  const text = short(key, 80).replace(/_seconds$/, "").replace(/_/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/**
 * The parts of an explanation, whichever of its forms it has: a list of `{name, seconds}` or names with numbers. Pure.
 * @returns {{name: string, seconds: number, more: string | null}[]}
 */
export function partsOf(explanation) {
  const body = explanation?.explanation ?? explanation ?? {};
  const list = Array.isArray(body) ? body : body.parts ?? body.seconds ?? body;
  const entries = Array.isArray(list)
    ? list.map((part) => ({ name: part.name ?? part.kind ?? part.what, seconds: part.seconds, more: part.detail ?? part.details ?? null }))
    : Object.entries(list).map(([name, seconds]) => ({ name, seconds, more: null }));
  return entries.filter(({ name, seconds }) => name && typeof seconds === "number" && !/^(total|whole|id|build_id)/.test(name));
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
    const parts = partsOf(found);
    const whole = parts.reduce((sum, { seconds }) => sum + seconds, 0);
    this.element.hidden = !parts.length || !whole;
    if (this.element.hidden) return;
    const rows = parts.map(({ name, seconds, more }) => {
      const share = h("span", { class: "share", "aria-hidden": "true" });
      share.style.width = `${Math.max(0, seconds) / whole * 100}%`;
      return h("tr", { class: seconds ? null : "none" }, h("th", { scope: "row" }, words(name)), h("td", { class: "number-cell nowrap" }, duration(seconds)),
        h("td", { class: "number-cell" }, `${Math.round(seconds / whole * 100)} %`),
        h("td", { class: "track" }, share, more ? h("span", { class: "muted small" }, short(more, 200)) : null));
    });
    fill(this.list, h("table", { class: "reasons" }, h("tbody", {}, rows),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "The whole build"), h("td", { class: "number-cell nowrap" }, duration(whole)), h("td"), h("td")))));
  }
}
