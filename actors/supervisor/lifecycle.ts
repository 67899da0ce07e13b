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
import { armIdle, idleName } from "./idling.ts";
import { type OwnedWorker, show, type Yard } from "./state.ts";
import { moveState } from "./worker-state.ts";
import { claimWorkspace, keepWorkspace } from "./workspaces.ts";

export function acquire({ ctx }: Yard, { spec }: OwnedWorker): void {
  const { worker, tier, user } = spec;
  const { tenant } = ctx.self;
  ctx.actor(Capacity, CAPACITY_KEY).acquire({ worker, tier, tenant, user: user ?? "" });
}

/** Capacity let it start; it does so once its workspace is not being removed. */
export function begin(yard: Yard, worker: OwnedWorker): void {
  const { ctx } = yard;
  worker.granted = true;
  if (!claimWorkspace(yard, worker.spec.workspace_key)) return;
  worker.granted = false;
  worker.state = moveState(worker.state, "starting");
  worker.starts += 1;
  worker.effect = ctx.execute(startWorker, { spec: worker.spec }, { reply: "started" });
  show(yard, worker);
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
  placePeer(ctx, worker.place).workerReady({ worker: id });
  armIdle(yard, worker);
  armSweep(yard);
  show(yard, worker);
}

/** Tries again after a pause, from the gate on; or gives up, and clears away what may stand half. */
export function failStart(
  yard: Yard,
  worker: OwnedWorker,
  error: { readonly code: string; readonly message: string },
): void {
  const { ctx, options } = yard;
  worker.effect = null;
  const code = isErrorCode(error.code) ? error.code : "internal.unexpected";
  const hopeless =
    ERROR_TABLE[code].retry === "never" || worker.starts >= options.supervisor.maxStarts;
  if (hopeless || worker.leaving !== null) {
    stop(yard, worker, worker.leaving ?? error.message);
    return;
  }
  const id = worker.spec.worker;
  worker.state = moveState(worker.state, "wanted");
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

/** A stop that failed is ordered again; past the bound the worker is given up, for its place must go on. */
export function failStop(yard: Yard, worker: OwnedWorker, message: string): void {
  const { ctx, options } = yard;
  worker.effect = null;
  const id = worker.spec.worker;
  if (worker.stops >= options.supervisor.maxStops) {
    ctx.log.error(
      { worker: id, host: worker.host, reason: message },
      "a worker could not be stopped",
    );
    vanish(yard, worker, worker.leaving ?? message);
    return;
  }
  const afterMs = backoffMs(worker.stops, options.supervisor.startBackoff);
  ctx.remind("retryStart", { worker: id }, { afterMs }, retryName(id));
}

/** The worker is no more: nothing of it is left but, perhaps, its workspace. */
export function vanish(yard: Yard, worker: OwnedWorker, reason: string): void {
  const { ctx } = yard;
  const id = worker.spec.worker;
  moveState(worker.state, "gone");
  delete ctx.state.workers[id];
  ctx.forget(idleName(id));
  ctx.forget(retryName(id));
  ctx.actor(Capacity, CAPACITY_KEY).release({ worker: id });
  placePeer(ctx, worker.place).workerLost({ worker: id, reason });
  ctx.put("workers", id, undefined);
  if (worker.host !== null) keepWorkspace(yard, worker);
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
