// Templates: what builds left to be launched.

import { change, read, session } from "../api.js";
import { fill, h, name } from "../dom.js";
import { ago, bytes, count, moment } from "../format.js";
import { tab } from "../notify.js";
import { go, to } from "../router.js";
import { short } from "../text.js";

/** Shows the view. */
export async function show({ main, signal }) {
  tab("Templates");
  const { templates } = await read("/v2/templates", signal);
  const now = Date.now() / 1000;
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  const launch = async (event, template) => {
    const button = event.currentTarget;
    button.disabled = true;
    problem.hidden = true;
    try {
      const { instance } = await change("POST", "/v2/instances", { template });
      go(to.instance(instance.id));
    } catch (error) {
      fill(problem, error.message);
      problem.hidden = false;
      button.disabled = false;
    }
  };
  const entry = ({ name: title, repository, build_id: build, build_status: status, modified, template }) => h("li", { class: "card" },
    h("div", { class: "slave-head" }, h("h2", {}, name(short(title, 120))),
      session.mayBuild && template ? h("button", { type: "button", on: { click: (event) => launch(event, title) } }, "Launch") : null),
    h("dl", { class: "pairs" },
      pair("Repository", repository ? h("a", { href: repository, rel: "noreferrer" }, name(short(repository, 200))) : "a project of this farm"),
      pair("Newest build", build ? [h("a", { href: to.build(build) }, `#${build}`), status ? ` ${String(status).toLowerCase()}` : null] : "–"),
      template ? [pair("Recipe", template.recipe ?? "the repository as it is"), pair("Snapshot", `${bytes(template.bytes)}, ${short(template.form, 20)}${template.is_damaged ? ", damaged" : ""}`),
        template.commit ? pair("Commit", h("span", { class: "mono" }, short(template.commit, 12))) : null] : pair("Template", "no build has left one yet"),
      pair("Changed", h("span", { title: moment(modified) }, ago(modified, now)))));
  fill(main, h("div", { class: "head" }, h("h1", {}, "Templates"), h("span", { class: "muted" }, count(templates.length, "template"))), problem,
    templates.length ? h("ul", { class: "cards" }, templates.map(entry)) : h("div", { class: "empty" }, h("h2", {}, "No templates yet"),
      h("p", {}, "A repository with a Dockerfile, requirements.txt, environment.yml or Procfile becomes one:"), h("pre", { class: "command", tabindex: "0" }, `clusterrunner launch --master-url ${location.host} https://example.org/project.git`)));
}

function pair(word, value) {
  return [h("dt", {}, word), h("dd", {}, value)];
}
