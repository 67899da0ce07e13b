import { jobChip, jobTone } from "../lib/chips.js";
import { announce, h, show } from "../lib/dom.js";
import { clock, duration, millis, shortId } from "../lib/format.js";
import { phasesOf } from "../lib/phases.js";
import { elapsed } from "../lib/ticker.js";
import { plainText, TERMINAL } from "../lib/transcript.js";

/** One job of a transcript: head, prompt, what it goes through until it runs, a screen that grows, how it ended. */
export class JobCard {
  #job;
  #cancel;
  #linksWorker;
  #state;
  #versions = [];
  #drawn = 0;
  #head = h("header", {});
  #prompt = h("div", { class: "prompt" });
  #phases = h("ol", { class: "phases", "aria-label": "Until it runs" });
  #screen;
  #foot = h("footer", {});

  /** `cancel(jobId)` resolves when the order is taken; absent where one may only look. `linksWorker`: the reader may see workers. */
  constructor(job, { cancel, linksWorker = false }) {
    this.#job = job;
    this.#cancel = cancel;
    this.#linksWorker = linksWorker;
    this.#screen = h("div", {
      class: "screen",
      role: "log",
      "aria-live": "off",
      tabindex: "0",
      "aria-label": `Output of ${job.id}`,
    });
    this.element = h(
      "article",
      { class: "job", "data-job": job.id, "aria-label": `Job ${job.id}` },
      this.#head,
      this.#prompt,
      this.#phases,
      this.#screen,
      this.#foot,
    );
    this.update();
  }

  update() {
    if (this.#state !== this.#job.state || this.#head.childElementCount === 0) this.#drawState();
    this.#drawPhases();
    this.#drawScreen();
  }

  #drawPhases() {
    const phases = phasesOf(this.#job);
    this.#phases.hidden = phases.length === 0;
    this.#screen.hidden = phases.length > 0;
    show(this.#phases, phases, () =>
      phases.map(({ at, name, text }) =>
        h(
          "li",
          { "data-at": at, "aria-current": at === "now" ? "step" : undefined },
          h("strong", {}, name),
          at === "now" && text ? ` ${text}` : "",
          at === "now"
            ? h("span", { class: "muted" }, " ", elapsed(millis(this.#job.queuedAt)))
            : "",
        ),
      ),
    );
  }

  #drawState() {
    const job = this.#job;
    const changed = this.#state !== undefined;
    this.#state = job.state;
    this.element.dataset.state = job.state;
    this.element.dataset.tone = jobTone(job.state) ?? "";
    this.#prompt.textContent = job.prompt ?? "";
    this.#prompt.hidden = job.prompt === null;
    this.#head.replaceChildren(
      jobChip(job.state),
      h("span", {}, job.agent ?? ""),
      h("span", { class: "mono muted", title: job.id }, shortId(job.id)),
      h("span", { class: "spring" }),
      ...this.#tools(),
    );
    this.#drawFoot();
    if (changed) announce(`Job ${job.agent ?? ""} ${job.state.replace("_", " ")}`);
  }

  #tools() {
    if (TERMINAL.has(this.#job.state) || this.#cancel === undefined) return [];
    const failure = h("span", { class: "form-error", role: "alert" });
    const button = h("button", { class: "danger small", type: "button" }, "Cancel");
    button.addEventListener("click", async () => {
      button.disabled = true;
      button.textContent = "Cancelling…";
      failure.textContent = "";
      try {
        await this.#cancel(this.#job.id);
      } catch (error) {
        failure.textContent = error.message;
        button.disabled = false;
        button.textContent = "Cancel";
      }
    });
    return [failure, button];
  }

  #drawFoot() {
    const job = this.#job;
    const started = millis(job.startedAt);
    const ended = millis(job.endedAt);
    this.#foot.replaceChildren(
      h("span", {}, `queued ${clock(job.queuedAt)}`),
      started === null
        ? ""
        : h(
            "span",
            {},
            ended === null ? "running for " : "took ",
            ended === null ? elapsed(started) : duration(ended - started),
          ),
      job.worker === null ? "" : this.#worker(job.worker),
      job.outcome === null ? "" : h("span", { class: "outcome" }, job.outcome),
    );
  }

  #worker(id) {
    const look = { class: "mono hide-narrow", title: id };
    return this.#linksWorker
      ? h("a", { ...look, href: `#/worker/${id}` }, shortId(id))
      : h("span", look, shortId(id));
  }

  /** Draws only what is new: pieces that fell out of the window, a last piece that grew, pieces that came. */
  #drawScreen() {
    const { pieces, dropped } = this.#job;
    const screen = this.#screen;
    const atEnd = screen.scrollHeight - screen.scrollTop - screen.clientHeight < 30;
    if (pieces.length === 0) {
      screen.replaceChildren(
        h(
          "span",
          { class: "waiting" },
          TERMINAL.has(this.#job.state) ? "No output." : "Waiting for output…",
        ),
      );
      return;
    }
    if (this.#versions.length === 0) screen.replaceChildren();
    for (; this.#drawn < dropped && this.#versions.length > 0; this.#drawn += 1) {
      this.#versions.shift();
      screen.firstElementChild?.remove();
    }
    this.#drawn = dropped;
    const last = this.#versions.length - 1;
    if (last >= 0 && this.#versions[last] !== pieces[last].version) {
      screen.children[last].replaceWith(pieceElement(pieces[last]));
      this.#versions[last] = pieces[last].version;
    }
    for (const piece of pieces.slice(this.#versions.length)) {
      screen.append(pieceElement(piece));
      this.#versions.push(piece.version);
    }
    if (atEnd) screen.scrollTop = screen.scrollHeight;
  }
}

function pieceElement(piece) {
  switch (piece.kind) {
    case "output":
      return h("span", { class: piece.stream }, plainText(piece.text));
    case "message":
      return h(
        "div",
        { class: "message" },
        h("span", { class: "role" }, piece.role),
        plainText(piece.text),
      );
    case "tool":
      return h(
        "details",
        {},
        h("summary", {}, toolTitle(piece)),
        h("div", {}, toolBody(piece.body)),
      );
    default:
      return h("span", { class: "note" }, piece.text);
  }
}

const toolTitle = (piece) =>
  `${piece.phase === "call" ? "Tool" : piece.isError ? "Tool failed" : "Tool result"}: ${piece.name}`;

function toolBody(body) {
  if (body === undefined) return "";
  return plainText(typeof body === "string" ? body : JSON.stringify(body, null, 2));
}
