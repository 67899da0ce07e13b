/** The supervisor's record: each worker from the intent on, and workspaces that nobody uses. */
import { z } from "zod";
import type { Supervisor } from "../../protocols/actors/supervisor.ts";
import { refSchema } from "../../protocols/envelope.ts";
import { type WorkerRecord, workerSpecSchema } from "../../protocols/executor.ts";
import { tenantRecordSchema } from "../../protocols/records.ts";
import type { TierTable } from "../../protocols/tiers.ts";
import type { Context, DeepReadonly } from "../../runtime/actor.ts";
import type { ActorOptions } from "../options.ts";

const ownedWorkerSchema = z.object({
  spec: workerSpecSchema,
  place: refSchema,
  state: z.enum(["wanted", "starting", "ready", "stopping"]),
  host: z.string().nullable(),
  driver: z.string().nullable(),
  created_at: z.number(),
  ready_at: z.number().nullable(),
  /** The choice of a host, start or stop that is under way; an answer to an older one is stale. */
  effect: z.string().nullable(),
  /** Capacity has let it start, but its workspace is still being removed. */
  granted: z.boolean(),
  starts: z.number(),
  stops: z.number(),
  /** Why it must go, once it must. */
  leaving: z.string().nullable(),
  jobs: z.array(z.string()),
  idle_since: z.number().nullable(),
  /** The check of CPU use that an idle time-out waits for. */
  idle_effect: z.string().nullable(),
  cpu: z.object({ cpuMs: z.number(), at: z.number() }).nullable(),
  cpu_active_at: z.number().nullable(),
  /** Since when its host has no lease and it does not answer itself. */
  away_since: z.number().nullable().default(null),
});
export type OwnedWorker = z.infer<typeof ownedWorkerSchema>;

const idleWorkspaceSchema = z.object({
  host: z.string().nullable(),
  reminder: z.string(),
  effect: z.string().nullable(),
  tries: z.number(),
});

export const supervisorStateSchema = z.object({
  tenant: tenantRecordSchema.nullable().default(null),
  workers: z.record(z.string(), ownedWorkerSchema).default({}),
  /** Kept workspaces without a worker, by key. */
  workspaces: z.record(z.string(), idleWorkspaceSchema).default({}),
  /** Hosts of workspaces that are kept for good, by key. */
  homes: z.record(z.string(), z.string()).default({}),
  sweeping: z.boolean().default(false),
  /** Places that were told to rest. */
  rested: z.array(refSchema).default([]),
});
export type SupervisorState = z.infer<typeof supervisorStateSchema>;

export interface Yard {
  readonly ctx: Context<SupervisorState, (typeof Supervisor)["messages"]>;
  readonly options: ActorOptions;
}

/** The worker as people see it. */
export function workerRecord(worker: DeepReadonly<OwnedWorker>, tiers: TierTable): WorkerRecord {
  const { spec, host, driver, created_at, ready_at, jobs, idle_since, state } = worker;
  const timeoutMs = tiers[spec.tier].idleTimeoutMs;
  const ready = jobs.length > 0 ? "busy" : "idle";
  const idle = state === "ready" && idle_since !== null && timeoutMs !== null;
  return {
    id: spec.worker,
    spec,
    host,
    driver,
    phase: state === "ready" ? ready : state,
    created_at,
    ready_at,
    idle_since,
    idle_deadline: idle ? idle_since + timeoutMs : null,
    jobs: [...jobs],
  };
}

/** Shows the worker's present state under its id in the workers bucket. */
export function show({ ctx, options }: Yard, worker: OwnedWorker): void {
  ctx.put("workers", worker.spec.worker, workerRecord(worker, options.tiers));
}
