/** An attempt from its assignment to its last frame, and what is done when it is lost. */
import { placeOf } from "../../protocols/actors/place.ts";
import { cancelAttempt, runAttempt } from "../../protocols/actors/session.ts";
import type { DraftEvent, EventData } from "../../protocols/events.ts";
import type { Frame } from "../../protocols/executor.ts";
import { moveJob } from "../../protocols/job.ts";
import { placePeer } from "../place-peer.ts";
import { decideRetry } from "./decide-retry.ts";
import { endingOf, endJob, leavePlace } from "./ending.ts";
import { journal, markEnded, type Scene, watch, watchName } from "./journal.ts";
import type { ActiveJob } from "./state.ts";

export function startAttempt(scene: Scene, job: ActiveJob, worker: string): void {
  const { ctx, options } = scene;
  const { ticket } = job;
  job.state = moveJob(job.state, "starting");
  job.worker = worker;
  journal(scene, "job.starting", ticket.job_id, { worker, attempt: ticket.attempt });
  job.run_effect = ctx.execute(
    runAttempt,
    {
      worker,
      job_id: ticket.job_id,
      session_id: ticket.session_id,
      tenant: ticket.tenant,
      user: ticket.user,
      attempt: ticket.attempt,
      ...(ctx.state.agent_session === null ? {} : { agent_session: ctx.state.agent_session }),
    },
    { failed: "runFailed" },
  );
  watch(scene, job, options.session.startTimeoutMs);
  ctx.observe("berth_queue_wait_seconds", Math.max(0, ctx.now - ticket.queued_at) / 1_000, {
    tier: ticket.tier,
  });
}

/** Orders the worker to kill the attempt. The session waits for its report: only the executor knows that all is gone. */
export function orderCancel({ ctx }: Scene, job: ActiveJob, by: string): void {
  if (job.worker === null) return;
  const { job_id, attempt } = job.ticket;
  job.cancel_effect = ctx.execute(
    cancelAttempt,
    { worker: job.worker, job_id, attempt, by },
    { failed: "cancelFailed" },
  );
}

/** Journals a frame that is due: its events, and the ending on the last one. */
export function applyFrame(scene: Scene, job: ActiveJob, frame: Frame): void {
  job.frame = frame.frame;
  if (frame.agent_session !== undefined) scene.ctx.state.agent_session = frame.agent_session;
  for (const event of frame.events) applyEvent(scene, job, event);
  if (frame.outcome) endJob(scene, job, endingOf(frame.outcome, job.cancel_by));
}

function applyEvent(scene: Scene, job: ActiveJob, event: DraftEvent): void {
  if (event.type === "job.started") {
    const { pid } = event.data;
    markStarted(scene, job, event.at, typeof pid === "number" ? { pid } : {});
    return;
  }
  markStarted(scene, job, event.at, {});
  const { job_id } = job.ticket;
  journal(scene, event.type, job_id, event.data as EventData<typeof event.type>, event.at);
}

/** The first event of an attempt says that its agent runs, whichever event it is. */
function markStarted(
  scene: Scene,
  job: ActiveJob,
  at: number,
  more: { readonly pid?: number },
): void {
  if (job.state !== "starting" || job.worker === null) return;
  const { ctx, options } = scene;
  const { job_id, attempt, tier } = job.ticket;
  job.state = moveJob(job.state, "running");
  journal(scene, "job.started", job_id, { worker: job.worker, attempt, ...more }, at);
  job.started_at = ctx.state.last_event_at;
  if (job.cancel_by !== null) {
    orderCancel(scene, job, job.cancel_by); // the first order may have overtaken the job on its way
    return;
  }
  const limitMs = options.tiers[tier].jobTimeoutMs;
  if (limitMs === null) ctx.forget(watchName(job_id));
  else watch(scene, job, limitMs + options.session.overtimeMs);
}

/** Why an attempt is lost, and how its worker ended where that is known. */
export interface Loss {
  /** Whose word it is: what its place was told of the worker, the failure of an order to it, or that nothing came in time. */
  readonly by: "place" | "run" | "cancel" | "watchdog";
  readonly reason: string;
  readonly code?: string | undefined;
}

/** The attempt will not report any more: the job ends, or is queued again (`decideRetry`). */
export function loseAttempt(scene: Scene, job: ActiveJob, loss: Loss): void {
  const verdict = decideRetry(
    {
      attempt: job.ticket.attempt,
      started: job.started_at !== null,
      cancelRequested: job.cancel_by !== null,
    },
    scene.options.session.maxAttempts,
  );
  const { by, code, reason } = loss;
  const { job_id, attempt } = job.ticket;
  const fields = { job: job_id, attempt, worker: job.worker, state: job.state, by, code, reason };
  scene.ctx.log.warn({ ...fields, verdict }, "an attempt is lost");
  if (verdict === "retry") retry(scene, job, loss);
  else if (verdict === "cancelled") {
    endJob(scene, job, { state: "cancelled", data: { by: job.cancel_by ?? "berth" } });
  } else endJob(scene, job, { state: "interrupted", data: { ...told(loss), will_retry: false } });
}

function told({ reason, code }: Omit<Loss, "by">): {
  readonly reason: string;
  readonly code?: string;
} {
  return code === undefined ? { reason } : { reason, code };
}

function retry(scene: Scene, job: ActiveJob, loss: Loss): void {
  const { ctx, options } = scene;
  const { ticket } = job;
  journal(scene, "job.interrupted", ticket.job_id, { ...told(loss), will_retry: true });
  leavePlace(scene, job);
  markEnded(ctx, job);
  ctx.forget(watchName(ticket.job_id));
  const next: ActiveJob = {
    ...job,
    ticket: { ...ticket, attempt: ticket.attempt + 1 },
    state: moveJob(job.state, "queued"),
    worker: null,
    frame: 0,
    started_at: null,
    run_effect: null,
    cancel_effect: null,
    overdue: 0,
  };
  ctx.state.jobs[ticket.job_id] = next;
  journal(scene, "job.queued", ticket.job_id, {
    agent: ticket.agent,
    tier: ticket.tier,
    prompt_preview: job.preview,
    attempt: next.ticket.attempt,
  });
  placePeer(ctx, placeOf(options.tiers, next.ticket)).enqueue({ ticket: next.ticket });
}
