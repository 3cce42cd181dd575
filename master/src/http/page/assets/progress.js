// The bar that tells how far a build is.

import { count } from "./format.js";
import { h } from "./dom.js";

/** How many atoms of a build passed, failed, run and wait. Pure. */
export function parts(build) {
  const failed = build.num_atoms_failed ?? 0;
  const passed = Math.max(0, (build.num_atoms_completed ?? 0) - failed);
  const running = build.num_atoms_in_progress ?? 0;
  const total = build.num_atoms ?? build.num_subjobs ?? 0;
  const waiting = Math.max(0, total - failed - passed - running);
  return { failed, passed, running, waiting, total };
}

/** The parts in words. */
export function words({ failed, passed, running, waiting, total }) {
  if (!total) return "";
  const some = [[failed, "failed"], [passed, "passed"], [running, "running"], [waiting, "waiting"]];
  const said = some.filter(([number]) => number).map(([number, word]) => `${number.toLocaleString("en")} ${word}`);
  return `${count(total, "atom")}: ${said.join(", ")}`;
}

/** A bar of the parts; its label has the words. */
export function bar(build, isOver) {
  const numbers = parts(build);
  const element = h("div", { class: "bar", role: "img", "aria-label": words(numbers) || "No atoms yet", title: words(numbers) });
  for (const key of ["failed", "passed", "running", "waiting"]) {
    if (!numbers[key]) continue;
    const part = h("span", { class: key === "waiting" && isOver ? "part left" : `part ${key}` });
    part.style.flexGrow = String(numbers[key]);
    element.append(part);
  }
  return element;
}
