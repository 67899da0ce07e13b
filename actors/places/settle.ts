/** What a place does at the end of each turn: fill free slots, keep the right number of workers, set its tick. */
import { Session } from "../../protocols/actors/session.ts";
import { SUPERVISOR_KEY, Supervisor } from "../../protocols/actors/supervisor.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { showQueue } from "../show-queue.ts";
import { decideDispatch } from "./decide-dispatch.ts";
import { decideScaling } from "./decide-scaling.ts";
import { minWorkers, type PlaceScene, type SlotWorker } from "./state.ts";
import { moveWorker } from "./worker-phase.ts";

/** `shrink`: whether idle workers may go now. Only ticks do that, so that a short lull costs no cold start. */
export function settle(
  scene: PlaceScene,
  options: { readonly shrink: boolean } = { shrink: false },
): void {
  dispatch(scene);
  rest(scene);
  scale(scene, options.shrink);
  armTick(scene);
  const { queue } = scene.ctx.state;
  showQueue(scene.ctx, scene.policy.tier, queue.length, queue[0]?.queued_at ?? scene.ctx.now);
}

function dispatch({ ctx, limits, options }: PlaceScene): void {
  const { state } = ctx;
  const slots = Object.entries(state.workers)
    .filter(([, { phase }]) => phase === "idle" || phase === "busy")
    .map(([worker, { jobs }]) => ({
      worker,
      free: Math.max(0, limits.slotsPerWorker - jobs.length),
      jobs,
    }));
  const { assignments, queue, rotation } = decideDispatch(
    { queue: state.queue, rotation: state.rotation, slots, now: ctx.now },
    { priorityOf: (tier) => options.tiers[tier].priority, agePerSecond: options.agePerSecond },
  );
  state.queue = queue;
  state.rotation = rotation;
  for (const { ticket, worker } of assignments) {
    const held = state.workers[worker];
    if (!held) continue;
    const { job_id, attempt, session_id, tenant, user, keys = false } = ticket;
    held.jobs.push({ job_id, attempt, session_id, tenant, user, keys });
    if (held.phase === "idle") held.phase = moveWorker(held.phase, "busy");
    held.idle_since = null;
    held.unreported = true;
    const peers = ctx.in(tenant, ticket.traceparent);
    peers.actor(Session, session_id).assign({ ticket, worker, place: ctx.self });
  }
}

/** What is idle behind the dispatch has nothing to wait for in a place that rests. */
function rest(scene: PlaceScene): void {
  const { resting, workers } = scene.ctx.state;
  if (!resting) return;
  for (const [id, worker] of Object.entries(workers)) {
    if (worker.phase === "idle") letGo(scene, id, worker, "its place rests");
  }
}

function scale(scene: PlaceScene, shrink: boolean): void {
  const { ctx, policy, limits } = scene;
  const phases = Object.values(ctx.state.workers).map((worker) => worker.phase);
  const count = (phase: SlotWorker["phase"]) => phases.filter((other) => other === phase).length;
  const draining = count("draining");
  const change = decideScaling(
    {
      queue: Math.ceil(ctx.state.queue.length / limits.slotsPerWorker),
      idle: count("idle"),
      starting: count("starting"),
      count: phases.length - draining,
      draining,
    },
    { min: minWorkers(scene), max: limits.maxWorkers },
  );
  if (change > 0 && ctx.now >= ctx.state.held_until) {
    for (let n = 0; n < change; n += 1) addWorker(scene);
  }
  if (change < 0 && shrink && policy.shrinks) {
    const idle = Object.entries(ctx.state.workers).filter(([, { phase }]) => phase === "idle");
    for (const [id, worker] of idle.slice(change)) letGo(scene, id, worker, "the pool shrinks");
  }
}

/** Every incarnation has a new id, so that nothing meant for a dead worker reaches a living one. */
function addWorker(scene: PlaceScene): void {
  const id = scene.ctx.newId("wrk");
  scene.ctx.state.workers[id] = {
    phase: moveWorker("cold", "starting"),
    jobs: [],
    ready_at: null,
    idle_since: null,
    asked_at: scene.ctx.now,
    unreported: false,
  };
  askFor(scene, id);
}

/** Asks the supervisor for a worker; asking again for the same one does no harm. */
export function askFor({ ctx, policy, limits }: PlaceScene, worker: string): void {
  const spec: WorkerSpec = {
    worker,
    tenant: ctx.self.tenant,
    tier: policy.tier,
    slots: limits.slotsPerWorker,
    workspace: limits.workspace,
    cpus: limits.cpus,
    memory_bytes: limits.memoryBytes,
    storage_bytes: limits.storageBytes,
    processes: limits.processes,
    network: limits.network,
    internet: limits.internet,
    ...policy.owner(ctx.self, worker),
  };
  ctx.actor(Supervisor, SUPERVISOR_KEY).ensure({ spec, place: ctx.self });
}

function letGo({ ctx }: PlaceScene, id: string, worker: SlotWorker, reason: string): void {
  worker.phase = moveWorker(worker.phase, "draining");
  worker.asked_at = ctx.now;
  ctx.actor(Supervisor, SUPERVISOR_KEY).retire({ worker: id, reason });
}

/** A place at rest has no reminder (R9); a busy one moves its tick earlier, never later, or it would never come. */
function armTick(scene: PlaceScene): void {
  const { ctx, policy, options } = scene;
  const { state } = ctx;
  const min = minWorkers(scene);
  const workers = Object.values(state.workers);
  const wishes: number[] = [];
  if (workers.some((worker) => worker.unreported)) wishes.push(ctx.now + options.place.reportMs);
  if (state.queue.length > 0 && state.held_until > ctx.now) wishes.push(state.held_until);
  if (workers.length < min && state.held_until > ctx.now) wishes.push(state.held_until);
  const moving = workers.some(({ phase }) => phase === "starting" || phase === "draining");
  const spare = policy.shrinks && workers.length > min;
  if (moving || spare) wishes.push(ctx.now + options.place.tickMs);
  if (wishes.length === 0) return;
  const at = Math.min(...wishes);
  if (state.tick_at !== null && state.tick_at <= at) return;
  state.tick_at = at;
  ctx.remind("tick", {}, { at });
}
