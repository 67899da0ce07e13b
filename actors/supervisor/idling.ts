/** The idle time-out: first the worker's CPU, then its place, which alone can promise that no job is coming. */
import { verifyWorkers } from "../../protocols/actors/supervisor.ts";
import { usedCpu } from "../decide-idle.ts";
import { placePeer } from "../place-peer.ts";
import type { OwnedWorker, Yard } from "./state.ts";

export function idleName(worker: string): string {
  return `idle-${worker}`;
}

function idleTimeoutMs({ options }: Yard, { spec }: OwnedWorker): number | null {
  return options.tiers[spec.tier].idleTimeoutMs;
}

/** Looks again when the time-out, counted from `quietSince`, has passed. */
export function armIdle(yard: Yard, worker: OwnedWorker, quietSince = yard.ctx.now): void {
  const timeoutMs = idleTimeoutMs(yard, worker);
  if (timeoutMs === null) return;
  const due = quietSince + timeoutMs;
  const at = due > yard.ctx.now ? due : yard.ctx.now + timeoutMs;
  const id = worker.spec.worker;
  yard.ctx.remind("idleDue", { worker: id }, { at }, idleName(id));
}

export function idleDue({ ctx }: Yard, worker: OwnedWorker): void {
  if (worker.state !== "ready") return;
  const workers = [{ worker: worker.spec.worker, host: worker.host }];
  worker.idle_effect = ctx.execute(verifyWorkers, { workers }, { reply: "verified" });
}

/** Notes a reading of the CPU time of the worker's agents. */
export function noteCpu({ ctx, options }: Yard, worker: OwnedWorker, cpuMs: number): void {
  const reading = { cpuMs, at: ctx.now };
  if (usedCpu(worker.cpu, reading, options.supervisor.activeCpuShare))
    worker.cpu_active_at = ctx.now;
  worker.cpu = reading;
}

/** The readings are in: a worker whose agents were quiet asks its place, another is looked at later. */
export function afterReading(yard: Yard, worker: OwnedWorker): void {
  worker.idle_effect = null;
  const timeoutMs = idleTimeoutMs(yard, worker);
  if (worker.state !== "ready" || timeoutMs === null) return;
  const quietSince = worker.cpu_active_at;
  if (quietSince !== null && yard.ctx.now < quietSince + timeoutMs) {
    armIdle(yard, worker, quietSince);
    return;
  }
  placePeer(yard.ctx, worker.place).idleCheck({ worker: worker.spec.worker });
}
