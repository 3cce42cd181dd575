// What all views of instances share.

import { h, name } from "./dom.js";
import { short } from "./text.js";

const KEYS = { waiting: "waiting", starting: "running", up: "passed", crashed: "failed", stopped: "canceled", failed: "failed" };

/** An instance's state as a chip. */
export function instanceChip(instance) {
  const word = String(instance.status ?? "");
  return h("span", { class: `chip plain ${KEYS[word] ?? "waiting"}` }, word.charAt(0).toUpperCase() + short(word.slice(1), 40));
}

/** Whether an instance is over. */
export function isOver(instance) {
  return instance.status === "stopped" || instance.status === "failed";
}

/** What an instance is of. */
export function titleOf(instance) {
  return name(short(instance.template ?? `template ${instance.template_id ?? "?"}`, 120));
}

/** The link to the program of an instance that is up. It is another program's page, so it gets a tab of its own. */
export function programLink(instance) {
  const isUp = instance.status === "up" && /^\/user\/[0-9a-f]{32}$/.test(instance.path ?? "");
  return isUp ? h("a", { class: "button", href: `${instance.path}/`, target: "_blank", rel: "noreferrer noopener" }, "Open") : null;
}
