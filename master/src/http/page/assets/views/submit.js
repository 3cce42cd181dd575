// The form for a build, which says what is wrong while it is written.

import { change, session } from "../api.js";
import { fill, h } from "../dom.js";
import { tab } from "../notify.js";
import { go, to } from "../router.js";
import { mistakes, refusal, requestOf } from "../submit_request.js";

const FIELDS = [
  { name: "url", of: "git", label: "Repository", hint: "https, ssh or git; the master fetches it. A path where the master allows local sources.", more: { autocomplete: "url" } },
  { name: "branch", of: "git", label: "Branch, tag or ref", hint: "The default branch if nothing is said." },
  { name: "hash", of: "git", label: "Commit", hint: "Of all 40 digits; else the newest of the branch." },
  { name: "project_directory", of: "directory", label: "Directory", hint: "A directory that every machine has at the same path." },
  { name: "job_name", label: "Job", hint: "Needed if the project's clusterrunner.yaml has several." },
  { name: "env", label: "Variables of all commands", area: 3, hint: "One a line: NAME=value. They are never shown again." },
];
const MORE = [
  { name: "atoms_override", label: "Atoms instead of the atomizers'", area: 3, hint: "One a line, such as export TEST=\"tests/unit\";" },
  { name: "config", label: "A job instead of clusterrunner.yaml", area: 6, hint: "JSON: {\"commands\": [\"make test\"], \"atomizers\": [{\"TEST\": \"ls tests\"}]}" },
];

/** Shows the view. */
export async function show({ main, signal }) {
  tab("Submit a build");
  const touched = new Set();
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "primary" }, "Submit");
  const kind = (value, label, isChecked) => h("label", { class: "choice" }, h("input", { type: "radio", name: "type", value, checked: isChecked }), ` ${label}`);
  const form = h("form", { class: "card", novalidate: true },
    h("fieldset", {}, h("legend", {}, "Project"), kind("git", "A git repository", true), kind("directory", "A directory", false)),
    FIELDS.map(field), h("details", {}, h("summary", {}, "More"), MORE.map(field)), problem, h("div", { class: "actions" }, button));
  const read = () => Object.fromEntries([...new FormData(form)].map(([name, text]) => [name, text.trim()]));
  const say = (element, words) => {
    const input = element.querySelector("input, textarea");
    if (words) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    fill(element.querySelector(".wrong"), words);
  };
  const check = (isWhole) => {
    const fields = read();
    const wrong = mistakes(fields);
    for (const element of form.querySelectorAll("[data-field]")) {
      const { field: name, of } = element.dataset;
      element.hidden = Boolean(of) && of !== fields.type;
      say(element, wrong[name] && (isWhole || touched.has(name)) ? wrong[name] : null);
    }
    return wrong;
  };
  /** Shows what the master says at the field that it is about. */
  const refused = (message) => {
    const [name, words] = refusal(message);
    const element = name && form.querySelector(`[data-field="${name}"]:not([hidden])`);
    fill(problem, element ? null : message);
    problem.hidden = Boolean(element);
    if (!element) return;
    say(element, words);
    const details = element.closest("details");
    if (details) details.open = true;
    element.querySelector("input, textarea").focus();
  };
  form.addEventListener("input", () => check(false));
  form.addEventListener("focusout", (event) => {
    if (!event.target.value) return;
    touched.add(event.target.name);
    check(false);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const wrong = Object.keys(check(true));
    if (wrong.length) {
      form.querySelector(`[name="${wrong[0]}"]`).focus();
      return;
    }
    button.disabled = true;
    problem.hidden = true;
    try {
      const { build_id: build } = await change("POST", "/v2/builds", requestOf(read()));
      go(to.build(build));
    } catch (error) {
      button.disabled = false;
      refused(error.message);
    }
  });
  const draw = () => {
    fill(main, h("div", { class: "narrow" }, h("h1", {}, "Submit a build"), session.mayBuild ? form
      : h("div", { class: "empty" }, h("p", {}, session.user ? "Your token may only read." : "Without an account one can only read."), h("p", {}, h("a", { class: "button", href: `${to.signIn()}?to=${encodeURIComponent(to.submit())}` }, "Sign in")))));
    check(false);
  };
  window.addEventListener("session", draw, { signal });
  draw();
}

function field({ name, of, label, hint, area, more }) {
  const id = `field-${name}`;
  const described = `${id}-hint ${id}-wrong`;
  const input = area ? h("textarea", { id, name, rows: area, "aria-describedby": described, spellcheck: "false" })
    : h("input", { id, name, "aria-describedby": described, autocomplete: "off", autocapitalize: "none", spellcheck: "false", ...more });
  return h("div", { class: "field", data: of ? { field: name, of } : { field: name } }, h("label", { for: id }, label), input,
    h("p", { class: "hint", id: `${id}-hint` }, hint), h("p", { class: "wrong", id: `${id}-wrong`, "aria-live": "polite" }));
}
