/**
 * The tenant supervisor: owns every worker of its tenant.
 *
 * 1. The intent is recorded before anything is created: a worker that stands without a record is nobody's.
 * 2. A worker passes capacity's gate before each start, and gives its place there back when it is gone.
 * 3. Its place hears `workerReady` at most once while it lives and `workerLost` once at its end, whatever ended it.
 * 4. A worker id is used once; answers of tools count only if they are of the newest call (`effect`).
 * 5. Its host is chosen once and recorded before anything is created there: a start that is tried again meets what an
 *    earlier try has left, so one incarnation never lives twice.
 * 6. A worker whose host has no lease is kept: it outlives its host. It counts as gone when its host is back and says so,
 *    or when it has not answered itself for `hostGraceMs`, in which it has ended itself.
 */

import { DedicatedFleet } from "../../protocols/actors/place.ts";
import {
  CAPACITY_KEY,
  Capacity,
  Supervisor,
  verifyWorkers,
} from "../../protocols/actors/supervisor.ts";
import type { ReceivedOf } from "../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";
import { placePeer } from "../place-peer.ts";
import { askForHost, noteAbsence } from "./hosts.ts";
import { afterReading, armIdle, idleDue, noteCpu } from "./idling.ts";
import {
  acquire,
  armSweep,
  becomeReady,
  begin,
  failChoice,
  failStart,
  failStop,
  hurrySweep,
  orderStop,
  stop,
  stopAway,
  takeHost,
  vanish,
} from "./lifecycle.ts";
import { applyStanding, restPlace, tellUsers, usersFound } from "./standing.ts";
import { type OwnedWorker, show, supervisorStateSchema, workerRecord, type Yard } from "./state.ts";
import { isWorkspaceWanted, workspaceDue, workspaceRemoved } from "./workspaces.ts";

type Received<K extends keyof (typeof Supervisor)["messages"]> = ReceivedOf<
  (typeof Supervisor)["messages"][K]
>;

export function supervisorActor(options: ActorOptions): ActorDefinition {
  const yard = (ctx: Yard["ctx"]): Yard => ({ ctx, options });
  return actor(Supervisor, {
    state: supervisorStateSchema,
    handlers: {
      configure: (ctx, { tenant }) => configure(yard(ctx), tenant),
      view: (ctx) => ({
        workers: Object.values(ctx.state.workers).map((worker) =>
          workerRecord(worker, options.tiers),
        ),
      }),
      owns: ({ state }, { workers }) => ({
        owned: workers.filter((worker) => Object.hasOwn(state.workers, worker)),
      }),
      workspaceWanted: ({ state }, { workspace_key }) => ({
        wanted: isWorkspaceWanted(state, workspace_key, options),
      }),
      hostChosen(ctx, { effect, output, error }) {
        const worker = byEffect(yard(ctx), effect);
        if (!worker) return;
        if (output) takeHost(yard(ctx), worker, output.host);
        else failChoice(yard(ctx), worker, error ?? NO_ANSWER);
      },
      ensure: (ctx, input) => ensure(yard(ctx), input),
      retire: (ctx, { worker, reason }) => retire(yard(ctx), worker, reason),
      idleAnswer(ctx, { worker: id, idle_since, may_go }) {
        const worker = ctx.state.workers[id];
        if (worker?.state !== "ready") return;
        if (may_go) stop(yard(ctx), worker, "idle");
        else armIdle(yard(ctx), worker, idle_since ?? ctx.now);
      },
      exited: (ctx, { worker, reason, code }) => exited(yard(ctx), worker, reason, code),
      granted(ctx, { worker: id }) {
        const worker = ctx.state.workers[id];
        if (!worker) ctx.actor(Capacity, CAPACITY_KEY).release({ worker: id });
        else if (worker.state === "wanted") begin(yard(ctx), worker);
      },
      load(ctx, { worker: id, jobs, idle_since }) {
        const worker = ctx.state.workers[id];
        if (!worker) return;
        worker.jobs = jobs;
        worker.idle_since = idle_since;
        show(yard(ctx), worker);
      },
      started(ctx, { effect, output, error }) {
        const worker = byEffect(yard(ctx), effect);
        if (!worker) return;
        if (output) becomeReady(yard(ctx), worker, output);
        else failStart(yard(ctx), worker, error ?? NO_ANSWER);
      },
      stopped(ctx, { effect, output, error }) {
        const worker = byEffect(yard(ctx), effect);
        if (!worker) return;
        if (error) failStop(yard(ctx), worker, error.message);
        else if (output?.away) stopAway(yard(ctx), worker);
        else vanish(yard(ctx), worker, { reason: worker.leaving ?? "stopped" });
      },
      verified: (ctx, result) => verified(yard(ctx), result),
      workspaceRemoved(ctx, result) {
        const key = workspaceRemoved(yard(ctx), result);
        for (const worker of Object.values(ctx.state.workers)) {
          if (worker.granted && worker.spec.workspace_key === key) begin(yard(ctx), worker);
        }
      },
      idleDue(ctx, { worker: id }) {
        const worker = ctx.state.workers[id];
        if (worker) idleDue(yard(ctx), worker);
      },
      retryStart(ctx, { worker: id }) {
        const worker = ctx.state.workers[id];
        if (worker?.state === "wanted") acquire(yard(ctx), worker);
        else if (worker?.state === "stopping") orderStop(yard(ctx), worker);
      },
      usersFound: (ctx, { output }) => usersFound(yard(ctx), output),
      tellUsers: (ctx) => tellUsers(yard(ctx), ""),
      sweep: (ctx) => sweep(yard(ctx)),
      workspaceDue: (ctx, { workspace_key }) => workspaceDue(yard(ctx), workspace_key),
    },
  });
}

const NO_ANSWER = { code: "worker.start_failed", message: "the driver gave no answer" };

function byEffect({ ctx }: Yard, effect: string): OwnedWorker | undefined {
  return Object.values(ctx.state.workers).find((worker) => worker.effect === effect);
}

function configure(yard: Yard, given: Received<"configure">["tenant"]) {
  const { ctx, options } = yard;
  const before = ctx.state.tenant;
  const egress = given.egress ?? before?.egress;
  const keys = given.keys ?? before?.keys;
  const tenant = {
    id: ctx.self.tenant,
    ...given,
    ...(egress === undefined ? {} : { egress }),
    ...(keys === undefined ? {} : { keys }),
    created_at: before?.created_at ?? ctx.now,
  };
  ctx.state.tenant = tenant;
  ctx.put("tenants", tenant.id, tenant);
  const hasFleet = options.tiers[tenant.tier].place === "dedicated-fleet";
  if (hasFleet && !tenant.suspended) {
    for (const agent of options.supervisor.fleetAgents)
      ctx.actor(DedicatedFleet, agent).warm({ agent });
  }
  applyStanding(yard, before);
  return { tenant };
}

/** Records the intent (1); a place that asks again hears again what it may have missed. */
function ensure(yard: Yard, { spec, place }: Received<"ensure">): void {
  const { ctx } = yard;
  const known = ctx.state.workers[spec.worker];
  if (known) {
    if (known.state === "ready") placePeer(ctx, known.place).workerReady({ worker: spec.worker });
    return;
  }
  const worker: OwnedWorker = {
    spec,
    place,
    state: "wanted",
    host: null,
    driver: null,
    created_at: ctx.now,
    ready_at: null,
    effect: null,
    granted: false,
    starts: 0,
    stops: 0,
    leaving: null,
    jobs: [],
    idle_since: null,
    idle_effect: null,
    cpu: null,
    cpu_active_at: null,
    away_since: null,
  };
  ctx.state.workers[spec.worker] = worker;
  acquire(yard, worker);
  askForHost(yard, worker);
  show(yard, worker);
  restPlace(yard, place);
}

function retire(yard: Yard, id: string, reason: string): void {
  const { ctx } = yard;
  const worker = ctx.state.workers[id];
  if (!worker) {
    if (ctx.from)
      placePeer(ctx, ctx.from).workerLost({ worker: id, reason: "there is no such worker" });
    return;
  }
  if (worker.state === "wanted") vanish(yard, worker, { reason });
  else if (worker.state === "ready") stop(yard, worker, reason);
  // A start that is under way cannot be called back: the worker stops as soon as it is over.
  else if (worker.state === "starting") worker.leaving = reason;
}

/**
 * Its process or container ended by itself. One that is stopping is gone when its driver has cleaned up. A host tells of
 * one that is not ours while it is on record.
 */
function exited(yard: Yard, id: string, reason: string, code?: string): void {
  const worker = yard.ctx.state.workers[id];
  if (!worker) yard.ctx.put("workers", id, undefined);
  else if (worker.state === "starting") {
    failStart(yard, worker, { code: code ?? "worker.start_failed", message: reason });
  } else if (worker.state === "ready") vanish(yard, worker, { reason, code });
}

function sweep(yard: Yard): void {
  const { ctx } = yard;
  ctx.state.sweeping = false;
  const workers = Object.values(ctx.state.workers)
    .filter(({ state }) => state === "ready")
    .map(({ spec, host }) => ({ worker: spec.worker, host }));
  if (workers.length === 0) return;
  ctx.execute(verifyWorkers, { workers }, { reply: "verified" });
  armSweep(yard);
}

function verified(yard: Yard, { effect, output }: Received<"verified">): void {
  const { ctx } = yard;
  for (const [id, cpuMs] of Object.entries(output?.cpu_ms ?? {})) {
    const worker = ctx.state.workers[id];
    if (worker) noteCpu(yard, worker, cpuMs);
  }
  const lost = "worker.lost";
  for (const id of output?.lost ?? [])
    exited(yard, id, "its host, asked by its supervisor, does not have it", lost);
  for (const id of output ? noteAbsence(yard, output) : [])
    exited(
      yard,
      id,
      "its host has no lease, and it has not answered its supervisor for too long",
      lost,
    );
  hurrySweep(yard);
  for (const worker of Object.values(ctx.state.workers)) {
    if (worker.idle_effect === effect) afterReading(yard, worker);
  }
}
