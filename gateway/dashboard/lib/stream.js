/**
 * The WebSocket as a set of sessions read by cursor. A lost connection is opened again with backoff and
 * every session goes on after the last event seen: nothing is missing, doubled or out of order.
 *
 * Fires `status` (detail: "connecting" | "live" | "waiting" | "refused").
 */

const FIRST_WAIT_MS = 300;
const LONGEST_WAIT_MS = 10_000;
const REPLY_TIMEOUT_MS = 10_000;
/** Close codes after which another try would be answered the same. */
const REFUSED = new Set([4401, 4403]);

export class Stream extends EventTarget {
  #key;
  #isRefused;
  #socket;
  #timer;
  #watchdog;
  #failures = 0;
  #closed = false;
  #refs = 0;
  #sessions = new Map();
  #replies = new Map();
  status = "connecting";

  /** `isRefused` asks whether the key still holds, after a connection that failed without a word. */
  constructor(key, isRefused) {
    super();
    this.#key = key;
    this.#isRefused = isRefused;
    this.#open();
  }

  /**
   * Reads a session after `after`, until `unfollow`; `onProblem` gets what the gateway says against it. An
   * operator names whose it is in `scope.tenant`.
   */
  follow(sessionId, after, { onEvent, onProblem, scope = {} }) {
    this.#sessions.set(sessionId, { cursor: after, onEvent, onProblem, scope });
    this.#subscribe(sessionId);
  }

  unfollow(sessionId) {
    if (this.#sessions.delete(sessionId))
      this.#send({ type: "unsubscribe", session_id: sessionId });
  }

  /** Resolves once the gateway has taken the order; `job.cancelled` follows when the process tree is gone. */
  cancel(jobId) {
    const ref = `cancel-${++this.#refs}`;
    if (!this.#send({ type: "cancel", job_id: jobId, ref })) {
      return Promise.reject(new Error("Not connected: try again in a moment."));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#replies.delete(ref);
        reject(new Error("The gateway did not answer in time."));
      }, REPLY_TIMEOUT_MS);
      this.#replies.set(ref, { resolve, reject, timer });
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    this.#socket?.close(1000);
  }

  #open() {
    this.#setStatus("connecting");
    const url = new URL("/v1/stream", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, ["berth.v1", `berth.bearer.${this.#key}`]);
    this.#socket = socket;
    socket.addEventListener("message", (message) => this.#take(JSON.parse(message.data)));
    socket.addEventListener("close", (close) => this.#lost(socket, close));
  }

  #take(frame) {
    this.#armWatchdog();
    switch (frame.type) {
      case "welcome":
        return this.#welcomed(frame);
      case "event":
        return this.#event(frame.event);
      case "done":
        return this.#settle(frame.ref, (reply) => reply.resolve());
      case "error":
        return this.#failed(frame);
      case "closing":
        return this.#setStatus("waiting");
      default:
        return undefined;
    }
  }

  #welcomed(frame) {
    this.#failures = 0;
    this.heartbeatMs = frame.heartbeat_ms;
    this.#armWatchdog();
    this.#setStatus("live");
    for (const sessionId of this.#sessions.keys()) this.#subscribe(sessionId);
  }

  #event(event) {
    const session = this.#sessions.get(event.session_id);
    if (session === undefined) return;
    if (event.type === "session.gap") {
      session.cursor = Math.max(session.cursor, event.data.oldest - 1);
      session.onEvent(event);
      return;
    }
    if (event.seq <= session.cursor) return;
    if (event.seq > session.cursor + 1 && session.cursor > 0) {
      this.#subscribe(event.session_id);
      return;
    }
    session.cursor = event.seq;
    session.onEvent(event);
  }

  #failed(frame) {
    const settled = this.#settle(frame.ref, (reply) =>
      reply.reject(new Error(`${frame.message} (${frame.code})`)),
    );
    if (!settled) this.#sessions.get(frame.session_id)?.onProblem(frame);
  }

  #settle(ref, how) {
    const reply = this.#replies.get(ref);
    if (reply === undefined) return false;
    clearTimeout(reply.timer);
    this.#replies.delete(ref);
    how(reply);
    return true;
  }

  #subscribe(sessionId) {
    const { cursor = 0, scope = {} } = this.#sessions.get(sessionId) ?? {};
    this.#send({ type: "subscribe", session_id: sessionId, after: cursor, ...scope });
  }

  #send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.status !== "live") return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** A connection that is silent is asked; one that does not answer either is given up. */
  #armWatchdog() {
    clearTimeout(this.#watchdog);
    const quietMs = this.heartbeatMs ?? 15_000;
    this.#watchdog = setTimeout(() => {
      this.#send({ type: "ping" });
      this.#watchdog = setTimeout(() => this.#socket?.close(4000), quietMs);
    }, quietMs);
  }

  #lost(socket, close) {
    if (socket !== this.#socket) return;
    clearTimeout(this.#watchdog);
    for (const ref of Array.from(this.#replies.keys())) {
      this.#settle(ref, (reply) =>
        reply.reject(new Error("The connection was lost: try again in a moment.")),
      );
    }
    if (this.#closed) return;
    if (REFUSED.has(close.code)) this.#refuse();
    else this.#retry();
  }

  #refuse() {
    this.#closed = true;
    this.#setStatus("refused");
  }

  #retry() {
    this.#setStatus("waiting");
    const ceiling = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.#failures);
    this.#failures += 1;
    this.#timer = setTimeout(
      async () => {
        const refused = this.#failures > 1 && (await this.#isRefused());
        if (this.#closed) return;
        if (refused) this.#refuse();
        else this.#open();
      },
      ceiling * (0.5 + Math.random() / 2),
    );
  }

  #setStatus(status) {
    if (status === this.status && status !== "connecting") return;
    this.status = status;
    this.dispatchEvent(new CustomEvent("status", { detail: status }));
  }
}
