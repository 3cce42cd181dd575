// Signing in: user and password, a token, or a link that the command makes.

import { signIn } from "../api.js";
import { fill, h } from "../dom.js";
import { tab } from "../notify.js";
import { go, to } from "../router.js";

/** Shows the view. */
export async function show({ main, query }) {
  tab("Sign in");
  const found = /^#link=(.+)$/.exec(location.hash);
  // A link is good once, and nobody who looks at the screen or the history shall find it.
  if (found) history.replaceState(null, "", location.pathname + location.search);
  const problem = h("p", { class: "wrong", role: "alert", hidden: true });
  const enter = async (proof) => {
    problem.hidden = true;
    try {
      await signIn(proof);
      const here = location.pathname === to.signIn() ? null : location.pathname;
      const back = query.get("to") ?? here;
      // Only places of this page: `//elsewhere` is none.
      go(back && /^\/ui(\/|$)/.test(back) ? back : to.builds());
    } catch (error) {
      fill(problem, words(error));
      problem.hidden = false;
    }
  };
  const field = (id, label, more, hint) => h("div", { class: "field" }, h("label", { for: id }, label), h("input", { id, name: id, ...more }), hint ? h("p", { class: "hint" }, hint) : null);
  const submit = (read) => async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    button.disabled = true;
    await enter(read(new FormData(event.target)));
    button.disabled = false;
  };
  const byPassword = h("form", { class: "card", on: { submit: submit((form) => ({ username: form.get("username"), password: form.get("password") })) } },
    h("h2", {}, "With a user and a password"),
    field("username", "User", { required: true, autocomplete: "username", autocapitalize: "none", spellcheck: "false" }),
    field("password", "Password", { type: "password", required: true, autocomplete: "current-password" }),
    h("button", { type: "submit", class: "primary" }, "Sign in"));
  const byToken = h("form", { class: "card", on: { submit: submit((form) => ({ token: form.get("token") })) } },
    h("h2", {}, "With a token"),
    field("token", "Token", { type: "password", required: true, autocomplete: "off" }, ["What ", h("code", {}, "clusterrunner token create"), " has printed, or a user's API token."]),
    h("button", { type: "submit" }, "Sign in"));
  fill(main, h("div", { class: "narrow" }, h("h1", {}, "Sign in"),
    h("p", { class: "muted" }, "Reading needs no account unless the farm wants one. With one you can submit, cancel and repeat builds."), problem, byPassword, byToken));
  if (found) await enter({ link: decodeURIComponent(found[1]) });
  else main.querySelector("#username").focus();
}

function words(error) {
  if (error.status === 404 || error.status === 405) return "This master lets nobody sign in to the page.";
  return error.message;
}
