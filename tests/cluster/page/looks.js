// Gives a list of what is wrong with the document, for readers with a screen reader, a keyboard, weak eyes or a small screen.
const wrong = [];
const what = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""}.${[...element.classList].join(".")} "${element.textContent.trim().slice(0, 40)}"`;
const isSeen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && !element.closest(".visually-hidden, .skip");

// Names and structure.
if (document.documentElement.lang !== "en") wrong.push("the document has no language");
for (const [selector, number] of [["main", 1], ["main h1", 1], ["header", 1]]) {
  const found = document.querySelectorAll(selector).length;
  if (found !== number) wrong.push(`${found} times ${selector}`);
}
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`the id ${id} is there twice`);
for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
  for (const element of document.querySelectorAll(`[${attribute}]`)) {
    for (const id of element.getAttribute(attribute).split(" ")) if (!ids.includes(id)) wrong.push(`${what(element)} names ${id}, which is not there`);
  }
}
for (const element of document.querySelectorAll("a[href], button, input, select, textarea, [role=region], [role=img], nav, canvas")) {
  if (!isSeen(element)) continue;
  const label = element.labels?.[0]?.textContent ?? "";
  const named = (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("");
  const own = /^(A|BUTTON)$/.test(element.tagName) ? element.textContent : "";
  if (!(element.getAttribute("aria-label") ?? "") && !label.trim() && !named.trim() && !own.trim()) wrong.push(`${what(element)} has no name`);
}
let level = 1;
for (const heading of document.querySelectorAll("main h1, main h2, main h3")) {
  if (!isSeen(heading)) continue;
  const next = Number(heading.tagName[1]);
  if (next > level + 1) wrong.push(`${what(heading)} skips a level`);
  level = next;
}
// Whatever scrolls can be reached by keyboard.
for (const element of document.querySelectorAll("main *")) {
  const style = getComputedStyle(element);
  const scrolls = (/auto|scroll/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1) || (/auto|scroll/.test(style.overflowY) && element.scrollHeight > element.clientHeight + 1);
  const isReached = element.tabIndex >= 0 || element.querySelector("a[href], button, input, [tabindex='0']");
  if (scrolls && isSeen(element) && !isReached) wrong.push(`${what(element)} scrolls, but not by keyboard`);
}

// Nothing is wider than the screen.
if (document.documentElement.scrollWidth > innerWidth) {
  wrong.push(`the page is ${document.documentElement.scrollWidth} pixels wide on a screen of ${innerWidth}`);
}

// Contrast of all text that is seen.
const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const known = new Map();
const colour = (text) => {
  if (!known.has(text)) {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = text;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    known.set(text, [red, green, blue, alpha / 255]);
  }
  return known.get(text);
};
const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
const ground = (element) => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const layer = colour(getComputedStyle(at).backgroundColor);
    if (layer[3] > 0) layers.push(layer);
    if (layer[3] === 1) break;
  }
  return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
};
const light = (rgb) => {
  const [r, g, b] = rgb.map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let seen = 0;
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !isSeen(element) || element.closest(":disabled, noscript, script")) continue;
  const style = getComputedStyle(element);
  const below = ground(element);
  const [one, other] = [light(over(colour(style.color), below)), light(below)];
  const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (contrast < (isLarge ? 3 : 4.5)) wrong.push(`${what(element)} has a contrast of ${contrast.toFixed(2)}`);
  seen += 1;
}
if (seen < 5) wrong.push("there is no text");
return wrong;
