import { announce, h } from "../lib/dom.js";
import { Poller } from "../lib/poller.js";
import { Composer } from "./composer.js";
import { SessionList } from "./session-list.js";
import { TranscriptView } from "./transcript.js";

const EVERY_MS = 5_000;
const LISTED = 100;

/** Submits prompts and shows sessions, live. `sessionId` is the one to open with. */
export class ConsoleView {
  #connection;
  #sessions = [];
  #chosen;
  #transcript;
  #composer = new Composer((job) => this.#submit(job));
  #list = new SessionList((id) => this.#go(id));
  #place = h("div", {});
  #notice = h("p", { class: "notice bad", role: "alert", hidden: true });
  #poller;

  constructor({ connection, sessionId }) {
    this.#connection = connection;
    this.element = h(
      "div",
      { class: "console" },
      this.#list.element,
      h(
        "div",
        { class: "stack" },
        h("h1", { class: "visually-hidden" }, "Console"),
        this.#notice,
        this.#composer.element,
        this.#place,
      ),
    );
    this.#poller = new Poller(() => this.#load(), EVERY_MS);
    this.choose(sessionId);
  }

  /** Opens a session, or makes ready for a new one. */
  choose(id, { isNew = false } = {}) {
    if (id !== undefined && id === this.#chosen) return;
    this.#chosen = id;
    this.#transcript?.close();
    this.#transcript = undefined;
    this.#place.replaceChildren();
    if (id === undefined) {
      this.#place.append(
        h(
          "p",
          { class: "empty" },
          h("strong", {}, "Nothing here yet"),
          "Run a prompt, or choose a session to see its history.",
        ),
      );
    } else {
      this.#transcript = new TranscriptView({
        connection: this.#connection,
        sessionId: id,
        onState: () => this.#poller.now(),
      });
      this.#place.append(this.#transcript.element);
      this.#transcript.open({ isNew });
    }
    this.#mark();
  }

  close() {
    this.#poller.stop();
    this.#transcript?.close();
  }

  #go(id) {
    location.hash = id === undefined ? "#/console" : `#/session/${id}`;
    this.choose(id);
    if (id === undefined) this.#composer.focus();
  }

  async #submit(job) {
    const accepted = await this.#connection.api.submit({
      ...job,
      ...(this.#chosen ? { session_id: this.#chosen } : {}),
    });
    announce("Job accepted");
    if (accepted.session_id !== this.#chosen) {
      this.choose(accepted.session_id, { isNew: true });
      history.replaceState(null, "", `#/session/${accepted.session_id}`);
    }
    this.#poller.now();
  }

  async #load() {
    const { api } = this.#connection;
    const [sessions, limits, agents] = await Promise.allSettled([
      api.get("/v1/sessions", { limit: LISTED }),
      api.get("/v1/limits"),
      api.get("/v1/agents"),
    ]);
    const failed = [sessions, limits, agents].find(({ status }) => status === "rejected");
    this.#notice.hidden = failed === undefined;
    this.#notice.textContent =
      failed === undefined ? "" : `Not up to date: ${failed.reason.message} Trying again.`;
    if (sessions.status === "fulfilled") this.#sessions = sessions.value.data;
    if (limits.status === "fulfilled") this.#composer.allowance(limits.value);
    if (agents.status === "fulfilled") this.#composer.agents(agents.value.data.map(({ id }) => id));
    this.#mark();
  }

  #mark() {
    this.#list.update(this.#sessions, this.#chosen);
    this.#composer.target(this.#sessions.find((session) => session.id === this.#chosen));
  }
}
