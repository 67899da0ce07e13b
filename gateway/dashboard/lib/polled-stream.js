/**
 * Sessions of any tenant, read by an operator over REST: a stream frame names no tenant, a request can.
 * Same shape as `Stream`, as far as a transcript needs it.
 */
const EVERY_MS = 1_000;
const PAGE = 1_000;

export class PolledStream {
  #api;
  #query;
  #runs = new Map();

  constructor(api, query) {
    this.#api = api;
    this.#query = query;
  }

  follow(sessionId, after, onEvent) {
    this.unfollow(sessionId);
    const run = { stopped: false, timer: undefined };
    this.#runs.set(sessionId, run);
    void this.#read(run, sessionId, after, onEvent);
  }

  unfollow(sessionId) {
    const run = this.#runs.get(sessionId);
    if (run === undefined) return;
    run.stopped = true;
    clearTimeout(run.timer);
    this.#runs.delete(sessionId);
  }

  async cancel(jobId) {
    await this.#api.post(`/v1/jobs/${jobId}/cancel`, undefined, this.#query);
  }

  async #read(run, sessionId, after, onEvent) {
    const next = await this.#page(run, sessionId, after, onEvent).catch(() => ({
      cursor: after,
      wait: EVERY_MS * 3,
    }));
    if (run.stopped) return;
    run.timer = setTimeout(() => this.#read(run, sessionId, next.cursor, onEvent), next.wait);
  }

  async #page(run, sessionId, after, onEvent) {
    const path = `/v1/sessions/${sessionId}/events`;
    const page = await this.#api.get(path, { ...this.#query, after, limit: PAGE });
    if (!run.stopped) for (const event of page.data) onEvent(event);
    return { cursor: page.cursor, wait: page.has_more ? 0 : EVERY_MS };
  }
}
