// The users that the reader may see.

import { read } from "../api.js";
import { fill, h, name } from "../dom.js";
import { ago, count, moment } from "../format.js";
import { tab } from "../notify.js";
import { short } from "../text.js";

/** Shows the view. */
export async function show({ main, signal }) {
  tab("Users");
  const { users } = await read("/v2/users", signal);
  const now = Date.now() / 1000;
  const heads = ["User", "Name", "E-mail", "Role", "Joined", "Last sign-in"];
  const row = (user) => h("tr", {},
    h("th", { scope: "row", class: "strong" }, name(short(user.name, 80))),
    h("td", {}, name(short(`${user.first_name ?? ""} ${user.last_name ?? ""}`, 80))),
    h("td", {}, name(short(user.email, 80))),
    h("td", {}, [user.is_superuser ? "superuser" : "user", user.is_active ? "" : ", deactivated"].join("")),
    h("td", { title: moment(user.joined) }, ago(user.joined, now)),
    h("td", { title: moment(user.last_login) }, ago(user.last_login, now)));
  fill(main, h("div", { class: "head" }, h("h1", {}, "Users"), h("span", { class: "muted" }, count(users.length, "user"))),
    users.length
      ? h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Users" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, users.map(row))))
      : h("div", { class: "empty" }, h("h2", {}, "No users yet"), h("pre", { class: "command", tabindex: "0" }, "clusterrunner user create NAME")));
}
