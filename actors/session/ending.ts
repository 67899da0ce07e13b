/** The one way a job ends: each of its effects happens here, together, once. */
import { placeOf } from "../../protocols/actors/place.ts";
import { User } from "../../protocols/actors/user.ts";
import type { WireError } from "../../protocols/errors.ts";
import type { EventData, Outcome, Usage } from "../../protocols/events.ts";
import { type JobRecord, jobKey, moveJob, type TerminalState } from "../../protocols/job.ts";
import { placePeer } from "../place-peer.ts";
import { journal, markEnded, type Scene, watchName } from "./journal.ts";
import type { ActiveJob } from "./state.ts";

/** How a job ended, with what its terminal event says. */
export type Ending = {
  readonly [S in TerminalState]: { readonly state: S; readonly data: EventData<`job.${S}`> };
}[TerminalState];

/** The executor's word as an ending; a cancel is by whoever asked for it. */
export function endingOf(outcome: Outcome, cancelBy: string | null): Ending {
  if (outcome.state === "succeeded") {
    const { state, ...data } = outcome;
    return { state, data };
  }
  if (outcome.state === "failed") {
    const { state, error, ...rest } = outcome;
    return { state, data: { code: error.code, message: error.message, ...rest } };
  }
  if (outcome.state === "timed_out") {
    return { state: outcome.state, data: { limit_ms: outcome.limit_ms } };
  }
  const { state, processes_killed } = outcome;
  return { state, data: { by: cancelBy ?? "executor", processes_killed } };
}

/** Ends the job: journals the ending, completes its record, tells its user and its place. */
export function endJob(scene: Scene, job: ActiveJob, ending: Ending): void {
  const { ctx } = scene;
  const { ticket } = job;
  moveJob(job.state, ending.state);
  journal(scene, `job.${ending.state}`, ticket.job_id, ending.data);
  const usage = usageOf(ending);
  ctx.put(
    "jobs",
    jobKey(ticket.tenant, ticket.user, ticket.job_id),
    endedRecord(scene, job, ending),
    {
      patch: true,
    },
  );
  ctx.actor(User, ticket.user).finished({
    ticket,
    state: ending.state,
    agent_ms: job.started_at === null ? 0 : Math.max(0, ctx.now - job.started_at),
    input_tokens: usage?.input_tokens ?? 0,
    output_tokens: usage?.output_tokens ?? 0,
  });
  leavePlace(scene, job);
  markEnded(ctx, job);
  ctx.forget(watchName(ticket.job_id));
  delete ctx.state.jobs[ticket.job_id];
  ctx.state.last_active_at = ctx.now;
  measure(scene, job, ending.state);
}

/** Gives the slot back, or the place in the queue if the job has no slot yet. */
export function leavePlace({ ctx, options }: Scene, job: ActiveJob): void {
  const { job_id, attempt } = job.ticket;
  const place = placePeer(ctx, placeOf(options.tiers, job.ticket));
  if (job.worker === null) place.withdraw({ job_id, attempt });
  else place.released({ job_id, attempt, worker: job.worker });
}

function endedRecord({ ctx }: Scene, job: ActiveJob, ending: Ending): Partial<JobRecord> {
  const { data } = ending;
  return {
    state: ending.state,
    attempt: job.ticket.attempt,
    started_at: job.started_at,
    finished_at: ctx.state.last_event_at,
    exit_code: "exit_code" in data ? (data.exit_code ?? null) : null,
    error: errorOf(ending),
    usage: usageOf(ending) ?? null,
  };
}

function errorOf({ state, data }: Ending): WireError | null {
  if (state === "failed") return { code: data.code as WireError["code"], message: data.message };
  if (state === "timed_out") {
    return { code: "job.timed_out", message: `the job passed its limit of ${data.limit_ms} ms` };
  }
  if (state !== "interrupted") return null;
  // Clients know the one code for every loss; want of memory is a cause that they can do something about.
  const code = data.code === "worker.out_of_memory" ? data.code : "job.executor_lost";
  return { code, message: data.reason };
}

function usageOf({ data }: Ending): Usage | undefined {
  return "usage" in data ? data.usage : undefined;
}

function measure({ ctx }: Scene, { ticket, started_at }: ActiveJob, status: TerminalState): void {
  const labels = { tier: ticket.tier, agent_type: ticket.agent };
  ctx.count("berth_jobs_total", { ...labels, status });
  if (started_at === null) return;
  ctx.observe("berth_job_duration_seconds", Math.max(0, ctx.now - started_at) / 1_000, labels);
}
