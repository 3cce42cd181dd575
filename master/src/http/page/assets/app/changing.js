// Changes of an app: what the master is asked to do, and what it says to that.

import { change } from "../api.js";
import { fill, h } from "../dom.js";

/** The one place through which a view changes its app. */
export class Changing {
  /** @param {string} id the app's @param {(answer: any) => void} took gets the app as it is after a change */
  constructor(id, took) {
    this.path = `/v2/apps/${id}`;
    this.took = took;
    this.problem = h("p", { class: "wrong", role: "alert", hidden: true });
  }

  /** Asks for one change; whether it was made. `button` can not be pressed meanwhile. */
  put(button, body) {
    return this.#do(button, async () => this.took(await change("PUT", this.path, body)));
  }

  /** Deletes the app; whether that was done. */
  remove(button) {
    return this.#do(button, () => change("DELETE", this.path));
  }

  async #do(button, act) {
    button.disabled = true;
    this.problem.hidden = true;
    try {
      await act();
      return true;
    } catch (error) {
      fill(this.problem, error.message);
      this.problem.hidden = false;
      this.problem.scrollIntoView({ block: "nearest" });
      return false;
    } finally {
      button.disabled = false;
    }
  }
}
