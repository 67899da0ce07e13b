import { h } from "../lib/dom.js";

/** Asks for an API key; `signIn(key)` resolves, or rejects with what to show. */
export function signInView(signIn, reason) {
  const error = h("p", { class: "form-error", role: "alert", id: "sign-in-error" }, reason ?? "");
  const key = h("input", {
    id: "api-key",
    type: "password",
    name: "api-key",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "sign-in-hint sign-in-error",
  });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    error.textContent = "";
    try {
      await signIn(key.value.trim());
    } catch (failure) {
      error.textContent = failure.message;
      key.focus();
      key.select();
    } finally {
      button.disabled = false;
    }
  };
  return h(
    "div",
    { class: "sign-in" },
    h("h1", { class: "brand" }, h("img", { src: "./icon.svg", alt: "" }), "Berth"),
    h(
      "form",
      { class: "panel", onsubmit: submit },
      h("div", {}, h("label", { for: "api-key" }, "API key"), key),
      error,
      button,
      h(
        "p",
        { class: "muted small", id: "sign-in-hint" },
        "The key stays in this tab and is forgotten with it. In development, the keys stand in ",
        h("code", {}, ".berth/dev.json"),
        ".",
      ),
    ),
  );
}
