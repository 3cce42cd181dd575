// What those who are signed in may do with a build: cancel it, and run it or its failed atoms again.

import { change, session } from "../api.js";
import { fill, h } from "../dom.js";
import { isOver } from "../format.js";
import { go, to } from "../router.js";
import { ask } from "../dialogs.js";

export class Doing {
  constructor(signal) {
    this.element = h("div", { class: "actions" });
    this.problem = h("p", { class: "wrong", role: "alert", hidden: true });
    window.addEventListener("session", () => this.build && this.draw(this.build, this.numFailed, true), { signal });
  }

  /** Offers what may be done. @param {number} numFailed how many atoms are known to have failed */
  draw(build, numFailed, isAnew = false) {
    const anyFailed = numFailed > 0 || (build.children ?? []).some(didNotPass);
    const mark = isOver(build) ? `over ${anyFailed}` : "under way";
    this.numFailed = numFailed;
    if (mark === this.mark && !isAnew) {
      this.build = build;
      return;
    }
    this.mark = mark;
    this.build = build;
    if (!session.mayBuild) return fill(this.element);
    const button = (word, act, kind) => h("button", { type: "button", class: kind, on: { click: (event) => this.#do(event.currentTarget, act) } }, word);
    fill(this.element, isOver(build)
      ? [anyFailed ? button("Retry failed", () => this.#again(true)) : null, button("Retry all", () => this.#again(false))]
      : button("Cancel", () => this.#cancel(), "danger"));
  }

  async #do(button, act) {
    button.disabled = true;
    this.problem.hidden = true;
    try {
      await act();
    } catch (error) {
      fill(this.problem, error.message);
      this.problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  }

  async #cancel() {
    const { id } = this.build;
    if (!await ask(`Cancel build ${id}?`, "All its commands are killed. What has ended keeps its results.", "Cancel the build", "Keep it running")) return;
    await change("PUT", `/v2/builds/${id}`, { status: "canceled" });
  }

  async #again(onlyFailed) {
    const { build_id: id } = await change("POST", "/v2/builds", { retry_of: this.build.id, only_failed: onlyFailed });
    go(to.build(id));
  }
}

/** Whether a build of a matrix is among those that "Retry failed" runs again: it was canceled, too, or could not be run. */
function didNotPass(child) {
  return child.result !== "NO_FAILURES" || child.lacks_atoms;
}
