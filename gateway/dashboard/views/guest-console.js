import { h } from "../lib/dom.js";
import { TranscriptView } from "./transcript.js";

/** For an operator without a user key: what the console needs, and where to give it. */
export function consoleKeyView(take) {
  const error = h("p", { class: "form-error", role: "alert" });
  const key = h("input", {
    id: "console-key",
    type: "password",
    autocomplete: "off",
    required: true,
  });
  const submit = async (event) => {
    event.preventDefault();
    error.textContent = "";
    await take(key.value.trim()).catch((failure) => {
      error.textContent = failure.message;
    });
  };
  return h(
    "form",
    { class: "panel body stack", onsubmit: submit },
    h("h1", {}, "Console"),
    h(
      "p",
      { class: "muted" },
      "An operator belongs to no tenant and so submits no jobs. Give a user's key to use the console as that user; the overview stays yours.",
    ),
    h("div", {}, h("label", { for: "console-key" }, "A user's API key"), key),
    error,
    h(
      "div",
      { class: "actions" },
      h("button", { class: "primary", type: "submit" }, "Use this key"),
    ),
  );
}

/** A session of some tenant, as an operator looks at it. */
export function operatorSessionView({ connection, tenant, sessionId }) {
  const transcript = new TranscriptView({ connection, sessionId, query: { tenant } });
  void transcript.open();
  const element = h(
    "div",
    { class: "stack" },
    h("h1", {}, "Session"),
    h("p", { class: "muted mono" }, `${tenant} / ${sessionId}`),
    transcript.element,
  );
  return { element, close: () => transcript.close() };
}
