import { h, show } from "../lib/dom.js";
import { millis, shortId } from "../lib/format.js";
import { panel } from "../lib/table.js";
import { since } from "../lib/ticker.js";

/** One's sessions, newest first, to choose from. `choose(id | undefined)`: undefined is a new one. */
export class SessionList {
  #choose;
  #chosen;
  #sessions = [];
  #panel;

  constructor(choose) {
    this.#choose = choose;
    const fresh = h(
      "button",
      { class: "small", type: "button", onclick: () => choose(undefined) },
      "New session",
    );
    this.#panel = panel("Sessions", { id: "sessions", tools: [fresh] });
    this.element = this.#panel.element;
  }

  update(sessions, chosen) {
    this.#sessions = sessions;
    this.#chosen = chosen;
    this.#draw();
  }

  #draw() {
    this.#panel.counter.textContent = this.#sessions.length;
    show(
      this.#panel.body,
      [this.#chosen, this.#sessions.map((session) => [session.id, session.title])],
      () => {
        if (this.#sessions.length === 0) {
          return h(
            "p",
            { class: "empty" },
            h("strong", {}, "No sessions yet"),
            "The first prompt starts one.",
          );
        }
        return h(
          "ul",
          { class: "sessions" },
          this.#sessions.map((session) => this.#item(session)),
        );
      },
    );
  }

  #item(session) {
    return h(
      "li",
      {},
      h(
        "button",
        {
          type: "button",
          title: session.id,
          "aria-current": String(session.id === this.#chosen),
          onclick: () => this.#choose(session.id),
        },
        h("span", { class: "title" }, session.title ?? shortId(session.id)),
        h("span", { class: "meta" }, session.agent, " · ", since(millis(session.created_at))),
      ),
    );
  }
}
