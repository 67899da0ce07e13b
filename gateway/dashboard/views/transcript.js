import { h } from "../lib/dom.js";
import { addEvent, emptyTranscript } from "../lib/transcript.js";
import { JobCard } from "./job-card.js";

/** Events shown at first of a long session; the rest is a press away. */
const RECENT_EVENTS = 2_000;

/**
 * One session, live: its history from the log, then what comes, by cursor. Newest job first.
 * `query` is what a read of the session needs beside its id (operators name the tenant).
 */
export class TranscriptView {
  #connection;
  #sessionId;
  #query;
  #onState;
  #transcript = emptyTranscript();
  #cards = new Map();
  #dirty = new Set();
  #frame;
  #closed = false;
  #list = h("div", { class: "transcript" });
  #note = h("p", { class: "notice", hidden: true });
  #earlier = h("button", { type: "button", hidden: true }, "Show earlier events");

  constructor({ connection, sessionId, query = {}, canCancel = true, onState = () => {} }) {
    this.#connection = connection;
    this.#sessionId = sessionId;
    this.#query = query;
    this.#onState = onState;
    this.canCancel = canCancel;
    this.#earlier.addEventListener("click", () => this.#read(0));
    this.element = h("div", { class: "stack" }, this.#note, this.#list, this.#earlier);
  }

  /** `isNew` sessions are read from their beginning without asking how long they are. */
  async open({ isNew = false } = {}) {
    if (isNew) return this.#read(0);
    try {
      const session = await this.#connection.api.get(
        `/v1/sessions/${this.#sessionId}`,
        this.#query,
      );
      if (!this.#closed) this.#read(Math.max(0, session.last_seq - RECENT_EVENTS));
    } catch (error) {
      this.#say(error.message, true);
    }
  }

  close() {
    this.#closed = true;
    cancelAnimationFrame(this.#frame);
    this.#connection.stream.unfollow(this.#sessionId);
  }

  #read(after) {
    this.#transcript = emptyTranscript();
    this.#cards.clear();
    this.#list.replaceChildren();
    this.#earlier.hidden = after === 0;
    this.#connection.stream.follow(this.#sessionId, after, {
      onEvent: (event) => this.#take(event),
      onProblem: (problem) => this.#say(problem.message, true),
      scope: this.#query,
    });
  }

  #take(event) {
    const job = addEvent(this.#transcript, event);
    if (event.type === "session.gap")
      this.#say(`Events before ${event.data.oldest} are past their retention.`, false);
    if (job === undefined) return;
    this.#dirty.add(job);
    if (event.type.startsWith("job.")) this.#onState(job);
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = undefined;
    for (const job of this.#dirty) {
      const card = this.#cards.get(job.id);
      if (card === undefined) this.#add(job);
      else card.update();
    }
    this.#dirty.clear();
  }

  #add(job) {
    const cancel = this.canCancel ? (id) => this.#connection.stream.cancel(id) : undefined;
    const card = new JobCard(job, cancel);
    this.#cards.set(job.id, card);
    this.#list.prepend(card.element);
  }

  #say(text, isBad) {
    this.#note.hidden = false;
    this.#note.className = isBad ? "notice bad" : "notice";
    this.#note.textContent = text;
  }
}
