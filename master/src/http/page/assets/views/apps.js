// Apps: what is deployed on the farm, and how it stands.

import { read } from "../api.js";
import { addressesOf, hostLink, reasonOf, stateOf, typesOf } from "../apps.js";
import { chip, fill, h, name } from "../dom.js";
import { ago, count, moment } from "../format.js";
import { follow, soon } from "../live.js";
import { tab } from "../notify.js";
import { to } from "../router.js";
import { short } from "../text.js";

/** Shows the view. */
export async function show({ main, signal }) {
  tab("Apps");
  let shown = null;
  const load = async () => {
    const { apps } = await read("/v2/apps", signal);
    const mark = JSON.stringify(apps);
    if (mark === shown) return;
    shown = mark;
    fill(main, h("div", { class: "head" }, h("h1", {}, "Apps"), h("span", { class: "muted" }, count(apps.length, "app"))),
      apps.length ? table(apps) : h("div", { class: "empty" }, h("h2", {}, "No apps"), h("p", {}, "An app is a program that the farm keeps running, release after release:"),
        h("pre", { class: "command", tabindex: "0" }, "clusterrunner app create NAME")));
  };
  const changed = soon(load, signal);
  await follow({ events: "/v2/events", load, on: { app: changed, app_deleted: changed, instance: changed }, signal });
}

function table(apps) {
  const now = Date.now() / 1000;
  const row = (app) => h("tr", {},
    h("th", { scope: "row", class: "strong long" }, h("a", { href: to.app(app.id) }, name(short(app.id, 64)))),
    h("td", {}, chip(stateOf(app)), h("div", { class: "small muted" }, name(short(reasonOf(app), 200)))),
    h("td", {}, typesOf(app).map(({ type, up, wanted }) => h("div", { class: "nowrap" }, name(short(type, 60)), ` ${up} of ${wanted}`))),
    h("td", { class: "long" }, `v${app.release.version}`, h("div", { class: "small muted" }, name(short(app.release.summary, 120)))),
    h("td", { title: moment(app.release.created) }, ago(app.release.created, now)),
    h("td", {}, name(short(app.owner, 80))),
    h("td", { class: "long" }, addressesOf(app, location).map((address) => h("div", {}, hostLink(address)))));
  const heads = ["App", "State", "Processes up", "Release", "Released", "Owner", "Addresses"];
  return h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Apps" },
    h("table", { class: "roomy" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, apps.map(row))));
}
