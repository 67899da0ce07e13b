/**
 * What the three places share: a queue of tickets and the slots of workers.
 *
 * 1. A ticket is in the queue or on one worker, never both, until its session withdraws or releases it or the
 *    worker is lost; so a job that waits while a worker goes is kept, and gets the next one.
 * 2. Nothing is put on a worker that is draining, and only an idle worker drains.
 * 3. A worker leaves by `workerLost`, whatever ended it; until then it counts against the maximum.
 */
import { Session } from "../../protocols/actors/session.ts";
import { SUPERVISOR_KEY, Supervisor } from "../../protocols/actors/supervisor.ts";
import { User } from "../../protocols/actors/user.ts";
import type { JobTicket } from "../../protocols/job.ts";
import type { Behaviour } from "../../runtime/actor.ts";
import { decideIdle } from "../decide-idle.ts";
import type { ActorOptions } from "../options.ts";
import type { PlaceMessages } from "../place-peer.ts";
import { afterReady, decideReplacement } from "./decide-replacement.ts";
import { decideRoom } from "./decide-room.ts";
import { askFor, settle } from "./settle.ts";
import {
  type PlacePolicy,
  type PlaceScene,
  type PlaceState,
  placeStateSchema,
  placeView,
} from "./state.ts";
import { moveWorker } from "./worker-phase.ts";

export function slotDispatch(
  policy: PlacePolicy,
  options: ActorOptions,
): Behaviour<PlaceState, PlaceMessages> {
  const scene = (ctx: PlaceScene["ctx"]): PlaceScene => ({
    ctx,
    policy,
    options,
    limits: options.tiers[policy.tier],
  });
  return {
    state: placeStateSchema,
    handlers: {
      enqueue(ctx, { ticket }) {
        enqueue(scene(ctx), ticket);
        settle(scene(ctx));
      },
      withdraw(ctx, { job_id, attempt }) {
        const { state } = ctx;
        state.queue = state.queue.filter((t) => t.job_id !== job_id || t.attempt > attempt);
        settle(scene(ctx));
      },
      released(ctx, { job_id, attempt, worker }) {
        release(scene(ctx), worker, job_id, attempt);
        settle(scene(ctx));
      },
      condemn(ctx, { worker, ticket, reason }) {
        condemn(scene(ctx), worker, ticket, reason);
        settle(scene(ctx));
      },
      workerReady(ctx, { worker }) {
        ready(scene(ctx), worker);
        settle(scene(ctx));
      },
      workerLost(ctx, { worker, reason, code }) {
        lose(scene(ctx), worker, { reason, code });
        settle(scene(ctx));
      },
      idleCheck(ctx, { worker }) {
        answerIdle(scene(ctx), worker);
        settle(scene(ctx));
      },
      rest(ctx, { resting }) {
        ctx.state.resting = resting;
        settle(scene(ctx));
      },
      attached(ctx, { holds_ms }) {
        ctx.state.attached_at = ctx.now;
        ctx.state.attached_for_ms = holds_ms ?? null;
      },
      tick(ctx) {
        ctx.state.tick_at = null;
        report(scene(ctx));
        askAgain(scene(ctx));
        settle(scene(ctx), { shrink: true });
      },
      view: (ctx) => ({ place: placeView(ctx.state, policy.tier) }),
      warm: (ctx) => settle(scene(ctx)),
    },
  };
}

function enqueue({ ctx, options }: PlaceScene, ticket: JobTicket): void {
  const { state } = ctx;
  const known = (job: { readonly job_id: string; readonly attempt: number }) =>
    job.job_id === ticket.job_id && job.attempt >= ticket.attempt;
  if (state.queue.some(known)) return;
  if (Object.values(state.workers).some((worker) => worker.jobs.some(known))) return;
  const back = decideRoom(state.queue, ticket, options.place.maxQueued);
  if (back) {
    const after_ms = options.place.deferMs;
    ctx.in(back.tenant).actor(User, back.user).deferred({ ticket: back, after_ms });
    if (back === ticket) return;
    state.queue = state.queue.filter((other) => other !== back);
  }
  const before = state.queue.findLastIndex((other) => other.queued_at <= ticket.queued_at);
  state.queue.splice(before + 1, 0, ticket);
}

function release({ ctx }: PlaceScene, id: string, jobId: string, attempt: number): void {
  const worker = ctx.state.workers[id];
  if (!worker) return;
  const left = worker.jobs.filter((job) => job.job_id !== jobId || job.attempt !== attempt);
  if (left.length === worker.jobs.length) return;
  worker.jobs = left;
  worker.unreported = true;
  if (left.length > 0 || worker.phase === "draining") return;
  worker.phase = moveWorker(worker.phase, "idle");
  worker.idle_since = ctx.now;
}

/** Nothing more is put on the worker, and its supervisor ends it; its loss is then told to all its jobs. */
function condemn(
  { ctx }: PlaceScene,
  id: string,
  { job_id, attempt, session_id, tenant }: JobTicket,
  reason: string,
): void {
  const worker = ctx.state.workers[id];
  if (!worker) {
    ctx.in(tenant).actor(Session, session_id).lost({ job_id, attempt, worker: id, reason });
    return;
  }
  if (worker.phase !== "draining") {
    worker.phase = moveWorker(worker.phase, "draining");
    worker.asked_at = ctx.now;
  }
  ctx.actor(Supervisor, SUPERVISOR_KEY).retire({ worker: id, reason });
}

function ready(scene: PlaceScene, id: string): void {
  const { ctx } = scene;
  const worker = ctx.state.workers[id];
  const supervisor = ctx.actor(Supervisor, SUPERVISOR_KEY);
  if (!worker || worker.phase === "draining") {
    supervisor.retire({ worker: id, reason: "no longer wanted" });
    return;
  }
  if (worker.phase !== "starting") return;
  worker.phase = moveWorker(worker.phase, "idle");
  worker.ready_at = ctx.now;
  worker.idle_since = ctx.now;
  worker.unreported = true;
  Object.assign(ctx.state, afterReady(ctx.state));
}

function lose(
  { ctx, options }: PlaceScene,
  id: string,
  { reason, code }: { readonly reason: string; readonly code: string | undefined },
): void {
  const { state } = ctx;
  const worker = state.workers[id];
  if (!worker) return;
  moveWorker(worker.phase, "cold");
  delete state.workers[id];
  for (const { job_id, attempt, session_id, tenant } of worker.jobs) {
    ctx
      .in(tenant)
      .actor(Session, session_id)
      .lost({ job_id, attempt, worker: id, reason, ...(code === undefined ? {} : { code }) });
  }
  const { replaceBackoff } = options.place;
  Object.assign(state, decideReplacement(state, worker, ctx.now, replaceBackoff));
}

/** Says yes and drains in one turn, so that no job lands on the worker between the answer and its end (2). */
function answerIdle(scene: PlaceScene, id: string): void {
  const { ctx, limits, options } = scene;
  const worker = ctx.state.workers[id];
  const answer = (idle_since: number | null, may_go: boolean) =>
    ctx.actor(Supervisor, SUPERVISOR_KEY).idleAnswer({ worker: id, idle_since, may_go });
  if (!worker) {
    answer(null, true);
    return;
  }
  const live = Object.values(ctx.state.workers).filter(({ phase }) => phase !== "draining");
  const spare = live.length > limits.minWorkers;
  if (worker.phase !== "idle" || limits.idleTimeoutMs === null || !spare) {
    answer(worker.idle_since, worker.phase === "draining");
    return;
  }
  const verdict = decideIdle(
    {
      idleSince: worker.idle_since,
      lastSign: ctx.state.attached_at,
      signHoldsMs: ctx.state.attached_for_ms ?? options.place.attachedForMs,
    },
    limits.idleTimeoutMs,
    ctx.now,
  );
  if (!verdict.go) {
    answer(verdict.idleSince, false);
    return;
  }
  worker.phase = moveWorker(worker.phase, "draining");
  worker.asked_at = ctx.now;
  answer(worker.idle_since, true);
}

/** Tells the supervisor the loads that changed since the last tick, for the workers' records. */
function report({ ctx }: PlaceScene): void {
  for (const [id, worker] of Object.entries(ctx.state.workers)) {
    if (!worker.unreported) continue;
    worker.unreported = false;
    const jobs = worker.jobs.map((job) => job.job_id);
    const { idle_since } = worker;
    ctx.actor(Supervisor, SUPERVISOR_KEY).load({ worker: id, jobs, idle_since });
  }
}

/** A supervisor that lost its record, or was stopped, would leave the place waiting for ever. */
function askAgain(scene: PlaceScene): void {
  const { ctx, options } = scene;
  for (const [id, worker] of Object.entries(ctx.state.workers)) {
    if (ctx.now < worker.asked_at + options.place.askAgainMs) continue;
    if (worker.phase === "starting") {
      worker.asked_at = ctx.now;
      askFor(scene, id);
    } else if (worker.phase === "draining") {
      worker.asked_at = ctx.now;
      ctx.actor(Supervisor, SUPERVISOR_KEY).retire({ worker: id, reason: "no longer wanted" });
    }
  }
}
