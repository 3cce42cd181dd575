// What a build was asked for, and what it left: request, archives, warnings.

import { fill, h, name } from "../dom.js";
import { commitAddress, moment, workingTreeOf } from "../format.js";
import { to } from "../router.js";
import { webAddress, visible } from "../text.js";

const WORDS = { type: "Type", url: "Repository", branch: "Branch", hash: "Commit asked for", remote: "Fork", job_name: "Job",
  project_directory: "Directory", config: "Job's definition", atoms_override: "Atoms", remote_files: "Files", retry_of: "Runs again", matrix: "Combinations asked for", working_tree: "Code",
  retries: "Retries", max_fail: "Ends after failures", in_order: "All in one order", quotes_atoms: "Quotes atoms" };
/** Longer texts are cut. */
const LONGEST = 4000;

/** The part of the page about a request. */
export class About {
  constructor() {
    this.request = h("dl", { class: "pairs" });
    this.results = h("div");
    this.warnings = h("ul");
    this.warned = h("section", { class: "card warned", "aria-labelledby": "warnings-title", hidden: true },
      h("h2", { id: "warnings-title" }, "Warnings"), this.warnings);
    this.element = h("div", { class: "pair-of-cards" },
      h("section", { class: "card", "aria-labelledby": "results-title" }, h("h2", { id: "results-title" }, "Results"), this.results),
      h("section", { class: "card", "aria-labelledby": "request-title" }, h("h2", { id: "request-title" }, "Request"), this.request));
  }

  draw(build, isOver) {
    const mark = JSON.stringify([build.request_params, build.commit, build.state_timestamps, build.warnings, build.artifacts, build.num_atoms, isOver]);
    if (mark === this.mark) return;
    this.mark = mark;
    this.warned.hidden = !build.warnings?.length;
    fill(this.warnings, (build.warnings ?? []).map((warning) => h("li", {}, name(warning))));
    fill(this.request, pairs(build));
    const link = (kind, text) => h("a", { class: "button", href: `/v2/builds/${build.id}/artifacts.${kind}`, download: `build-${build.id}.${kind}` }, text);
    fill(this.results, build.artifacts && build.num_atoms !== 0
      ? [h("p", { class: "actions" }, build.children?.length ? null : link("zip", "artifacts.zip"), link("tar.gz", "artifacts.tar.gz")),
        h("p", { class: "muted small" }, "Consoles, exit codes, durations and all files that atoms left. The tar has links and empty directories, too.")]
      : h("p", { class: "muted" }, build.num_atoms === 0 ? "No atom ran, so there is nothing to fetch." : isOver ? "This build left no archive." : "The archives of all that the atoms leave are here when the build is over."));
  }
}

function pairs(build) {
  const params = build.request_params ?? {};
  const found = [];
  const pair = (word, value) => found.push(h("dt", {}, word), h("dd", {}, value));
  for (const [key, value] of Object.entries(params)) {
    if (value === null || value === "") continue;
    pair(WORDS[key] ?? key, shown(key, value));
  }
  if (build.commit) {
    const link = params.working_tree ? null : commitAddress(params.url, build.commit);
    pair("Commit", link ? h("a", { href: link, class: "mono", rel: "noreferrer" }, build.commit) : h("span", { class: "mono" }, build.commit));
  }
  for (const [state, at] of Object.entries(build.state_timestamps ?? {})) {
    if (at) pair(state.charAt(0).toUpperCase() + state.slice(1), moment(at));
  }
  return found;
}

function shown(key, value) {
  if (key === "retry_of" && Number.isSafeInteger(value)) return h("a", { href: to.build(value) }, `build #${value}`);
  if (key === "working_tree" && value) return [name(workingTreeOf({ request_params: { working_tree: value } })), value.by ? [", by ", name(String(value.by))] : null];
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") {
    const address = key === "url" || key === "remote" ? webAddress(value) : null;
    return address ? h("a", { href: address, rel: "noreferrer" }, name(value)) : name(value);
  }
  const text = JSON.stringify(value, null, 2);
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text;
  return h("details", {}, h("summary", {}, Array.isArray(value) ? `${value.length} entries` : "Show"), h("pre", { class: "command", tabindex: "0" }, visible(cut)));
}
