// Which view an address shows. Pure but for `go`.

const ID = "(\\d{1,15})";
const APP = "([a-z0-9-]{1,64})";
/** Paths below `/ui`, and the names of their parts. */
const ROUTES = [
  ["/?", "builds", []],
  ["/builds", "builds", []],
  [`/builds/${ID}`, "build", ["build"]],
  [`/builds/${ID}/subjobs/${ID}/atoms/${ID}`, "atom", ["build", "subjob", "atom"]],
  [`/builds/${ID}/tests`, "tests", ["build"]],
  [`/builds/${ID}/steps/${ID}`, "step", ["build", "step"]],
  ["/projects", "projects", []],
  [`/projects/${ID}`, "project", ["project"]],
  ["/history", "history", []],
  ["/submit", "submit", []],
  ["/slaves", "slaves", []],
  ["/templates", "templates", []],
  ["/instances", "instances", []],
  [`/instances/${ID}`, "instance", ["instance"]],
  ["/apps", "apps", []],
  [`/apps/${APP}`, "app", ["app"]],
  ["/users", "users", []],
  ["/sign-in", "sign_in", []],
].map(([path, view, names]) => [new RegExp(`^/ui${path}/?$`), view, names]);

/**
 * The view of a path, its numbers and the id of its app; the view `missing` where there is none.
 * @param {string} path
 * @returns {{view: string, params: Record<string, number | string>}}
 */
export function route(path) {
  for (const [pattern, view, names] of ROUTES) {
    const found = pattern.exec(path === "/" || path === "/ui" ? "/ui/" : path);
    if (found) return { view, params: Object.fromEntries(names.map((name, at) => [name, name === "app" ? found[at + 1] : Number(found[at + 1])])) };
  }
  return { view: "missing", params: {} };
}

/** Addresses of views. */
export const to = {
  builds: () => "/ui/",
  build: (build) => `/ui/builds/${build}`,
  atom: (build, subjob, atom, attempt) => `/ui/builds/${build}/subjobs/${subjob}/atoms/${atom}${attempt ? `?attempt=${attempt}` : ""}`,
  tests: (build, outcome) => `/ui/builds/${build}/tests${outcome ? `?outcome=${outcome}` : ""}`,
  step: (build, step) => `/ui/builds/${build}/steps/${step}`,
  projects: () => "/ui/projects",
  project: (id) => `/ui/projects/${id}`,
  history: (called) => `/ui/history${called ? `?${new URLSearchParams({ name: called })}` : ""}`,
  submit: () => "/ui/submit",
  slaves: () => "/ui/slaves",
  templates: () => "/ui/templates",
  instances: () => "/ui/instances",
  instance: (id) => `/ui/instances/${id}`,
  apps: () => "/ui/apps",
  app: (id) => `/ui/apps/${id}`,
  users: () => "/ui/users",
  signIn: () => "/ui/sign-in",
};

/** Shows another view of the page. */
export function go(path) {
  history.pushState(null, "", path);
  window.dispatchEvent(new PopStateEvent("popstate"));
}
