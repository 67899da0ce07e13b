/** The tenant supervisor: owns every worker of its tenant, from intent to removal, and enforces idle time-outs. */
import { z } from "zod";
import { refSchema } from "../envelope.ts";
import { workerRecordSchema, workerSpecSchema } from "../executor.ts";
import { ask, protocol, tell, tool } from "../protocol.ts";
import { tenantRecordSchema } from "../records.ts";
import { tierSchema } from "../tiers.ts";

/** Chooses the node that is to host a worker: that of its workspace while that lives. */
export const chooseHost = tool(
  "worker.choose-host",
  { spec: workerSpecSchema, home: z.string().nullable() },
  { host: z.string() },
);
/** Starts a worker through a driver and resolves once its executor has said hello. Safe to run twice for one worker id. */
export const startWorker = tool(
  "worker.start",
  {
    spec: workerSpecSchema,
    /** Absent: of a build that chose anew at each try. */
    host: z.string().optional(),
  },
  { host: z.string(), driver: z.string() },
);
/** Stops a worker and removes what it left; resolves when it is gone. A worker that does not exist is gone. */
export const stopWorker = tool(
  "worker.stop",
  {
    worker: z.string(),
    host: z.string().nullable(),
    reason: z.string(),
    keep_workspace: z.boolean(),
  },
  {
    /** Its host has no lease, so nobody could be asked: it may still live. */
    away: z.boolean().optional(),
  },
);
/** Which of these workers no longer live, as their hosts say. */
export const verifyWorkers = tool(
  "worker.verify",
  { workers: z.array(z.object({ worker: z.string(), host: z.string().nullable() })) },
  {
    lost: z.array(z.string()),
    /** Their hosts have no lease, and they do not answer themselves: they may live or not. */
    away: z.array(z.string()).optional(),
    /** CPU time per live worker in ms: growth since the last check means activity. */
    cpu_ms: z.record(z.string(), z.number()),
  },
);
/** Removes a workspace nobody uses any more. */
export const removeWorkspace = tool(
  "workspace.remove",
  { host: z.string().nullable(), tenant: z.string(), workspace_key: z.string() },
  {},
);

/** Users of the tenant with jobs, ended ones too, a page at a time in the order of their ids. */
export const usersOfTenant = tool(
  "tenant.users",
  { tenant: z.string(), after: z.string() },
  { users: z.array(z.string()), next: z.string().nullable() },
);

export const Supervisor = protocol("supervisor", {
  configure: ask(
    { tenant: tenantRecordSchema.omit({ id: true, created_at: true }) },
    { tenant: tenantRecordSchema },
  ),
  view: ask({}, { workers: z.array(workerRecordSchema) }, { readOnly: true }),
  /** Which of these it has in its record. */
  owns: ask({ workers: z.array(z.string()) }, { owned: z.array(z.string()) }, { readOnly: true }),
  /** Whether a workspace is in use, will be, or is kept: null when it knows nothing of it. */
  workspaceWanted: ask(
    { workspace_key: z.string() },
    { wanted: z.boolean().nullable() },
    { readOnly: true },
  ),
  /** From a place: I want this worker. The intent is recorded before anything is created. */
  ensure: tell({ spec: workerSpecSchema, place: refSchema }),
  /** From a place: I want it no more. */
  retire: tell({ worker: z.string(), reason: z.string() }),
  /** From a place: what idleCheck asked. `idle_since` null means busy or attached. */
  idleAnswer: tell({ worker: z.string(), idle_since: z.number().nullable(), may_go: z.boolean() }),
  /** From a driver host: the worker's process or container ended. */
  exited: tell(
    { worker: z.string(), reason: z.string(), code: z.string().optional() },
    { lane: "control" },
  ),
  /** From capacity: the worker may start now. */
  granted: tell({ worker: z.string() }),
  /** From places: a job was put on the worker, or the worker ran dry (for the workers' record). */
  load: tell(
    { worker: z.string(), jobs: z.array(z.string()), idle_since: z.number().nullable() },
    { lane: "background" },
  ),
  hostChosen: tell(chooseHost.result),
  started: tell(startWorker.result),
  stopped: tell(stopWorker.result),
  verified: tell(verifyWorkers.result),
  workspaceRemoved: tell(removeWorkspace.result),
  usersFound: tell(usersOfTenant.result),
  /** Its own reminders. */
  tellUsers: tell({}),
  idleDue: tell({ worker: z.string() }),
  retryStart: tell({ worker: z.string() }),
  sweep: tell({}, { lane: "background" }),
  workspaceDue: tell({ workspace_key: z.string() }),
});
export const SUPERVISOR_KEY = "main";

/** The platform's gate for starting workers: bounded in number and in starts at once, by aged tier priority. */
export const Capacity = protocol(
  "capacity",
  {
    acquire: tell({ worker: z.string(), tier: tierSchema, tenant: z.string(), user: z.string() }),
    /** The start is over (either way): another may begin. The worker still counts. */
    settled: tell({ worker: z.string() }),
    /** The worker is gone, or is not wanted any more. */
    release: tell({ worker: z.string() }),
    tick: tell({}, { lane: "background" }),
    view: ask(
      {},
      { running: z.number(), starting: z.number(), waiting: z.number(), limit: z.number() },
      { readOnly: true },
    ),
  },
  { platform: true },
);
export const CAPACITY_KEY = "main";
