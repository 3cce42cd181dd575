// Instances: programs that slaves keep running.

import { read } from "../api.js";
import { fill, h } from "../dom.js";
import { ago, count, moment } from "../format.js";
import { instanceChip, isOver, programLink, titleOf } from "../instances.js";
import { follow } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** Shows the view. */
export async function show({ main, signal }) {
  tab("Instances");
  let instances = new Map();
  const number = h("span", { class: "muted" });
  const living = h("div");
  const words = h("summary");
  const past = h("div");
  const over = h("details", { on: { toggle: () => draw() } }, words, past);
  const draw = () => {
    const all = [...instances.values()].sort((one, other) => other.id - one.id);
    const ended = all.filter(isOver);
    const alive = all.filter((instance) => !isOver(instance));
    if (!over.isConnected) fill(main, h("div", { class: "head" }, h("h1", {}, "Instances"), number), living, over);
    fill(number, all.length ? `${alive.length} of ${count(all.length, "instance")} ${alive.length === 1 ? "is" : "are"} not over` : null);
    over.hidden = !ended.length;
    fill(words, `${count(ended.length, "instance")} that ${ended.length === 1 ? "is" : "are"} over`);
    fill(past, over.open ? table(ended, "Instances that are over") : null);
    fill(living, alive.length ? table(alive, "Instances") : h("div", { class: "empty" }, h("h2", {}, all.length ? "No instance runs" : "No instances"), h("p", {}, "Launch a ", h("a", { href: to.templates() }, "template"), ", or a repository:"),
        h("pre", { class: "command", tabindex: "0" }, `clusterrunner launch --master-url ${location.host} https://example.org/project.git`)));
  };
  await follow({
    events: "/v2/events",
    load: async () => {
      const found = await read("/v2/instances", signal);
      instances = new Map(found.instances.map((instance) => [instance.id, instance]));
      draw();
    },
    on: {
      instance: ({ instance }) => {
        instances.set(instance.id, instance);
        draw();
      },
    },
    signal,
  });
}

function table(all, label) {
  const now = Date.now() / 1000;
  const row = (instance) => h("tr", {},
    h("td", {}, h("a", { href: to.instance(instance.id) }, `#${instance.id} `, titleOf(instance))),
    h("td", {}, instanceChip(instance), instance.reason ? h("div", { class: "small muted" }, short(instance.reason, 200)) : null),
    h("td", {}, instance.slave_id ? `slave ${instance.slave_id}` : ""),
    h("td", { class: "number-cell" }, instance.restarts || ""),
    h("td", { class: "nowrap", title: moment(instance.created) }, ago(instance.created, now)),
    h("td", {}, programLink(instance)));
  const heads = ["Instance", "State", "Slave", "Restarts", "Launched", ""];
  return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => (head ? h("th", { scope: "col" }, head) : h("td"))))), h("tbody", {}, all.map(row))));
}
