// What all views of apps share. Pure but for the elements.

import { h, name } from "./dom.js";
import { isOver } from "./instances.js";
import { short, webAddress } from "./text.js";

const WORDS = { empty: "Not deployed", canceled: "Scaled to zero", failed: "Failing", waiting: "Waiting", running: "Starting", passed: "Up" };
const ORDER = ["failed", "crashed", "waiting", "starting"];
const KEYS = { failed: "failed", crashed: "failed", waiting: "waiting", starting: "running" };

/** How an app stands as a whole: a key for colours and icons, and a word. */
export function stateOf(app) {
  const key = keyOf(app);
  return { key, word: WORDS[key] };
}

function keyOf(app) {
  if (!app.is_deployed) return "empty";
  const wanted = sizeOf(app.structure);
  if (!wanted) return "canceled";
  const present = app.processes.filter((process) => process.release === app.release.version);
  const worst = ORDER.find((status) => present.some((process) => process.status === status));
  if (worst) return KEYS[worst];
  const up = new Set(present.filter((process) => process.status === "up").map((process) => process.name));
  return up.size >= wanted ? "passed" : "running";
}

/** Why an app is not up: what its first process says that has a reason; empty where none has. */
export function reasonOf(app) {
  const present = app.processes.filter((process) => process.release === app.release.version && process.status !== "up");
  return present.find((process) => process.reason)?.reason ?? "";
}

/** How many processes are wanted. */
export function sizeOf(structure) {
  return Object.values(structure).reduce((all, number) => all + number, 0);
}

/** Of each process type that is wanted: its name, how many are up, of whatever release, and how many are wanted. */
export function typesOf(app) {
  const up = new Set(app.processes.filter((process) => process.status === "up").map((process) => process.name));
  const isOf = (type, process) => process.slice(0, process.lastIndexOf(".")) === type;
  const types = Object.entries(app.structure).filter(([, wanted]) => wanted > 0);
  return types.map(([type, wanted]) => ({ type, wanted, up: [...up].filter((process) => isOf(type, process)).length }));
}

/** Whether one of an app's processes that will not change any more is an old one: the newest release has another. */
export function isReplaced(app, process) {
  return process.release < app.release.version && isOver(process);
}

/** The addresses by which an app is reached, at the port of this page. */
export function addressesOf(app, place) {
  const port = place.port ? `:${place.port}` : "";
  const hosts = [app.host, ...app.domains].filter(Boolean);
  return hosts.map((host) => ({ host, href: webAddress(`${place.protocol}//${host}${port}/`) }));
}

/** The link to an address of an app, which says all of it. It is another program's page, so it gets a tab of its own. */
export function hostLink({ host, href }) {
  return h("a", { href, target: "_blank", rel: "noreferrer noopener" }, name(short(href?.replace(/\/$/, "") ?? host, 300)));
}
