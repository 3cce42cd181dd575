// A table of any number of rows, of which only those in sight are elements.

import { fill, h } from "./dom.js";

const ROW = 31;
/** Rows beyond the edges that are there, too, so that scrolling shows no gaps. */
const SPARE = 12;

export class WindowTable {
  #count = 0;
  #cells = () => [];
  #first = -1;
  #body = h("tbody");

  /**
   * @param {object} of
   * @param {string} of.caption what the table has, for readers of a screen
   * @param {{key: string, title: string, isNumber?: boolean, className?: string}[]} of.columns
   * @param {(key: string) => void} of.sort what to do when a head is pressed
   * @param {string} of.empty what to say instead of no rows
   */
  constructor({ caption, columns, sort, empty }) {
    this.columns = columns;
    this.heads = columns.map(({ key, title, isNumber }) => {
      const button = h("button", { type: "button", class: "sort", on: { click: () => sort(key) } }, title);
      return h("th", { scope: "col", class: isNumber ? "number-cell" : null, data: { key } }, button);
    });
    this.table = h("table", { class: "windowed" }, h("caption", { class: "visually-hidden" }, caption), h("thead", {}, h("tr", {}, this.heads)), this.#body);
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    this.scroller = h("div", { class: "scroll window", tabindex: "0", role: "region", "aria-label": caption, on: { scroll: () => this.#draw(false) } }, this.table, this.empty);
    new ResizeObserver(() => this.#draw(false)).observe(this.scroller);
  }

  /** Says by which column the rows are sorted. */
  sorted(key, isDown) {
    for (const head of this.heads) {
      if (head.dataset.key === key) head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  /** Shows so many rows; `cells` gives the children of each cell of a row, and the row's class. */
  show(count, cells) {
    this.#count = count;
    this.#cells = cells;
    this.table.setAttribute("aria-rowcount", String(count + 1));
    this.empty.hidden = count > 0;
    this.#draw(true);
  }

  #draw(isAnew) {
    const { scrollTop, clientHeight } = this.scroller;
    const inSight = Math.ceil(clientHeight / ROW);
    const first = Math.max(0, Math.min(Math.floor(scrollTop / ROW) - SPARE, this.#count - inSight - SPARE));
    // A step of several rows is enough, as there are spare ones.
    if (!isAnew && Math.abs(first - this.#first) < SPARE / 2) return;
    this.#first = first;
    const last = Math.min(this.#count, first + inSight + 2 * SPARE);
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const rows = [this.#gap(first)];
    for (let row = first; row < last; row += 1) rows.push(this.#row(row));
    rows.push(this.#gap(this.#count - last));
    fill(this.#body, rows);
    if (focused) this.#body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  #row(row) {
    const { className, cells } = this.#cells(row);
    const made = cells.map((children, at) => {
      const { isNumber, className: kind } = this.columns[at];
      return h("td", { class: [isNumber ? "number-cell" : "", kind ?? ""].join(" ").trim() || null }, children);
    });
    return h("tr", { class: className, "aria-rowindex": row + 2 }, made);
  }

  #gap(rows) {
    if (!rows) return null;
    const gap = h("tr", { class: "gap", "aria-hidden": "true" }, h("td", { colspan: this.columns.length }));
    gap.firstChild.style.height = `${rows * ROW}px`;
    return gap;
  }
}
