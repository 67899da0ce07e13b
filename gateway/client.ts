/**
 * The TypeScript client, for Node and browsers. Events are read as server-sent events over `fetch`: whoever
 * reads slowly slows the stream down instead of filling memory, and any disconnect resumes by cursor.
 */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import type {
  AcceptedJob,
  ApiJob,
  ApiSession,
  CreateJob,
  CreateSession,
  EventPage,
  Identity,
  JobSummary,
  Limits,
  Problem,
  SessionSummary,
  UsageReport,
} from "../protocols/api.ts";
import { BerthError, type ErrorCode, isErrorCode } from "../protocols/errors.ts";
import { endsJob, type SessionEvent } from "../protocols/events.ts";
import type { JobState } from "../protocols/job.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";

export interface BerthClientOptions {
  /** Such as `http://127.0.0.1:8000`. */
  readonly url: string;
  /** An API key or a JWT. */
  readonly key: string;
  readonly fetch?: typeof fetch;
  readonly clock?: Clock;
  /** How long requests and lost streams are tried again before they reject (default 60 s). */
  readonly patienceMs?: number;
}

export interface FollowOptions {
  /** The seq of the last event had: the stream goes on after it. */
  readonly after?: number;
  readonly signal?: AbortSignal;
}

interface Page<T> {
  readonly data: readonly T[];
  readonly next: string | null;
}
interface PageQuery {
  readonly limit?: number;
  readonly after?: string;
}

const DEFAULT_PATIENCE_MS = 60_000;
const BACKOFF = { firstMs: 100, longestMs: 5_000 } as const;
/** The gateway sends at least a comment every 15 s; a stream silent for longer is dead. */
const SILENCE_MS = 45_000;

export class BerthClient {
  readonly #options: BerthClientOptions;
  readonly #fetch: typeof fetch;
  readonly #clock: Clock;

  constructor(options: BerthClientOptions) {
    this.#options = options;
    this.#fetch = options.fetch ?? ((...args) => fetch(...args));
    this.#clock = options.clock ?? systemClock;
  }

  /** Submits a job and yields its events, the last one included. Leaving the loop leaves the job running. */
  async *run(job: CreateJob, options: FollowOptions = {}): AsyncGenerator<SessionEvent, void> {
    const { id } = await this.submit(job);
    yield* this.jobEvents(id, options);
  }

  /** Safe against lost answers: all tries of one call are one job. */
  submit(job: CreateJob, options: { readonly idempotencyKey?: string } = {}): Promise<AcceptedJob> {
    return this.#post("/v1/jobs", job, options.idempotencyKey);
  }

  job(id: string): Promise<ApiJob> {
    return this.#json("GET", `/v1/jobs/${id}`);
  }

  jobs(
    query: PageQuery & { readonly state?: JobState; readonly session_id?: string } = {},
  ): Promise<Page<JobSummary>> {
    return this.#json("GET", `/v1/jobs${searchOf(query)}`);
  }

  /** Resolves once the order is taken; `job.cancelled` follows when the job's processes are gone. */
  cancel(id: string): Promise<{ readonly id: string; readonly state: JobState }> {
    return this.#post(`/v1/jobs/${id}/cancel`, undefined);
  }

  /** Text for the standard input of the job's agent. Not repeated by itself: input must not come twice. */
  async input(id: string, text: string): Promise<void> {
    await this.#send("POST", `/v1/jobs/${id}/input`, { body: { text } });
  }

  createSession(session: CreateSession): Promise<ApiSession> {
    return this.#post("/v1/sessions", session);
  }

  session(id: string): Promise<ApiSession> {
    return this.#json("GET", `/v1/sessions/${id}`);
  }

  sessions(query: PageQuery = {}): Promise<Page<SessionSummary>> {
    return this.#json("GET", `/v1/sessions${searchOf(query)}`);
  }

  async deleteSession(id: string): Promise<void> {
    await this.#persist(() => this.#send("DELETE", `/v1/sessions/${id}`));
  }

  /** One page of what is in the log, without waiting. */
  eventPage(sessionId: string, after = 0, limit?: number): Promise<EventPage> {
    return this.#json("GET", `/v1/sessions/${sessionId}/events${searchOf({ after, limit })}`);
  }

  me(): Promise<Identity> {
    return this.#json("GET", "/v1/me");
  }

  limits(): Promise<Limits> {
    return this.#json("GET", "/v1/limits");
  }

  usage(): Promise<UsageReport> {
    return this.#json("GET", "/v1/usage");
  }

  /** A job's events from its beginning, or after a cursor; ends after its last one. */
  jobEvents(id: string, options: FollowOptions = {}): AsyncGenerator<SessionEvent, void> {
    return this.#follow(`/v1/jobs/${id}/events`, options);
  }

  /** A session's events as they come, over reconnects, until aborted. Without a cursor: from now on. */
  sessionEvents(id: string, options: FollowOptions = {}): AsyncGenerator<SessionEvent, void> {
    return this.#follow(`/v1/sessions/${id}/events`, options);
  }

  async *#follow(path: string, options: FollowOptions): AsyncGenerator<SessionEvent, void> {
    const { signal } = options;
    const progress: Progress = { cursor: options.after, failures: 0, lostAt: undefined };
    for (;;) {
      const end = yield* this.#connection(path, progress, signal);
      if (end === OVER || signal?.aborted) return;
      await this.#reconnect(progress, end, signal);
    }
  }

  /** Yields from one connection; returns why it ended: `OVER`, an error, or undefined for a restart. */
  async *#connection(
    path: string,
    progress: Progress,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<SessionEvent, BerthError | typeof OVER | undefined> {
    const isJob = path.startsWith("/v1/jobs/");
    const stream = this.#stream(path, progress, signal);
    try {
      for (;;) {
        const next = await stream.next();
        if (next.done) return next.value;
        const event = next.value;
        if (progress.cursor !== undefined && event.seq <= progress.cursor) continue;
        progress.cursor = event.seq;
        progress.failures = 0;
        yield event;
        if (isJob && endsJob(event)) return OVER;
      }
    } catch (thrown) {
      return signal?.aborted ? OVER : clientError(thrown);
    } finally {
      await stream.return(undefined);
    }
  }

  /** Waits before the next connection, or throws what no waiting mends. */
  async #reconnect(
    progress: Progress,
    error: BerthError | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    progress.lostAt ??= this.#clock.monotonic();
    const isLate = this.#clock.monotonic() - progress.lostAt > this.#patienceMs;
    if (error && (error.retry === "never" || isLate)) throw error;
    await this.#pause(progress.failures, error, signal);
    progress.failures += 1;
  }

  /** One connection's events; returns `OVER` when the gateway says that nothing more comes. */
  async *#stream(
    path: string,
    progress: Progress,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<SessionEvent, typeof OVER | undefined> {
    const { cursor } = progress;
    const watchdog = new AbortController();
    const both = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal;
    const headers = {
      accept: "text/event-stream",
      ...(cursor === undefined ? {} : { "last-event-id": String(cursor) }),
    };
    const answer = await this.#send("GET", path, { headers, signal: both });
    if (answer.status === 204 || !answer.body) return OVER;
    progress.lostAt = undefined;
    const messages: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: (message) => messages.push(message) });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    try {
      for (;;) {
        const chunk = await this.#within(reader.read(), watchdog);
        if (chunk.done) return undefined;
        parser.feed(chunk.value);
        for (const { event, data } of messages.splice(0)) {
          if (event === "error") throw problemError(JSON.parse(data) as Problem);
          yield JSON.parse(data) as SessionEvent;
        }
      }
    } finally {
      watchdog.abort();
      await reader.cancel().catch(() => undefined);
    }
  }

  /** `work`, unless nothing at all comes for so long that the connection must be dead. */
  async #within<T>(work: Promise<T>, watchdog: AbortController): Promise<T> {
    const done = new AbortController();
    void this.#clock.sleep(SILENCE_MS, done.signal).then(() => {
      if (!done.signal.aborted)
        watchdog.abort(new BerthError("ask.timeout", "the stream fell silent"));
    });
    try {
      return await work;
    } finally {
      done.abort();
    }
  }

  async #json<T>(method: string, path: string): Promise<T> {
    return (await (await this.#persist(() => this.#send(method, path))).json()) as T;
  }

  async #post<T>(path: string, body: unknown, key = crypto.randomUUID() as string): Promise<T> {
    const headers = { "idempotency-key": key };
    const answer = await this.#persist(() => this.#send("POST", path, { body, headers }));
    return (await answer.json()) as T;
  }

  /** Repeats what may be repeated, for as long as the answer says that it can help. */
  async #persist(send: () => Promise<Response>): Promise<Response> {
    const start = this.#clock.monotonic();
    for (let failures = 0; ; failures += 1) {
      try {
        return await send();
      } catch (thrown) {
        const error = clientError(thrown);
        const waitedMs = this.#clock.monotonic() - start + (error.retryAfterMs ?? 0);
        if (error.retry === "never" || waitedMs > this.#patienceMs) throw error;
        await this.#pause(failures, error, undefined);
      }
    }
  }

  async #send(
    method: string,
    path: string,
    given: {
      readonly body?: unknown;
      readonly headers?: Record<string, string>;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Response> {
    const { body, headers, signal } = given;
    const answer = await this.#fetch(new URL(path, this.#options.url), {
      method,
      headers: {
        accept: "application/json",
        authorization: `Bearer ${this.#options.key}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal ? { signal } : {}),
    });
    if (answer.ok) return answer;
    throw problemError(await readProblem(answer));
  }

  get #patienceMs(): number {
    return this.#options.patienceMs ?? DEFAULT_PATIENCE_MS;
  }

  /** Full jitter, so that many clients of one lost gateway do not come back at once. */
  #pause(failures: number, error: BerthError | undefined, signal: AbortSignal | undefined) {
    const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
    const ceiling = Math.min(BACKOFF.longestMs, BACKOFF.firstMs * 2 ** failures);
    const waitMs = (error?.retryAfterMs ?? 0) + (ceiling * random) / 2 ** 32;
    return this.#clock.sleep(waitMs, signal);
  }
}

/** Where one following stands, over its connections. */
interface Progress {
  cursor: number | undefined;
  /** Connections in a row that brought nothing. */
  failures: number;
  lostAt: number | undefined;
}

/** Nothing more comes on this stream. */
const OVER = Symbol("the stream is over");

function searchOf(query: object): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  if (given.length === 0) return "";
  const pairs = given.map(([name, value]): [string, string] => [name, String(value)]);
  return `?${new URLSearchParams(pairs).toString()}`;
}

/** Whatever stopped a request on its way: a lost connection, or an answer that broke off. */
function clientError(thrown: unknown): BerthError {
  if (thrown instanceof BerthError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new BerthError("ask.timeout", `the gateway does not answer: ${message}`, {
    cause: thrown,
  });
}

function problemError(problem: Partial<Problem>): BerthError {
  const code: ErrorCode = isErrorCode(problem.code) ? problem.code : "internal.unexpected";
  return new BerthError(code, problem.detail, {
    retryAfterMs: problem.retry_after_ms,
    field: problem.errors?.[0]?.pointer,
  });
}

/** A proxy in front of the gateway answers in its own words. */
async function readProblem(answer: Response): Promise<Partial<Problem>> {
  const text = await answer.text();
  try {
    return JSON.parse(text) as Partial<Problem>;
  } catch {
    const code = answer.status >= 500 ? "broker.unavailable" : "request.malformed";
    return { code, detail: `${answer.status} ${text.slice(0, 200)}` };
  }
}
