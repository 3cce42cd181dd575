// Elements made of text that nobody trusts: text is only ever text, and an address is one of this page or of the web.

import { visible, webAddress } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** Paths of the icons, in a square of 16. */
const ICONS = {
  waiting: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 1.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6z",
  preparing: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 1.6a5.4 5.4 0 1 1 0 10.8A5.4 5.4 0 0 1 8 2.6zM7.2 4.5h1.6v3.2l2.2 1.4-.8 1.3-3-1.9z",
  running: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM6.2 4.9l5 3.1-5 3.1z",
  passed: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm-1.2 10L3.9 8.1 5 7l1.8 1.8L11 4.6l1.1 1.1z",
  failed: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 5.9 2.3-2.3 1.1 1.1L9.1 8l2.3 2.3-1.1 1.1L8 9.1l-2.3 2.3-1.1-1.1L6.9 8 4.6 5.7l1.1-1.1z",
  error: "M8 .8.6 14.6h14.8zm-.8 5h1.6v4.4H7.2zm0 5.6h1.6V13H7.2z",
  canceled: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM4 7.2h8v1.6H4z",
};
// Round and back: it was run again.
ICONS.flaky = "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 2.6c1.2 0 2.3.5 3.1 1.3l1-1v3.3H8.8l1.2-1.2A2.8 2.8 0 0 0 5.3 7H3.7A4.4 4.4 0 0 1 8 3.6zM3.9 8.8h3.3L6 10a2.8 2.8 0 0 0 4.7-1h1.6a4.4 4.4 0 0 1-7.4 2.1l-1 1z";
ICONS.failing = ICONS.failed;
ICONS.atomless = ICONS.error;

/** An icon that says nothing to readers of a screen: the word stands beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name] ?? ICONS.waiting);
  path.setAttribute("fill-rule", "evenodd");
  svg.append(path);
  return svg;
}

/** An address that may stand in a link: a path of this page, a part of it, or one of the web; else null. */
function address(href) {
  const isOwn = /^(\/(?![/\\])|#|\?)/.test(href);
  return isOwn ? href : webAddress(href);
}

/**
 * An element. Of the attributes `class`, `on` (event -> handler) and `data` are special, and null, undefined and false
 * leave an attribute out. Children are elements, or texts that are shown with all that is hidden in them.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | number | null | undefined | false)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "data") for (const [key, text] of Object.entries(value)) element.dataset[key] = String(text);
    else if (name === "href") {
      const href = address(String(value));
      if (href !== null) element.setAttribute("href", href);
    } else if (/^(on|style|src)/i.test(name)) throw new Error(`no attribute for texts: ${name}`);
    else element.setAttribute(name, value === true ? "" : visible(value));
  }
  add(element, children);
  return element;
}

/** Adds children as `h` takes them. */
export function add(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
}

/** Puts children in place of those that an element has. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

/** A name that a stranger chose, whose direction does not reach beyond it. */
export function name(text, className) {
  return h("bdi", { class: className }, text);
}

/** A state's icon and word. */
export function chip(state, more) {
  return h("span", { class: `chip ${state.key}` }, icon(state.key), state.word, more ? ` ${more}` : null);
}

/** A moment that tells how long ago it was and, on hovering, when. */
export function time(seconds, text, title) {
  if (!seconds) return h("span", {}, text);
  return h("time", { datetime: new Date(seconds * 1000).toISOString(), title }, text);
}

/** Tells readers of a screen something, sparingly. */
export function announce(text) {
  document.getElementById("announcer").textContent = visible(text);
}
