// The variables of an app: their names, what they are once somebody asks for that, and changes of them.

import { read } from "../api.js";
import { ask } from "../dialogs.js";
import { fill, h } from "../dom.js";
import { short } from "../text.js";

/** What is wrong with the name of a variable, in words; empty where nothing is. Pure. */
export function faultOf(key) {
  if (!key) return "A variable needs a name.";
  return /[=\s]/.test(key) ? "A name has no blanks and no '='." : "";
}

export class Variables {
  #values = null;
  #release = null;

  /** @param {string} id the app's @param {import("./changing.js").Changing} changing @param {AbortSignal} signal */
  constructor(id, changing, signal) {
    this.id = id;
    this.changing = changing;
    this.signal = signal;
    this.show = h("button", { type: "button", on: { click: () => this.#toggle() } });
    this.list = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Variables" });
    this.key = h("input", { id: "variable-name", name: "key", autocomplete: "off", spellcheck: "false", placeholder: "NAME" });
    this.value = h("textarea", { id: "variable-value", name: "value", rows: 1, autocomplete: "off", spellcheck: "false" });
    this.wrong = h("p", { class: "wrong", role: "alert" });
    this.set = h("button", { type: "submit" }, "Set");
    this.form = h("form", { class: "variable", hidden: true, "aria-label": "Set a variable", on: {
      submit: (event) => {
        event.preventDefault();
        this.#set();
      },
    } },
    h("div", { class: "field" }, h("label", { for: "variable-name" }, "Name"), this.key),
    h("div", { class: "field grows" }, h("label", { for: "variable-value" }, "Value"), this.value), this.set);
    this.element = h("section", { class: "card", "aria-labelledby": "variables-title" },
      h("h2", { id: "variables-title" }, "Variables", this.show), this.list, this.form, this.wrong);
  }

  /** Shows the names as they now are. Values that are shown are read anew when a release has other ones. */
  draw(app, mayChange) {
    this.keys = app.config_keys;
    this.mayChange = mayChange;
    this.form.hidden = !mayChange;
    this.show.hidden = !this.keys.length;
    const isOther = this.#release !== null && this.#release !== app.release.version;
    this.#release = app.release.version;
    if (isOther && this.#values) this.#read();
    this.#list();
  }

  async #toggle() {
    if (this.#values) {
      this.#values = null;
      this.#list();
    } else await this.#read();
  }

  async #read() {
    try {
      this.#values = (await read(`/v2/apps/${this.id}/config`, this.signal)).config.values;
    } catch (error) {
      if (this.signal.aborted) return;
      fill(this.wrong, error.message);
    }
    this.#list();
  }

  #list() {
    const mark = JSON.stringify([this.keys, this.#values, this.mayChange]);
    if (mark === this.mark) return;
    this.mark = mark;
    fill(this.show, this.#values ? "Hide values" : "Show values");
    this.show.setAttribute("aria-pressed", String(Boolean(this.#values)));
    if (!this.keys.length) return fill(this.list, h("p", { class: "muted" }, "There are none."));
    const row = (key) => h("tr", {},
      h("th", { scope: "row" }, h("code", {}, short(key, 256))),
      h("td", { class: "long" }, this.#values ? h("pre", { class: "value", tabindex: "0" }, String(this.#values[key] ?? "")) : h("span", { class: "muted", "aria-label": "hidden" }, "••••••")),
      this.mayChange ? h("td", { class: "act" }, h("button", { type: "button", "aria-label": `Change ${short(key, 256)}`, on: { click: () => this.#edit(key) } }, "Change"), " ",
        h("button", { type: "button", class: "danger", "aria-label": `Remove ${short(key, 256)}`, on: { click: (event) => this.#remove(event.currentTarget, key) } }, "Remove")) : null);
    fill(this.list, h("table", { class: "variables" }, h("tbody", {}, this.keys.map(row))));
  }

  /** Puts a variable into the form. */
  #edit(key) {
    this.key.value = key;
    this.value.value = String(this.#values?.[key] ?? "");
    this.value.focus();
  }

  async #set() {
    const key = this.key.value.trim();
    const fault = faultOf(key);
    fill(this.wrong, fault);
    this.key.setAttribute("aria-invalid", String(Boolean(fault)));
    if (fault) return this.key.focus();
    if (!await this.changing.put(this.set, { config: { values: { [key]: this.value.value } } })) return;
    this.form.reset();
    this.key.focus();
  }

  async #remove(button, key) {
    const words = "This makes a release without the variable, and its processes take the place of the present ones.";
    if (await ask(`Remove ${short(key, 80)}?`, words, "Remove it", "Keep it")) await this.changing.put(button, { config: { values: { [key]: null } } });
  }
}
