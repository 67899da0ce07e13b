import { h } from "../lib/dom.js";
import { Poller } from "../lib/poller.js";
import { addEvent, emptyTranscript } from "../lib/transcript.js";
import { JobCard } from "./job-card.js";

/** Events shown at first of a long session; the rest is a press away. */
const RECENT_EVENTS = 2_000;
/** How often it is asked what waiting jobs wait for, and for how many of them. */
const WAITS_EVERY_MS = 1_000;
const WAITS_ASKED = 3;

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
  #waits = new Poller(() => this.#readWaits(), WAITS_EVERY_MS);
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
    this.#waits.stop();
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
    if (event.type === "job.queued") this.#waits.now();
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
    const card = new JobCard(job, { cancel, linksWorker: this.#seesWorkers() });
    this.#cards.set(job.id, card);
    this.#list.prepend(card.element);
  }

  /** An admin does not see the workers that the free tier shares. */
  #seesWorkers() {
    const { scope, tier } = this.#connection.identity;
    return scope === "operator" || (scope === "tenant_admin" && tier !== "free");
  }

  /** The log says that a job is queued; why it still is, only the gateway knows. */
  async #readWaits() {
    const waiting = [...this.#transcript.jobs.values()].filter(({ state }) => state === "queued");
    const read = async (job) => {
      const answer = await this.#connection.api
        .get(`/v1/jobs/${job.id}/wait`, this.#query)
        .catch(() => undefined);
      // Its events may have come meanwhile, and know better.
      if (answer === undefined || job.state !== "queued" || this.#closed) return;
      job.wait = answer;
      this.#cards.get(job.id)?.update();
    };
    await Promise.all(waiting.slice(0, WAITS_ASKED).map(read));
  }

  #say(text, isBad) {
    this.#note.hidden = false;
    this.#note.className = isBad ? "notice bad" : "notice";
    this.#note.textContent = text;
  }
}
