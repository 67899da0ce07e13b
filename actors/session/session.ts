/**
 * The session actor. Its journal is the event log of its jobs.
 *
 * 1. Only this actor moves a job, by the table of `protocols/job.ts`; each move journals one event in the same commit.
 * 2. A frame is acknowledged once journaled, and journaled once: frames of an attempt come by number (`decideFrame`).
 * 3. An ended job leaves `jobs` in the turn that ends it, so nothing ends twice; what comes for it later finds nothing.
 * 4. A job whose user cancelled it never starts another attempt.
 * 5. What came before its job (a cancel on the faster lane, an assignment from another sender) is kept for it.
 */
import { placeOf } from "../../protocols/actors/place.ts";
import { Session, type SessionView } from "../../protocols/actors/session.ts";
import { BerthError, ERROR_TABLE, type ErrorCode, isErrorCode } from "../../protocols/errors.ts";
import type { Frame } from "../../protocols/executor.ts";
import type { ReceivedOf } from "../../protocols/protocol.ts";
import type { SessionRecord } from "../../protocols/records.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { placePeer } from "../place-peer.ts";
import { applyFrame, loseAttempt, orderCancel, startAttempt } from "./attempts.ts";
import { decideFrame } from "./decide-frame.ts";
import { type Ending, endJob } from "./ending.ts";
import { journal, type Scene, type SessionTurn, watch, watchName } from "./journal.ts";
import {
  type ActiveJob,
  type Birth,
  expiresAt,
  MAX_MARKS,
  sessionStateSchema,
  sessionView,
} from "./state.ts";

type Messages = (typeof Session)["messages"];
type Received<K extends keyof Messages> = ReceivedOf<Messages[K]>;

/** Times that an unreporting worker is ordered to be ended before its attempt is given up without proof. */
const MAX_CONDEMNS = 5;

export function sessionActor(options: ActorOptions): ActorDefinition {
  const scene = (ctx: SessionTurn): Scene => ({ ctx, options });
  return actor(Session, {
    state: sessionStateSchema,
    journaled: true,
    handlers: {
      create(ctx, birth) {
        if (!ctx.state.birth) bear(ctx, birth);
        return { session: view(ctx, options) };
      },
      describe: (ctx) => ({ session: sessionView(ctx, options.tiers) }),
      remove(ctx, { by }) {
        if (!ctx.state.birth) throw new BerthError("session.not_found");
        if (ctx.state.deleted) return {};
        ctx.state.deleted = true;
        ctx.put("sessions", recordKey(ctx, ctx.state.birth), { deleted: true }, { patch: true });
        for (const job of Object.values(ctx.state.jobs)) cancelJob(scene(ctx), job, by);
        return {};
      },
      liveJob(ctx, { job_id }) {
        const job = ctx.state.jobs[job_id];
        if (!job) return { job: null };
        const { state, ticket, worker, started_at } = job;
        return { job: { state, attempt: ticket.attempt, worker, started_at } };
      },
      route(ctx, { job_id }) {
        const job = ctx.state.jobs[job_id];
        if (job?.state === "running" && job.worker !== null) {
          return { worker: job.worker, attempt: job.ticket.attempt };
        }
        throw new BerthError(job ? "job.not_running" : "job.finished");
      },
      queued: (ctx, input) => queue(scene(ctx), input),
      assign: (ctx, input) => assign(scene(ctx), input),
      cancel(ctx, { job_id, by }) {
        const job = ctx.state.jobs[job_id];
        if (job) cancelJob(scene(ctx), job, by);
        else if (!hasEnded(ctx, job_id)) {
          ctx.state.early_cancels = [...ctx.state.early_cancels, { job_id, by }].slice(-MAX_MARKS);
        }
      },
      lost: (ctx, input) => lose(scene(ctx), input),
      frame: (ctx, frame) => takeFrame(scene(ctx), frame),
      runFailed: (ctx, result) => runFailed(scene(ctx), result),
      cancelFailed: (ctx, result) => cancelFailed(scene(ctx), result),
      overdue: (ctx, input) => overdue(scene(ctx), input),
    },
  });
}

function view(ctx: SessionTurn, options: ActorOptions): SessionView {
  return sessionView(ctx, options.tiers);
}

function recordKey(ctx: SessionTurn, birth: Pick<Birth, "user">): string {
  return `${ctx.self.tenant}.${birth.user}.${ctx.self.key}`;
}

function hasEnded({ state }: SessionTurn, jobId: string): boolean {
  return state.ended.some((mark) => mark.job_id === jobId);
}

function bear(ctx: SessionTurn, { title, metadata, ...rest }: Received<"create">): void {
  const birth = { ...rest, title: title ?? null, metadata: metadata ?? {}, created_at: ctx.now };
  ctx.state.birth = birth;
  ctx.state.last_active_at = ctx.now;
  const record: SessionRecord = {
    id: ctx.self.key,
    tenant: ctx.self.tenant,
    ...birth,
    deleted: false,
  };
  ctx.put("sessions", recordKey(ctx, birth), record, { create: true });
}

function queue(scene: Scene, { ticket, prompt_preview, birth }: Received<"queued">): void {
  const { ctx, options } = scene;
  const { job_id, agent, tier } = ticket;
  if (ctx.state.jobs[job_id] || hasEnded(ctx, job_id)) return;
  if (!ctx.state.birth && birth) bear(ctx, birth);
  const refusal = refusalOf(ctx, options);
  const job: ActiveJob = {
    ticket,
    preview: prompt_preview,
    state: "queued",
    worker: null,
    frame: 0,
    started_at: null,
    cancel_by: null,
    run_effect: null,
    cancel_effect: null,
    overdue: 0,
  };
  ctx.state.jobs[job_id] = job;
  ctx.state.last_active_at = ctx.now;
  journal(scene, "job.queued", job_id, { agent, tier, prompt_preview }, ticket.queued_at);
  const { cancel, assigned } = takeEarly(ctx, job_id);
  if (refusal || cancel) {
    job.worker = assigned?.worker ?? null; // so that its slot is given back
    endJob(
      scene,
      job,
      refusal ? failure(refusal) : { state: "cancelled", data: { by: cancel?.by ?? "berth" } },
    );
  } else if (assigned) {
    startAttempt(scene, job, assigned.worker);
    if (assigned.lost !== null)
      loseAttempt(scene, job, { by: "place", reason: assigned.lost, code: assigned.lost_code });
  }
}

function failure(code: ErrorCode): Ending {
  return { state: "failed", data: { code, message: ERROR_TABLE[code].title } };
}

/** Takes out what came for the job before it. */
function takeEarly({ state }: SessionTurn, jobId: string) {
  const cancel = state.early_cancels.find((early) => early.job_id === jobId);
  const assigned = state.early_assigns.find((early) => early.ticket.job_id === jobId);
  state.early_cancels = state.early_cancels.filter((early) => early !== cancel);
  state.early_assigns = state.early_assigns.filter((early) => early !== assigned);
  return { cancel, assigned };
}

/** Why this session takes no job: the gateway has asked, but time passed since. */
function refusalOf({ state, now }: SessionTurn, { tiers }: ActorOptions) {
  if (!state.birth) return "session.not_found";
  if (state.deleted) return "session.deleted";
  return now > expiresAt(state, state.birth, now, tiers) ? "session.expired" : undefined;
}

function assign(scene: Scene, { ticket, worker, place }: Received<"assign">): void {
  const { ctx, options } = scene;
  const { job_id, attempt } = ticket;
  const job = ctx.state.jobs[job_id];
  const current = job?.ticket.attempt === attempt ? job : undefined;
  if (current?.state === "queued") startAttempt(scene, current, worker);
  else if (!job && !hasEnded(ctx, job_id) && ctx.state.early_assigns.length < MAX_MARKS) {
    ctx.state.early_assigns.push({ ticket, worker, place, lost: null });
    const afterMs = options.session.startTimeoutMs;
    ctx.remind("overdue", { job_id, attempt }, { afterMs }, watchName(job_id));
  } else if (current?.worker !== worker) {
    placePeer(ctx, place).released({ job_id, attempt, worker });
  }
}

/** The job of an early assignment never came: its slot goes back. */
function releaseEarly(ctx: SessionTurn, jobId: string): void {
  const { assigned } = takeEarly(ctx, jobId);
  if (!assigned) return;
  const { ticket, worker, place } = assigned;
  placePeer(ctx, place).released({ job_id: jobId, attempt: ticket.attempt, worker });
}

function lose(scene: Scene, { job_id, attempt, worker, reason, code }: Received<"lost">): void {
  const { jobs, early_assigns } = scene.ctx.state;
  const job = jobs[job_id];
  if (job?.ticket.attempt === attempt && job.worker === worker)
    loseAttempt(scene, job, { by: "place", reason, code });
  const early = early_assigns.find((one) => one.ticket.job_id === job_id && one.worker === worker);
  if (early) Object.assign(early, { lost: reason, lost_code: code });
}

function overdue(scene: Scene, { job_id, attempt }: Received<"overdue">): void {
  const { ctx, options } = scene;
  const job = ctx.state.jobs[job_id];
  if (!job) releaseEarly(ctx, job_id);
  if (!job || job.worker === null || job.ticket.attempt !== attempt) return;
  job.overdue += 1;
  const reason = "the worker did not report in time";
  if (job.overdue > MAX_CONDEMNS) {
    ctx.log.error(
      { job: job_id, worker: job.worker },
      "a worker that does not report cannot be ended",
    );
    loseAttempt(scene, job, { by: "watchdog", reason });
    return;
  }
  // Only the end of the whole worker proves that nothing of the attempt is left.
  condemn(scene, job, reason);
  watch(scene, job, options.session.cancelTimeoutMs);
}

/** No more jobs for its worker, which is ended as a whole. */
function condemn({ ctx, options }: Scene, { ticket, worker }: ActiveJob, reason: string): void {
  if (worker === null) return;
  placePeer(ctx, placeOf(options.tiers, ticket)).condemn({ worker, ticket, reason });
}

function cancelJob(scene: Scene, job: ActiveJob, by: string): void {
  if (job.cancel_by !== null) return;
  job.cancel_by = by;
  if (job.worker === null) {
    endJob(scene, job, { state: "cancelled", data: { by } });
    return;
  }
  orderCancel(scene, job, by);
  watch(scene, job, scene.options.session.cancelTimeoutMs);
}

function takeFrame(scene: Scene, frame: Frame): { acked: number } {
  const { ctx } = scene;
  const job = ctx.state.jobs[frame.job_id];
  const { job_id, attempt } = job?.ticket ?? frame;
  const current = job && { job_id, attempt, worker: job.worker, frame: job.frame };
  const verdict = decideFrame(frame, current, ctx.state.ended);
  if (verdict === "superseded") throw new BerthError("job.superseded");
  if (verdict === "early") {
    throw new BerthError("job.not_running", `frame ${(job?.frame ?? 0) + 1} is missing`);
  }
  if (verdict === "apply" && job) applyFrame(scene, job, frame);
  return { acked: frame.frame };
}

/** The executor did not take the order. One that did and whose answer was lost sends frames: then the failure is void. */
function runFailed(scene: Scene, { effect, error }: Received<"runFailed">): void {
  const job = Object.values(scene.ctx.state.jobs).find((other) => other.run_effect === effect);
  if (job?.state !== "starting" || !error) return;
  const code = isErrorCode(error.code) ? error.code : "internal.unexpected";
  if (ERROR_TABLE[code].retry === "never" && job.cancel_by === null) {
    endJob(scene, job, { state: "failed", data: { code, message: error.message } });
    return;
  }
  if (code !== "worker.busy") orderCancel(scene, job, job.cancel_by ?? "berth");
  if (code === "worker.lost") condemn(scene, job, error.message);
  loseAttempt(scene, job, { by: "run", reason: error.message, code });
}

/**
 * A worker that is gone took the process tree with it. A worker that does not know the attempt has yet to
 * get it or has ended it: its frames will say, or the watchdog.
 */
function cancelFailed(scene: Scene, { effect, error }: Received<"cancelFailed">): void {
  const job = Object.values(scene.ctx.state.jobs).find((other) => other.cancel_effect === effect);
  if (!job || !error) return;
  if (error.code === "worker.lost" || error.code === "worker.not_found") {
    loseAttempt(scene, job, { by: "cancel", reason: error.message, code: error.code });
  }
}
