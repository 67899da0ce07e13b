/** Makes elements without ever parsing text as HTML: what an agent prints can never become markup. */

/**
 * `h("button", { class: "primary", onclick: run }, "Run")`. Attributes that are `undefined`, `null` or
 * `false` are left out; functions become listeners.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

function setAttribute(element, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (typeof value === "function") element.addEventListener(name.slice(2), value);
  else if (name === "value") element.value = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Replaces what `parent` holds, only if `signature` differs from the last time: focus and selection stay. */
export function show(parent, signature, make) {
  const text = JSON.stringify(signature);
  if (parent.dataset.shown === text) return;
  parent.dataset.shown = text;
  parent.replaceChildren(...[make()].flat());
}

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  const region = document.getElementById("announcer");
  if (region) region.textContent = text;
}
