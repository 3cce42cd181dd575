// The title and the icon of the tab, and a message of the browser when a build ends.

import { visible } from "./text.js";

const COLOURS = {
  waiting: "#6b7280", preparing: "#6b7280", running: "#1d63d8", failing: "#d1242f", passed: "#1a7f4b",
  failed: "#d1242f", error: "#d1242f", canceled: "#9a6700", atomless: "#9a6700", none: "#35507a",
};
let shown = null;
let asked = new Set();

/** Sets the title, and an icon of a state's colour: full where it is over, a ring while it goes on. */
export function tab(title, state = "none") {
  document.title = `${visible(title)} · ClusterRunner`;
  if (shown === state) return;
  shown = state;
  const isRing = ["waiting", "preparing", "running", "failing"].includes(state);
  const paint = isRing ? `fill="none" stroke="${COLOURS[state]}" stroke-width="7"` : `fill="${COLOURS[state]}"`;
  const bars = state === "none" ? '<path fill="#35507a" d="M3 6h14v6H3zM9 14h17v6H9zM5 22h12v6H5z"/>' : `<circle cx="16" cy="16" r="${isRing ? 10 : 13}" ${paint}/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${bars}</svg>`;
  document.querySelector("link[rel=icon]").setAttribute("href", `data:image/svg+xml,${encodeURIComponent(svg)}`);
}

/** Whether the browser can tell of a build's end. */
export function canNotify() {
  return "Notification" in window && window.isSecureContext && Notification.permission !== "denied";
}

/** Whether somebody wants to be told of a build's end. */
export function isWanted(build) {
  return asked.has(build);
}

/** Asks the browser for leave to tell of a build's end; whether it may. */
export async function want(build) {
  const isAllowed = Notification.permission === "granted" || (await Notification.requestPermission()) === "granted";
  if (isAllowed) asked.add(build);
  return isAllowed;
}

/** Tells that a build is over, if somebody wanted to be told. */
export function ended(build, text) {
  if (!asked.delete(build)) return;
  const message = new Notification(`Build ${build} ${visible(text)}`, { tag: `build-${build}` });
  message.addEventListener("click", () => window.focus());
}
