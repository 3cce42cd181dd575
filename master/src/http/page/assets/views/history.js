// What earlier builds say: of one atom or test by its name, or which are flaky.

import { read } from "../api.js";
import { chip, fill, h, name } from "../dom.js";
import { count, duration } from "../format.js";
import { tab } from "../notify.js";
import { go, to } from "../router.js";
import { short } from "../text.js";

/** Verdicts, with the key of their colour and icon, and a word; outcomes, with their colour and sign. */
const VERDICTS = { flaky: ["flaky", "Flaky"], suspicious: ["canceled", "Suspicious"], stable: ["passed", "Stable"] };
const OUTCOMES = { passed: ["passed", "."], flaky: ["flaky", "f"], failed: ["failed", "F"], skipped: ["", "s"] };

/** How many of the flaky ones are shown with all that is known. */
const OPEN = 3;

/** Shows the view. */
export async function show({ main, signal, query }) {
  const wanted = query?.get("name") ?? "";
  tab(wanted ? `History: ${short(wanted, 60)}` : "Flaky tests");
  const text = h("input", { type: "search", id: "history-name", placeholder: "Whole name of an atom or a test", value: wanted });
  const asked = (event) => {
    event.preventDefault();
    go(to.history(text.value.trim()));
  };
  const said = h("p", { class: "muted", role: "status" });
  const list = h("div");
  fill(main, h("div", { class: "head" }, h("h1", {}, wanted ? ["History of ", name(short(wanted, 120))] : "Flaky tests")),
    h("section", { class: "card" },
      h("form", { class: "filters", on: { submit: asked } }, h("label", { class: "visually-hidden", for: "history-name" }, "Name"), text, h("button", {}, "Show")),
      said, list));
  if (wanted) {
    const { history } = await read(`/v2/history?${new URLSearchParams({ name: wanted })}`, signal);
    fill(said, history.length ? "" : "No archived build has an atom or a test with this name.");
    fill(list, history.map((entry) => entryOf(entry, true)));
  } else {
    const { flaky, total } = await read("/v2/flaky", signal);
    fill(said, total ? `${total === 1 ? "One atom or test" : `${total.toLocaleString("en")} atoms and tests`} failed and passed on the same commit; first what is flaky most surely.`
      : "Nothing is known to be flaky: no failure was followed by a pass on the same commit.");
    fill(list, flaky.map((entry, at) => entryOf(entry, at < OPEN)));
  }
}

/** Numbers of flakiness in words. Pure. */
export function saidOf({ rate, low, high, trials, flakes, hunted = 0 }) {
  const runs = hunted ? `${count(trials, "run")} (${count(hunted, "hunt")})` : count(trials, "build");
  const percent = (probability) => `${(probability * 100).toFixed(1)} %`;
  if (!trials) return "no run that says how flaky it is";
  if (!flakes) return `no flake in ${runs}`;
  return `fails without cause in ${percent(rate)} of its runs (${percent(low)} to ${percent(high)}), did so in ${flakes} of ${runs}`;
}

function runOf({ build_id: build, outcome, time }) {
  const [colour, sign] = OUTCOMES[outcome] ?? OUTCOMES.skipped;
  const words = `Build ${build}: ${outcome}, ${duration(time)}`;
  return h("a", { class: `run ${colour}`, href: to.build(build), title: words, "aria-label": words }, sign);
}

function entryOf(entry, isOpen) {
  const [key, word] = VERDICTS[entry.flakiness.verdict] ?? VERDICTS.stable;
  const where = entry.class ? [h("bdi", { class: "muted" }, short(entry.class, 200)), " "] : null;
  const times = entry.durations;
  const failures = [["First failed in ", entry.first_failed], ["last in ", entry.last_failed]].filter(([, failed]) => failed);
  const details = h("details", {},
    h("summary", {}, chip({ key, word }), " ", where, h("bdi", { class: "strong" }, short(entry.name, 300)),
      h("span", { class: "muted small" }, ` ${saidOf(entry.flakiness)}`)),
    h("p", { class: "runs" }, entry.runs.map(runOf)),
    h("p", { class: "small" }, entry.atom === null ? null : [name(short(entry.atom, 120)), " · "], name(short(entry.project, 80)), " · ", name(short(entry.job, 80)),
      times ? ` · ${duration(times.median)} (${duration(times.p10)} to ${duration(times.p90)})` : null),
    failures.length ? h("p", { class: "small" }, failures.map(([words, failed], at) =>
      [at ? ", " : null, words, h("a", { href: to.build(failed.build_id) }, `#${failed.build_id}`), failed.commit ? ` (${failed.commit.slice(0, 10)})` : null])) : null);
  details.open = isOpen;
  return details;
}
