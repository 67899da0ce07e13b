/**
 * The user actor: the door of a user's jobs, and the count of its requests.
 *
 * 1. A job is accepted once per id: its record, its session's `queued` and its place in the queue commit together.
 * 2. The queue holds tickets only; the prompt goes to the jobs bucket.
 * 3. Every accepted job leaves the lists by `finished`, which its session sends exactly once.
 * 4. Permits that can be used within one window, wherever it begins, are never more than the tier's limit: they are committed before
 *    a gateway has them.
 */
import { placeOf } from "../../protocols/actors/place.ts";
import { Session } from "../../protocols/actors/session.ts";
import { User } from "../../protocols/actors/user.ts";
import { providersOf } from "../../protocols/credentials.ts";
import { BerthError, type ErrorCode } from "../../protocols/errors.ts";
import { type JobRecord, jobKey } from "../../protocols/job.ts";
import type { ReceivedOf } from "../../protocols/protocol.ts";
import type { TierLimits } from "../../protocols/tiers.ts";
import { type ActorDefinition, actor, type Context } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { placePeer } from "../place-peer.ts";
import { showQueue } from "../show-queue.ts";
import { decideAdmission } from "./decide-admission.ts";
import { decideNext } from "./decide-next.ts";
import { decidePermits } from "./decide-permits.ts";
import {
  acceptedAt,
  limitsView,
  ticketOf,
  type UserJob,
  type UserState,
  usageView,
  userStateSchema,
} from "./state.ts";

type Messages = (typeof User)["messages"];
type Turn = Context<UserState, Messages>;
type Submitted = ReceivedOf<Messages["submit"]>;

/** Clients try again within seconds; this is many times what a user submits in that time. */
const MAX_RECENT = 200;
const PREVIEW_CHARS = 120;
const SUSPENDED: ErrorCode = "tenant.suspended";

export function userActor(options: ActorOptions): ActorDefinition {
  const { tiers, quotaWindowMs: windowMs, requestWindowMs } = options;
  const viewAt = (now: number) => ({ now, tiers, windowMs, requestWindowMs });
  return actor(User, {
    state: userStateSchema,
    handlers: {
      submit(ctx, input) {
        const createdAt = admit(ctx, input, options);
        showWaiting(ctx);
        const waitsAt = ctx.state.waiting.findIndex((job) => job.job === input.job.id);
        return {
          created_at: createdAt,
          position: Math.max(0, waitsAt),
          limits: limitsView(ctx.state, input.job.tier, viewAt(ctx.now)),
        };
      },
      permits(ctx, { ended = [], tier }) {
        const limit = tiers[tier].requestsPerMinute;
        const given = decidePermits(
          ctx.state.requests,
          { now: ctx.now, ended },
          { limit, windowMs: requestWindowMs },
        );
        ctx.state.requests = given.ledger;
        return {
          granted: given.granted,
          limit,
          remaining: given.remaining,
          window: given.block,
          reset_ms: given.granted > 0 ? given.goodMs : given.freesMs,
          frees_ms: given.freesMs,
          window_ms: requestWindowMs,
        };
      },
      cancelJob(ctx, { job_id, by }) {
        const { state } = ctx;
        const waiting = take(state.waiting, job_id);
        if (waiting) state.ending.push(waiting);
        showWaiting(ctx, waiting);
        const open = [...state.running, ...state.ending].find((job) => job.job === job_id);
        if (!open) return { found: false };
        ctx.actor(Session, open.session).cancel({ job_id, by });
        return { found: true };
      },
      limits: (ctx, { tier }) => ({ limits: limitsView(ctx.state, tier, viewAt(ctx.now)) }),
      usage: (ctx) => ({ usage: usageView(ctx.state, ctx.now) }),
      active(ctx) {
        const row = (waiting: boolean) => (job: UserJob) => ({
          job_id: job.job,
          session_id: job.session,
          waiting,
        });
        const { running, ending, waiting } = ctx.state;
        return { jobs: [...[...running, ...ending].map(row(false)), ...waiting.map(row(true))] };
      },
      finished(ctx, end) {
        for (const list of [ctx.state.waiting, ctx.state.running, ctx.state.ending]) {
          take(list, end.ticket.job_id);
        }
        const { usage } = ctx.state;
        usage.jobs[end.state] = (usage.jobs[end.state] ?? 0) + 1;
        usage.agent_ms += end.agent_ms;
        usage.input_tokens += end.input_tokens;
        usage.output_tokens += end.output_tokens;
        pump(ctx, options);
        showWaiting(ctx, end.ticket);
      },
      deferred(ctx, { ticket, after_ms }) {
        const job = take(ctx.state.running, ticket.job_id);
        if (!job) return;
        const { waiting } = ctx.state;
        const next = waiting.findIndex((other) => other.at >= job.at);
        waiting.splice(next === -1 ? waiting.length : next, 0, job);
        ctx.state.held_until = ctx.now + after_ms;
        ctx.remind("offer", {}, { afterMs: after_ms });
        showWaiting(ctx);
      },
      stand(ctx, { suspended }) {
        ctx.state.suspended = suspended;
        if (suspended) cancelAll(ctx);
      },
      offer(ctx) {
        ctx.state.held_until = 0;
        pump(ctx, options);
        showWaiting(ctx);
      },
    },
  });
}

/** Accepts the job or throws what refuses it; returns when it was first accepted (1). */
function admit(ctx: Turn, submitted: Submitted, options: ActorOptions): number {
  const { state, now } = ctx;
  const { job } = submitted;
  const limits = options.tiers[job.tier];
  const verdict = decideAdmission(
    {
      now,
      window: state.window,
      waiting: state.waiting.length,
      knownSince: acceptedAt(state, job.id),
    },
    { ...limits, windowMs: options.quotaWindowMs },
  );
  if (verdict.type === "known") return verdict.createdAt;
  if (state.suspended) throw new BerthError("tenant.suspended");
  if (verdict.type === "queue-full") {
    throw new BerthError("quota.queue_full", `${limits.queuedJobs} jobs are waiting already`);
  }
  if (verdict.type === "over-quota") {
    const message = `${limits.jobsPerHour} jobs per hour are accepted on this tier`;
    throw new BerthError("quota.hourly", message, { retryAfterMs: verdict.retryAfterMs });
  }
  state.window = verdict.window;
  state.usage.since ??= now;
  state.recent.push([job.id, now]);
  if (state.recent.length > MAX_RECENT) state.recent.shift();
  accept(ctx, submitted, limits);
  pump(ctx, options);
  return now;
}

/** Whoever reads the jobs' last events finds the code of what ended them. */
function cancelAll(ctx: Turn): void {
  const { state } = ctx;
  const [last] = state.waiting;
  state.ending.push(...state.waiting.splice(0));
  showWaiting(ctx, last);
  for (const { job, session } of [...state.running, ...state.ending]) {
    ctx.actor(Session, session).cancel({ job_id: job, by: SUSPENDED });
  }
}

function accept(ctx: Turn, { job, new_session }: Submitted, limits: TierLimits): void {
  const { tenant, key: user } = ctx.self;
  const { id, session_id: session, agent, tier } = job;
  const { traceparent } = ctx;
  const trace = traceparent === undefined ? {} : { traceparent };
  const holdsKeys = providersOf(agent).length > 0 || (job.credentials ?? []).length > 0;
  const keys = holdsKeys ? { keys: true } : {};
  const entry = { job: id, session, agent, tier, at: ctx.now, ...keys, ...trace };
  ctx.state.waiting.push(entry);
  ctx.put("jobs", jobKey(tenant, user, id), jobRecord(ctx, job, limits), { create: true });
  ctx.actor(Session, session).queued({
    ticket: ticketOf(ctx.self, entry),
    prompt_preview: preview(job.prompt),
    ...(new_session ? { birth: { user, agent, tier, ...new_session } } : {}),
  });
}

/** The prompt's beginning; no half of a surrogate pair at its end. */
function preview(prompt: string): string {
  return prompt.slice(0, PREVIEW_CHARS).replace(/[\uD800-\uDBFF]$/, "");
}

function jobRecord(ctx: Turn, job: Submitted["job"], limits: TierLimits): JobRecord {
  return {
    ...job,
    tenant: ctx.self.tenant,
    user: ctx.self.key,
    timeout_ms: timeLimit(job.timeout_ms, limits.jobTimeoutMs),
    created_at: ctx.now,
    state: "queued",
    attempt: 1,
    started_at: null,
    finished_at: null,
    exit_code: null,
    error: null,
    usage: null,
  };
}

/** The shorter of what was asked for and what the tier allows; null is no limit. */
export function timeLimit(askedMs: number | null, tierMs: number | null): number | null {
  if (askedMs === null || tierMs === null) return askedMs ?? tierMs;
  return Math.min(askedMs, tierMs);
}

/** Offers what may run to the jobs' places. A tier without a limit still offers no more than its queue's bound. */
function pump(ctx: Turn, { tiers }: ActorOptions): void {
  if (ctx.now < ctx.state.held_until) return;
  const next = decideNext(ctx.state.waiting, ctx.state.running, ({ tier }, running) => {
    const { concurrentJobs, queuedJobs } = tiers[tier];
    return running < (concurrentJobs ?? queuedJobs);
  });
  if (next.length === 0) return;
  const taken = new Set(next);
  ctx.state.waiting = ctx.state.waiting.filter((job) => !taken.has(job));
  for (const job of next) {
    ctx.state.running.push(job);
    const ticket = ticketOf(ctx.self, job);
    placePeer(ctx, placeOf(tiers, ticket)).enqueue({ ticket });
  }
}

/** A user's jobs are of one tier, but for a change of it in between: the oldest that waits stands for all. */
function showWaiting(ctx: Turn, last?: Pick<UserJob, "tier">): void {
  const { waiting } = ctx.state;
  const tier = waiting[0]?.tier ?? last?.tier ?? "free";
  showQueue(ctx, tier, waiting.length, waiting[0]?.at ?? ctx.now);
}

/** Removes and returns the job, if it is in the list. */
function take(list: UserJob[], jobId: string): UserJob | undefined {
  const at = list.findIndex((job) => job.job === jobId);
  return at === -1 ? undefined : list.splice(at, 1)[0];
}
