/** A worker's way from intent to removal. Each step shows it in the workers bucket. */
import {
  CAPACITY_KEY,
  Capacity,
  startWorker,
  stopWorker,
} from "../../protocols/actors/supervisor.ts";
import { ERROR_TABLE, isErrorCode } from "../../protocols/errors.ts";
import { backoffMs } from "../backoff.ts";
import { placePeer } from "../place-peer.ts";
import { decideAbsence } from "./decide-absence.ts";
import { askForHost, nextGraceEnd, rememberHome } from "./hosts.ts";
import { armIdle, idleName } from "./idling.ts";
import { type OwnedWorker, show, type Yard } from "./state.ts";
import { moveState } from "./worker-state.ts";
import { claimWorkspace, keepWorkspace } from "./workspaces.ts";

interface Failure {
  readonly code: string;
  readonly message: string;
}

export function acquire({ ctx }: Yard, { spec }: OwnedWorker): void {
  const { worker, tier, user } = spec;
  const { tenant } = ctx.self;
  ctx.actor(Capacity, CAPACITY_KEY).acquire({ worker, tier, tenant, user: user ?? "" });
}

/** Capacity let it start; it does so once its host is chosen and its workspace is not being removed. */
export function begin(yard: Yard, worker: OwnedWorker): void {
  const { ctx } = yard;
  const { spec, host } = worker;
  worker.granted = true;
  if (host === null) {
    if (worker.effect === null) askForHost(yard, worker);
    return;
  }
  if (!claimWorkspace(yard, spec.workspace_key)) return;
  worker.granted = false;
  worker.state = moveState(worker.state, "starting");
  worker.starts += 1;
  worker.effect = ctx.execute(startWorker, { spec, host }, { reply: "started" });
  show(yard, worker);
}

/** For good (5): another try meets what an earlier one has left. */
export function takeHost(yard: Yard, worker: OwnedWorker, host: string): void {
  worker.effect = null;
  worker.host = host;
  if (worker.granted) begin(yard, worker);
}

/** Nobody could host it: a failed start, if it was its turn; else it is asked again when that comes. */
export function failChoice(yard: Yard, worker: OwnedWorker, error: Failure): void {
  worker.effect = null;
  if (!worker.granted) return;
  worker.granted = false;
  worker.starts += 1;
  failStart(yard, worker, error);
}

export function becomeReady(
  yard: Yard,
  worker: OwnedWorker,
  at: { readonly host: string; readonly driver: string },
): void {
  const { ctx } = yard;
  const id = worker.spec.worker;
  worker.host = at.host;
  worker.driver = at.driver;
  worker.effect = null;
  ctx.actor(Capacity, CAPACITY_KEY).settled({ worker: id });
  worker.state = moveState(worker.state, "ready");
  worker.ready_at = ctx.now;
  worker.idle_since = ctx.now;
  if (worker.leaving !== null) {
    stop(yard, worker, worker.leaving);
    return;
  }
  rememberHome(yard, worker);
  placePeer(ctx, worker.place).workerReady({ worker: id });
  armIdle(yard, worker);
  armSweep(yard);
  show(yard, worker);
}

/** Tries again after a pause, from the gate on; or gives up, and clears away what may stand half. */
export function failStart(yard: Yard, worker: OwnedWorker, error: Failure): void {
  const { ctx, options } = yard;
  worker.effect = null;
  const code = isErrorCode(error.code) ? error.code : "internal.unexpected";
  const hopeless =
    ERROR_TABLE[code].retry === "never" || worker.starts >= options.supervisor.maxStarts;
  if (hopeless || worker.leaving !== null) {
    const reason = worker.leaving ?? error.message;
    if (worker.state === "wanted") vanish(yard, worker, { reason });
    else stop(yard, worker, reason);
    return;
  }
  const id = worker.spec.worker;
  if (worker.state === "starting") worker.state = moveState(worker.state, "wanted");
  ctx.actor(Capacity, CAPACITY_KEY).release({ worker: id });
  const afterMs = backoffMs(worker.starts, options.supervisor.startBackoff);
  ctx.remind("retryStart", { worker: id }, { afterMs }, retryName(id));
  show(yard, worker);
}

export function stop(yard: Yard, worker: OwnedWorker, reason: string): void {
  worker.leaving = reason;
  worker.state = moveState(worker.state, "stopping");
  yard.ctx.forget(idleName(worker.spec.worker));
  orderStop(yard, worker);
  show(yard, worker);
}

export function orderStop({ ctx }: Yard, worker: OwnedWorker): void {
  const { spec, host } = worker;
  worker.stops += 1;
  worker.effect = ctx.execute(
    stopWorker,
    {
      worker: spec.worker,
      host,
      reason: worker.leaving ?? "stopped",
      keep_workspace: spec.workspace !== "job",
    },
    { reply: "stopped" },
  );
}

/**
 * A stop that failed is ordered again; past the bound the worker is given up, for its place must go on. It has no record
 * then, so its host ends it when it compares.
 */
export function failStop(yard: Yard, worker: OwnedWorker, message: string): void {
  const { ctx, options } = yard;
  worker.effect = null;
  const id = worker.spec.worker;
  if (worker.stops >= options.supervisor.maxStops) {
    ctx.log.error(
      { worker: id, host: worker.host, reason: message },
      "a worker could not be stopped",
    );
    vanish(yard, worker, { reason: worker.leaving ?? message });
    return;
  }
  const afterMs = backoffMs(worker.stops, options.supervisor.startBackoff);
  ctx.remind("retryStart", { worker: id }, { afterMs }, retryName(id));
}

/** Its host has no lease. Only what may still run a job is waited for; the host ends the others when it is back. */
export function stopAway(yard: Yard, worker: OwnedWorker): void {
  const { ctx, options } = yard;
  const id = worker.spec.worker;
  worker.effect = null;
  const mayRun = worker.ready_at !== null && worker.jobs.length > 0;
  const { hostGraceMs, sweepMs } = options.supervisor;
  const verdict = decideAbsence(worker.away_since, mayRun ? hostGraceMs : 0, ctx.now);
  if (verdict.gone) {
    vanish(yard, worker, { reason: worker.leaving ?? "its host is gone" });
    return;
  }
  worker.away_since = verdict.since;
  const at = Math.min(verdict.askAt, ctx.now + sweepMs);
  ctx.remind("retryStart", { worker: id }, { at }, retryName(id));
}

/** The worker is no more: nothing of it is left but, perhaps, its workspace. `code` says how it ended by itself. */
export function vanish(
  yard: Yard,
  worker: OwnedWorker,
  { reason, code }: { readonly reason: string; readonly code?: string | undefined },
): void {
  const { ctx } = yard;
  const id = worker.spec.worker;
  const { host, jobs, leaving, state } = worker;
  const fields = { worker: id, host, state, leaving, jobs, reason, code };
  // One that was to go, or never came, is no news.
  if (state === "ready" && leaving === null) ctx.log.warn(fields, "a worker is lost");
  else ctx.log.info(fields, "a worker is gone");
  moveState(state, "gone");
  delete ctx.state.workers[id];
  ctx.forget(idleName(id));
  ctx.forget(retryName(id));
  ctx.actor(Capacity, CAPACITY_KEY).release({ worker: id });
  placePeer(ctx, worker.place).workerLost({
    worker: id,
    reason,
    ...(code === undefined ? {} : { code }),
  });
  ctx.put("workers", id, undefined);
  if (host !== null) keepWorkspace(yard, worker);
}

function retryName(worker: string): string {
  return `retry-${worker}`;
}

/** One sweep at a time, and none while no worker is ready (R9). */
export function armSweep({ ctx, options }: Yard): void {
  const live = Object.values(ctx.state.workers).some(({ state }) => state === "ready");
  if (!live || ctx.state.sweeping) return;
  ctx.state.sweeping = true;
  ctx.remind("sweep", {}, { afterMs: options.supervisor.sweepMs });
}

/** Brings the next sweep forward to the moment at which an absent worker counts as gone. */
export function hurrySweep(yard: Yard): void {
  const { ctx, options } = yard;
  const at = nextGraceEnd(yard);
  if (at === null || at >= ctx.now + options.supervisor.sweepMs) return;
  ctx.state.sweeping = true;
  ctx.remind("sweep", {}, { at });
}
