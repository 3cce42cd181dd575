// A table of any number of rows, of which only those in sight are elements.

import { fill, h } from "./dom.js";

const ROW = 31;
/** The least width of the column that takes what is left. */
const LEAST = 170;
/** Rows beyond the edges that are there, too, so that scrolling shows no gaps. */
const SPARE = 12;

export class WindowTable {
  #count = 0;
  #cells = () => [];
  #first = -1;
  #rows = [];
  /** What stands for the rows above and below. */
  #above;
  #below;
  #body = h("tbody");

  /**
   * @param {object} of
   * @param {string} of.caption what the table has, for readers of a screen
   * @param {{key: string, title: string, width: number | null, isNumber?: boolean, className?: string}[]} of.columns widths
   *   in pixels; the column without one takes what is left
   * @param {(key: string) => void} of.sort what to do when a head is pressed
   * @param {string} of.empty what to say instead of no rows
   */
  constructor({ caption, columns, sort, empty }) {
    this.columns = columns;
    [this.#above, this.#below] = [this.#gap(), this.#gap()];
    fill(this.#body, this.#above, this.#below);
    this.heads = columns.map(({ key, title, isNumber }) => {
      const button = h("button", { type: "button", class: "sort", on: { click: () => sort(key) } }, title);
      return h("th", { scope: "col", class: isNumber ? "number-cell" : null, data: { key } }, button);
    });
    const widths = columns.map(({ width }) => {
      const column = h("col");
      if (width) column.style.width = `${width}px`;
      return column;
    });
    this.table = h("table", { class: "windowed" }, h("caption", { class: "visually-hidden" }, caption), h("colgroup", {}, widths), h("thead", {}, h("tr", {}, this.heads)), this.#body);
    // Widths that do not depend on the rows in sight neither jump nor are computed anew for each of them.
    this.table.style.minWidth = `${columns.reduce((sum, { width }) => sum + (width ?? LEAST), 0)}px`;
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

  /** Shows so many rows; `cells` gives each cell of a row: a text, or a text that says what it has and what makes it. */
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
    const last = Math.min(this.#count, first + inSight + 2 * SPARE);
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    this.#shift(first - this.#first);
    this.#first = first;
    while (this.#rows.length > last - first) this.#rows.pop().element.remove();
    while (this.#rows.length < last - first) this.#rows.push(this.#row());
    this.#rows.forEach((row, at) => this.#update(row, first + at));
    size(this.#above, first);
    size(this.#below, this.#count - last);
    if (focused && !this.#body.contains(document.activeElement)) this.#body.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  /** Takes rows from one end to the other, so that those that stay in sight keep their elements. */
  #shift(by) {
    const rows = this.#rows;
    if (!by || Math.abs(by) >= rows.length) return;
    if (by > 0) {
      const moved = rows.splice(0, by);
      rows.push(...moved);
      this.#below.before(...moved.map(({ element }) => element));
    } else {
      const moved = rows.splice(by);
      rows.unshift(...moved);
      this.#above.after(...moved.map(({ element }) => element));
    }
  }

  #row() {
    const cells = this.columns.map(({ isNumber, className }) => h("td", { class: [isNumber ? "number-cell" : "", className ?? ""].join(" ").trim() || null }));
    const element = h("tr", {}, cells);
    this.#below.before(element);
    return { element, cells, marks: [] };
  }

  /** Makes what has changed of a row anew, and nothing else: a click needs its element to stay. */
  #update(made, row) {
    made.element.setAttribute("aria-rowindex", String(row + 2));
    this.#cells(row).forEach((cell, at) => {
      const [mark, make] = typeof cell === "string" ? [cell, () => cell] : cell;
      if (made.marks[at] === mark) return;
      made.marks[at] = mark;
      fill(made.cells[at], make());
    });
  }

  #gap() {
    return h("tr", { class: "gap", "aria-hidden": "true", hidden: true }, h("td", { colspan: this.columns.length }));
  }
}

/** Lets a gap stand for so many rows. */
function size(gap, rows) {
  gap.hidden = !rows;
  gap.firstChild.style.height = `${rows * ROW}px`;
}
