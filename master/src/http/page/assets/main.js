// Begins the page: its head, and the view of each address.

import { ApiError, learnSession, session, signOut } from "./api.js";
import { fill, h } from "./dom.js";
import { connection } from "./live.js";
import { tab } from "./notify.js";
import { go, route, to } from "./router.js";

const SECTIONS = [
  ["Builds", to.builds(), ["builds", "build", "atom", "tests", "step"]],
  ["Projects", to.projects(), ["projects", "project"]],
  ["Flaky", to.history(), ["history"]],
  ["Slaves", to.slaves(), ["slaves"]],
  ["Templates", to.templates(), ["templates"]],
  ["Instances", to.instances(), ["instances", "instance"]],
  ["Apps", to.apps(), ["apps", "app"]],
  ["Users", to.users(), ["users"]],
];
const VIEWS = {
  builds: () => import("./views/builds.js"),
  build: () => import("./views/build.js"),
  atom: () => import("./views/console.js"),
  tests: () => import("./views/tests.js"),
  step: () => import("./views/console.js"),
  history: () => import("./views/history.js"),
  submit: () => import("./views/submit.js"),
  projects: () => import("./views/projects.js"),
  project: () => import("./views/project.js"),
  slaves: () => import("./views/slaves.js"),
  templates: () => import("./views/templates.js"),
  instances: () => import("./views/instances.js"),
  instance: () => import("./views/instance.js"),
  apps: () => import("./views/apps.js"),
  app: () => import("./views/app.js"),
  users: () => import("./views/users.js"),
  sign_in: () => import("./views/sign_in.js"),
};
const WORDS = { live: "Live", asking: "Live", lost: "The master does not answer. Trying again …", idle: "" };

const main = document.getElementById("main");
/** Ends what the present view does. */
let present = new AbortController();
let shownPath = null;

async function show(isFirst) {
  // A link that signs in may lead to any address.
  const { view, params } = location.hash.startsWith("#link=") ? { view: "sign_in", params: {} } : route(location.pathname);
  const path = `${view} ${location.pathname}${location.search}`;
  if (shownPath === path) return;
  shownPath = path;
  present.abort();
  present = new AbortController();
  const { signal } = present;
  showSections(view);
  main.className = `view-${view}`;
  window.scrollTo(0, 0);
  try {
    if (!VIEWS[view]) return missing();
    tab("ClusterRunner");
    const module = await VIEWS[view]();
    if (signal.aborted) return;
    fill(main);
    // A view lasts until another one takes its place.
    const shown = module.show({ main, params, signal, query: new URLSearchParams(location.search) });
    if (!isFirst) main.focus({ preventScroll: true });
    await shown;
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}

/** Shows why a view cannot be shown. */
export function failed(error) {
  if (error instanceof ApiError && error.status === 401) {
    const back = encodeURIComponent(location.pathname);
    fill(main, h("div", { class: "empty" }, h("h1", {}, "Sign in to see this"), h("p", {}, "It is shown to those who have an account on this farm."),
      h("p", {}, h("a", { class: "button", href: `${to.signIn()}?to=${back}` }, "Sign in"))));
    return;
  }
  if (error instanceof ApiError && error.status === 404) return missing(error.message);
  const words = error instanceof ApiError ? error.message : "The page has a fault. The browser's console says more.";
  fill(main, h("div", { class: "empty" }, h("h1", {}, "This cannot be shown"), h("p", {}, words),
    h("p", {}, h("button", { type: "button", on: { click: again } }, "Try again"))));
  if (!(error instanceof ApiError)) console.error(error);
}

function again() {
  shownPath = null;
  show(true);
}

function missing(words = "There is no such page") {
  tab("No such page");
  fill(main, h("div", { class: "empty" }, h("h1", {}, words),
    h("p", {}, h("a", { href: to.builds() }, "All builds"))));
}

function showSections(view) {
  const links = SECTIONS.map(([word, href, views]) =>
    h("a", { href, "aria-current": views.includes(view) ? "page" : null }, word));
  fill(document.getElementById("sections"), links);
  showCurrentSection();
}

/** On a small screen there is no room for all sections. */
function showCurrentSection() {
  document.querySelector("#sections [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function showConnection() {
  const place = document.getElementById("connection");
  place.dataset.state = connection.state;
  fill(place, WORDS[connection.state]);
}

function showAccount() {
  const place = document.getElementById("account");
  if (!session.user) return fill(place, h("a", { href: to.signIn() }, "Sign in"));
  const leave = h("button", { type: "button", class: "quiet", on: { click: () => signOut().then(again) } }, "Sign out");
  fill(place, h("bdi", { class: "user" }, session.user), leave);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  const isPlain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
  const url = new URL(link.href);
  const isView = url.origin === location.origin && /^\/(ui(\/(?!assets\/).*)?)?$/.test(url.pathname);
  if (!isView || (url.pathname === location.pathname && url.search === location.search && url.hash)) return;
  event.preventDefault();
  go(url.pathname + url.search + url.hash);
});
window.addEventListener("popstate", () => show(false));
window.addEventListener("reload-page", again);
window.addEventListener("resize", showCurrentSection);
window.addEventListener("connection", showConnection);
window.addEventListener("session", showAccount);

showSections(route(location.pathname).view);
learnSession().catch(() => showAccount()).finally(() => show(true));
