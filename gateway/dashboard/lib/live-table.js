import { h, show } from "./dom.js";

/**
 * A table that is written again and again. Rows are kept by `id` and cells by what they show: what has the focus, is
 * selected or is scrolled to stays. Columns: `{ title, face(row), cell(row), blank?(row), class? }`; a cell is made anew
 * when its face, a plain value, has changed. Narrow screens leave blank ones out.
 */
export class LiveTable {
  #columns;
  #rows = new Map();
  #body = h("tbody", {});
  #table;
  #empty;

  constructor({ caption, columns, empty }) {
    this.#columns = columns;
    const titles = columns.map(({ title, class: kind }) =>
      h("th", { scope: "col", class: kind }, title),
    );
    this.#table = h(
      "div",
      { class: "scroll tall", role: "region", "aria-label": caption, tabindex: "0" },
      h(
        "table",
        {},
        h("caption", { class: "visually-hidden" }, caption),
        h("thead", {}, h("tr", {}, titles)),
        this.#body,
      ),
    );
    this.#empty = h("p", { class: "empty" }, h("strong", {}, empty.title), empty.text);
    this.element = h("div", {}, this.#table, this.#empty);
    this.update([]);
  }

  update(rows) {
    this.#table.hidden = rows.length === 0;
    this.#empty.hidden = rows.length > 0;
    const present = new Set(rows.map(({ id }) => id));
    for (const [id, line] of this.#rows) {
      if (present.has(id)) continue;
      line.remove();
      this.#rows.delete(id);
    }
    let next = this.#body.firstElementChild;
    for (const row of rows) {
      const line = this.#rows.get(row.id) ?? this.#make(row.id);
      for (const [at, { blank, cell, face }] of this.#columns.entries()) {
        show(line.children[at], face(row), () => cell(row));
        line.children[at].dataset.blank = String(blank?.(row) ?? false);
      }
      // Only what stands elsewhere is moved: moving takes the focus away.
      if (line === next) next = next.nextElementSibling;
      else this.#body.insertBefore(line, next);
    }
  }

  #make(id) {
    const cells = this.#columns.map(({ class: kind, title }) =>
      h("td", { class: kind, "data-title": title }),
    );
    const line = h("tr", { "data-id": id }, cells);
    this.#rows.set(id, line);
    return line;
  }
}
