import { h } from "./dom.js";

/**
 * A table with a caption for screen readers. Columns: `{ title, cell(row), class? }`; a cell is a text or
 * elements. Without rows, `empty` (`{ title, text }`) says so and what to do.
 */
export function table({ caption, columns, rows, empty }) {
  if (rows.length === 0) {
    return h("p", { class: "empty" }, h("strong", {}, empty.title), empty.text);
  }
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      {},
      h("caption", { class: "visually-hidden" }, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(({ title, class: kind }) => h("th", { scope: "col", class: kind }, title)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            { "data-id": row.id },
            columns.map(({ cell, class: kind }) => h("td", { class: kind }, cell(row))),
          ),
        ),
      ),
    ),
  );
}

/** A titled part of the page; `body` is filled later. */
export function panel(title, { id, tools = [], count } = {}) {
  const body = h("div", { class: "fill" });
  const counter = h("span", { class: "count" }, count ?? "");
  const element = h(
    "section",
    { class: "panel", id, "aria-labelledby": `${id}-title` },
    h(
      "header",
      {},
      h("h2", { id: `${id}-title` }, title),
      counter,
      h("span", { class: "spring" }),
      ...tools,
    ),
    body,
  );
  return { element, body, counter };
}
