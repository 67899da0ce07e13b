/** Jobs on behalf of a caller: submitted, found, listed, cancelled, given input. */

import { Session } from "../protocols/actors/session.ts";
import { type LimitsView, User } from "../protocols/actors/user.ts";
import {
  type AcceptedJob,
  type ApiJob,
  type CreateJob,
  formatTime,
  type JobSummary,
} from "../protocols/api.ts";
import { asBerthError, BerthError, errorFromWire, type WireError } from "../protocols/errors.ts";
import { type DownRequest, downReplySchema } from "../protocols/executor.ts";
import { isTerminal, type JobRecord, type JobState, jobRecordSchema } from "../protocols/job.ts";
import { subjects } from "../protocols/subjects.ts";
import { pack, unpack } from "../runtime/ask-codec.ts";
import type { Principal } from "./auth/principal.ts";
import { decidePattern, requireRoute } from "./auth/scopes.ts";
import { awaitFresh } from "./fresh.ts";
import { findKey, parseValue, readNewest } from "./listing.ts";
import type { Services } from "./services.ts";
import { requireAgent, type Sessions } from "./sessions.ts";
import {
  type Caller,
  checkModel,
  checkPrompt,
  checkSession,
  decideTimeout,
  titleOf,
} from "./submission.ts";
import { jobSummary, jobView, type LiveJob } from "./views.ts";

export interface Accepted {
  readonly job: AcceptedJob;
  readonly limits: LimitsView;
}

export interface JobQuery {
  readonly limit: number;
  readonly after?: string | undefined;
  readonly tenant?: string | undefined;
  readonly state?: JobState | undefined;
  readonly session_id?: string | undefined;
}

export class Jobs {
  readonly #services: Services;
  readonly #sessions: Sessions;

  constructor(services: Services, sessions: Sessions) {
    this.#services = services;
    this.#sessions = sessions;
  }

  /** `ids` are the caller's to repeat: the same ones again are the same job, counted once. */
  async submit(
    caller: Caller,
    order: CreateJob,
    ids: { readonly job: string; readonly session: string },
  ): Promise<Accepted> {
    const { client, clock, config, tiers, tuning } = this.#services;
    const { principal, tier } = caller;
    requireAgent(config.agents, order.agent);
    checkPrompt(order.prompt);
    checkModel(order.model, tiers[tier].customModels, tier);
    if (order.session_id !== undefined) {
      const session = await this.#sessions.find(principal, order.session_id);
      checkSession(session, caller, order, clock.now());
    }
    const { session_id = ids.session, timeout_ms: asked, ...rest } = order;
    const timeout_ms = decideTimeout(asked, tiers[tier].jobTimeoutMs);
    const job = { ...rest, id: ids.job, session_id, tier, timeout_ms };
    const title = titleOf(order.prompt);
    const new_session = title === undefined ? {} : { title };
    const user = client.actor(User, principal.tenant, principal.user);
    const answer = await user.submit(
      order.session_id === undefined ? { job, new_session } : { job },
      { timeoutMs: tuning.askTimeoutMs },
    );
    return {
      job: {
        id: ids.job,
        session_id,
        state: "queued",
        agent: order.agent,
        tier,
        created_at: formatTime(answer.created_at),
        timeout_ms,
        position: answer.position,
      },
      limits: answer.limits,
    };
  }

  /** The stored record, if the caller sees it; else `job.not_found`. */
  async record(principal: Principal, id: string, tenantNamed?: string): Promise<JobRecord> {
    const { clock, tuning, transport } = this.#services;
    const { buckets } = transport;
    const pattern = decidePattern(principal, "jobs", tenantNamed, id);
    const look = async () => {
      const key = await findKey(buckets, "jobs", pattern);
      const value = key === undefined ? undefined : (await buckets.get("jobs", key))?.value;
      return value && parseValue(jobRecordSchema, value);
    };
    const record = await awaitFresh({ clock, freshMs: tuning.freshMs }, id, look);
    if (record) return record;
    throw new BerthError("job.not_found");
  }

  async find(principal: Principal, id: string, tenantNamed?: string): Promise<ApiJob> {
    const record = await this.record(principal, id, tenantNamed);
    return jobView(record, await this.#live(record));
  }

  /** Whether the job's session has it in hand. */
  async isLive(record: JobRecord): Promise<boolean> {
    return (await this.#live(record)) !== undefined;
  }

  async list(
    principal: Principal,
    query: JobQuery,
  ): Promise<{ data: JobSummary[]; next: string | null }> {
    const { buckets } = this.#services.transport;
    const pattern = decidePattern(principal, "jobs", query.tenant);
    const source = { buckets, bucket: "jobs", schema: jobRecordSchema, pattern } as const;
    return await readNewest(source, query, (record) => this.#listed(record, query));
  }

  /** Undefined when the query asks for others. A job's session knows its state better than its record, until it ends. */
  async #listed(record: JobRecord, query: JobQuery): Promise<JobSummary | undefined> {
    const { state, session_id = record.session_id } = query;
    if (session_id !== record.session_id) return undefined;
    const isHopeless = state !== undefined && isTerminal(record.state) && record.state !== state;
    if (isHopeless) return undefined;
    const summary = jobSummary(record, await this.#live(record));
    return state === undefined || summary.state === state ? summary : undefined;
  }

  /** Takes the order; the job is cancelled once its process tree is gone, which its events tell. */
  async cancel(principal: Principal, id: string, tenantNamed?: string): Promise<ApiJob> {
    requireRoute(principal, "jobs", "write");
    const record = await this.record(principal, id, tenantNamed);
    if (isTerminal(record.state)) {
      throw new BerthError("job.finished", `the job has ${record.state}`);
    }
    const { client, tuning } = this.#services;
    const user = client.actor(User, record.tenant, record.user);
    const { found } = await user.cancelJob(
      { job_id: id, by: principal.user },
      { timeoutMs: tuning.askTimeoutMs },
    );
    if (!found) throw new BerthError("job.finished");
    return jobView(record, await this.#live(record));
  }

  /** Text for the standard input of the job's agent; resolves when its executor has taken it. */
  async input(principal: Principal, id: string, text: string, tenantNamed?: string): Promise<void> {
    const { client, tuning, transport } = this.#services;
    requireRoute(principal, "jobs", "write");
    const record = await this.record(principal, id, tenantNamed);
    if (isTerminal(record.state)) throw new BerthError("job.finished");
    const { worker, attempt } = await client
      .actor(Session, record.tenant, record.session_id)
      .route({ job_id: id }, { timeoutMs: tuning.askTimeoutMs });
    const request: DownRequest = { type: "input", job_id: id, attempt, text };
    const answer = await transport.bus.request(
      subjects.down(worker),
      pack(request),
      tuning.askTimeoutMs,
    );
    const reply = downReplySchema.parse(unpack(answer));
    if (!reply.ok) throw errorFromWire(reply.error as WireError);
  }

  /** A session that does not answer leaves the record's own word standing. */
  async #live(record: JobRecord): Promise<LiveJob | undefined> {
    if (isTerminal(record.state)) return undefined;
    const { client, logger, tuning } = this.#services;
    try {
      const session = client.actor(Session, record.tenant, record.session_id);
      const options = { timeoutMs: tuning.askTimeoutMs };
      return (await session.liveJob({ job_id: record.id }, options)).job ?? undefined;
    } catch (thrown) {
      const { code } = asBerthError(thrown);
      logger.debug({ code, job: record.id }, "a session did not tell of its job");
      return undefined;
    }
  }
}
