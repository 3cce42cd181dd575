// How busy a slave was in the last hour, minute by minute.

import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
/** The height of the picture, in units of which a minute is 2 wide. */
const HEIGHT = 24, MINUTE = 2;

/** A share as people read it: `43 %`, never `0 %` of what did work, nor `100 %` of what did not always. */
export function percent(share) {
  if (share > 0 && share < 0.01) return "under 1 %";
  return `${share >= 1 ? 100 : Math.min(99, Math.round(100 * share))} %`;
}

/** The mean of the minutes that are known, or null. Pure. @param {(number | null)[]} shares */
export function mean(shares) {
  const known = shares.filter((share) => share !== null);
  return known.length ? known.reduce((sum, share) => sum + share, 0) / known.length : null;
}

/** What the picture shows, in words. Pure. @param {(number | null)[]} shares the oldest minute first */
export function words(shares) {
  const known = shares.filter((share) => share !== null).length;
  if (!known) return "Load: not known yet";
  const since = known === shares.length ? "the last hour" : known === 1 ? "the last minute" : `the last ${known} minutes`;
  return `Load of ${since}: ${percent(mean(shares))}`;
}

/** The picture: a bar for each minute, the newest at the right, as high as the share of executors that worked. */
export function chart(shares) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${MINUTE * shares.length} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  shares.forEach((share, minute) => {
    if (share === null) return;
    const bar = document.createElementNS(SVG, "rect");
    // A minute in which nothing ran is a line on the ground, one of which nothing is known is empty.
    const height = Math.max(1, share * HEIGHT);
    const place = { x: MINUTE * minute, y: HEIGHT - height, width: MINUTE - 0.4, height };
    for (const [name, value] of Object.entries(place)) bar.setAttribute(name, String(value));
    svg.append(bar);
  });
  return h("div", { class: "load-chart" }, svg);
}
