// How many processes of each type are wanted.

import { ask } from "../dialogs.js";
import { fill, h, name } from "../dom.js";
import { short } from "../text.js";

/** The most processes of a type that the form takes. */
const MOST = 1000;

/** The types of an app and how many are wanted of each. Pure. */
export function wantedOf(app) {
  const types = new Set([...app.process_types ?? [], ...Object.keys(app.structure)]);
  return [...types].sort().map((type) => [type, app.structure[type] ?? 0]);
}

export class Scale {
  /** @param {import("./changing.js").Changing} changing */
  constructor(changing) {
    this.changing = changing;
    this.fields = h("div", { class: "scale-fields" });
    this.apply = h("button", { type: "submit" }, "Scale");
    this.element = h("form", { class: "scale", hidden: true, "aria-label": "Scale", on: {
      input: () => this.#compare(),
      submit: (event) => {
        event.preventDefault();
        this.#scale();
      },
    } }, this.fields, this.apply);
  }

  /** Shows the numbers as they now are; what somebody has typed stays. */
  draw(app, mayChange) {
    const wanted = wantedOf(app);
    this.element.hidden = !mayChange || !app.is_deployed || !wanted.length;
    const mark = JSON.stringify(wanted);
    if (mark === this.mark) return;
    this.mark = mark;
    const typed = new Map(this.#changed());
    this.wanted = new Map(wanted);
    this.inputs = wanted.map(([type, number]) => h("input", { type: "number", name: type, min: 0, max: MOST, required: true, value: String(typed.get(type) ?? number) }));
    fill(this.fields, this.inputs.map((input) => h("label", {}, name(short(input.name, 60)), " ", input)));
    this.#compare();
  }

  /** The types whose number somebody has changed, with the new one. */
  #changed() {
    const all = (this.inputs ?? []).map((input) => [input.name, input.valueAsNumber]);
    return all.filter(([type, number]) => number !== this.wanted.get(type));
  }

  #compare() {
    this.apply.disabled = !this.#changed().length;
  }

  async #scale() {
    const changed = this.#changed();
    const ending = changed.filter(([, number]) => number === 0).map(([type]) => type);
    const words = `${ending.map((type) => short(type, 60)).join(", ")}: all processes end until you scale up again.`;
    if (ending.length && !await ask("Scale to zero?", words, "Scale to zero")) return;
    await this.changing.put(this.apply, { structure: Object.fromEntries(changed) });
    this.#compare();
  }
}
