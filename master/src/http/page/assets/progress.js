// The bar that tells how far a build is.

import { CANCELED, FAILED, FLAKY, PASSED, RUNNING, WAITING } from "./build/atoms.js";
import { count } from "./format.js";
import { h } from "./dom.js";

/** How many atoms of a build passed, were flaky, failed, run and wait. Pure. */
export function parts(build) {
  const failed = build.num_atoms_failed ?? 0;
  // Where flaky atoms count as failed, they are among those.
  const flaky = build.flaky_fails ? 0 : build.num_atoms_flaky ?? 0;
  const passed = Math.max(0, (build.num_atoms_completed ?? 0) - failed - flaky);
  const running = build.num_atoms_in_progress ?? 0;
  const total = build.num_atoms ?? build.num_subjobs ?? 0;
  const waiting = Math.max(0, total - failed - flaky - passed - running);
  return { failed, flaky, passed, running, waiting, total };
}

/** The same of the atoms themselves: a canceled build does not tell how many it had. Pure. @param {number[]} counts by state */
export function partsOf(counts) {
  const [failed, flaky, running, canceled, passed, waiting] = [FAILED, FLAKY, RUNNING, CANCELED, PASSED, WAITING].map((state) => counts[state]);
  return { failed, flaky, passed, running, canceled, waiting, total: failed + flaky + passed + running + canceled + waiting };
}

/** The parts in words. */
export function words({ failed, flaky = 0, passed, running, canceled = 0, waiting, total }, isOver = false) {
  if (!total) return "";
  const some = [[failed, "failed"], [flaky, "flaky"], [passed, "passed"], [running, "running"], [canceled, "canceled"], [waiting, isOver ? "not run" : "waiting"]];
  const said = some.filter(([number]) => number).map(([number, word]) => `${number.toLocaleString("en")} ${word}`);
  return `${count(total, "atom")}: ${said.join(", ")}`;
}

/** A bar of the parts; its label has the words. */
export function bar(numbers, isOver) {
  const said = words(numbers, isOver);
  const element = h("div", { class: "bar", role: "img", "aria-label": said || "No atoms yet", title: said });
  for (const key of ["failed", "flaky", "passed", "running", "canceled", "waiting"]) {
    if (!numbers[key]) continue;
    const part = h("span", { class: key === "waiting" && isOver ? "part left" : `part ${key}` });
    part.style.flexGrow = String(numbers[key]);
    element.append(part);
  }
  return element;
}
