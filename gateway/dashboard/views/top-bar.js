import { h } from "../lib/dom.js";

const STATUS_TEXT = {
  live: "Live",
  connecting: "Connecting…",
  waiting: "Reconnecting…",
  refused: "Signed out by the gateway",
};

/** Name, pages, state of the connection, who is signed in. */
export class TopBar {
  #links = {
    overview: h("a", { href: "#/overview" }, "Overview"),
    console: h("a", { href: "#/console" }, "Console"),
  };
  #status = h("span", { class: "link-state", role: "status" });

  constructor({ identity, signOut }) {
    const who = identity.tenant === null ? identity.scope : `${identity.tenant} · ${identity.tier}`;
    this.element = h(
      "div",
      { class: "bar" },
      h("span", { class: "brand" }, h("img", { src: "./icon.svg", alt: "" }), "Berth"),
      h("nav", { class: "tabs", "aria-label": "Pages" }, Object.values(this.#links)),
      h("span", { class: "spring" }),
      this.#status,
      h(
        "div",
        { class: "who small" },
        h("strong", {}, identity.user),
        h("br"),
        h("span", { class: "muted" }, who),
      ),
      h("button", { type: "button", class: "small", onclick: signOut }, "Sign out"),
    );
  }

  page(name) {
    for (const [key, link] of Object.entries(this.#links)) {
      if (key === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  status(status) {
    this.#status.dataset.status = status;
    this.#status.textContent = STATUS_TEXT[status];
  }
}
