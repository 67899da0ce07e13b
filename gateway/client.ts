/**
 * The TypeScript client, for Node and browsers. Events are read as server-sent events over `fetch`: whoever
 * reads slowly slows the stream down instead of filling memory, and any disconnect resumes by cursor.
 */
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
  SessionSummary,
  UsageReport,
} from "../protocols/api.ts";
import type { Credential } from "../protocols/api-credentials.ts";
import type { SessionEvent } from "../protocols/events.ts";
import type { JobState } from "../protocols/job.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { type FollowOptions, followEvents } from "./client/follow.ts";
import { type Http, type HttpRequest, openHttp, persist, type Query } from "./client/http.ts";

export { BerthError, type ErrorCode } from "../protocols/errors.ts";
export type { SessionEvent } from "../protocols/events.ts";
export type { FollowOptions } from "./client/follow.ts";

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

interface Page<T> {
  readonly data: readonly T[];
  readonly next: string | null;
}
interface PageQuery {
  readonly limit?: number;
  readonly after?: string;
  /** For operators: of this tenant alone. */
  readonly tenant?: string;
}

const DEFAULT_PATIENCE_MS = 60_000;

export class BerthClient {
  readonly #http: Http;
  readonly #clock: Clock;
  readonly #patienceMs: number;

  constructor(options: BerthClientOptions) {
    const { url, key, fetch: send = (...args) => fetch(...args) } = options;
    this.#http = openHttp({ url, key, fetch: send });
    this.#clock = options.clock ?? systemClock;
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
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
    return this.#json(`/v1/jobs/${id}`);
  }

  jobs(
    query: PageQuery & { readonly state?: JobState; readonly session_id?: string } = {},
  ): Promise<Page<JobSummary>> {
    return this.#json("/v1/jobs", { ...query });
  }

  /** Resolves once the order is taken; `job.cancelled` follows when the job's processes are gone. */
  cancel(id: string): Promise<{ readonly id: string; readonly state: JobState }> {
    return this.#post(`/v1/jobs/${id}/cancel`, undefined);
  }

  /** Text for the standard input of the job's agent. Not repeated by itself: input must not come twice. */
  async input(id: string, text: string): Promise<void> {
    await this.#http({ method: "POST", path: `/v1/jobs/${id}/input`, body: { text } });
  }

  createSession(session: CreateSession): Promise<ApiSession> {
    return this.#post("/v1/sessions", session);
  }

  session(id: string): Promise<ApiSession> {
    return this.#json(`/v1/sessions/${id}`);
  }

  sessions(query: PageQuery = {}): Promise<Page<SessionSummary>> {
    return this.#json("/v1/sessions", { ...query });
  }

  async deleteSession(id: string): Promise<void> {
    await this.#persist({ method: "DELETE", path: `/v1/sessions/${id}` });
  }

  /** One page of what is in the log, without waiting. */
  eventPage(sessionId: string, after = 0, limit?: number): Promise<EventPage> {
    return this.#json(`/v1/sessions/${sessionId}/events`, { after, limit });
  }

  me(): Promise<Identity> {
    return this.#json("/v1/me");
  }

  limits(): Promise<Limits> {
    return this.#json("/v1/limits");
  }

  usage(): Promise<UsageReport> {
    return this.#json("/v1/usage");
  }

  /** The caller's provider keys, without their values. */
  async credentials(): Promise<readonly Credential[]> {
    return (await this.#json<Page<Credential>>("/v1/credentials")).data;
  }

  /** Stores the caller's key of a provider, such as `claude_api`; it cannot be read back. */
  async setCredential(provider: string, value: string): Promise<Credential> {
    const request = {
      method: "PUT",
      path: `/v1/credentials/${provider}`,
      body: { value },
    } as const;
    return (await (await this.#persist(request)).json()) as Credential;
  }

  /** Rejects with `credential.not_found`, also when an earlier try of it succeeded and its answer was lost. */
  async removeCredential(provider: string): Promise<void> {
    await this.#persist({ method: "DELETE", path: `/v1/credentials/${provider}` });
  }

  /** A job's events from its beginning, or after a cursor; ends after its last one. */
  jobEvents(id: string, options: FollowOptions = {}): AsyncGenerator<SessionEvent, void> {
    return this.#follow(`/v1/jobs/${id}/events`, options);
  }

  /** A session's events as they come, over reconnects, until aborted. Without a cursor: from now on. */
  sessionEvents(id: string, options: FollowOptions = {}): AsyncGenerator<SessionEvent, void> {
    return this.#follow(`/v1/sessions/${id}/events`, options);
  }

  #follow(path: string, options: FollowOptions): AsyncGenerator<SessionEvent, void> {
    const parts = { http: this.#http, clock: this.#clock, patienceMs: this.#patienceMs };
    return followEvents({ ...parts, path }, options);
  }

  async #json<T>(path: string, query?: Query): Promise<T> {
    return (await (await this.#persist({ path, query })).json()) as T;
  }

  async #post<T>(path: string, body: unknown, key = crypto.randomUUID() as string): Promise<T> {
    const headers = { "idempotency-key": key };
    return (await (await this.#persist({ method: "POST", path, body, headers })).json()) as T;
  }

  #persist(request: HttpRequest): Promise<Response> {
    return persist(this.#clock, this.#patienceMs, () => this.#http(request));
  }
}
