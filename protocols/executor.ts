/**
 * The wire between nodes and the executor inside a worker. Down: request-reply on `berth.down.<worker>`
 * (msgpack). Up: numbered frames, each an ask to the job's session, sent until acknowledged; the session
 * drops a frame whose number it has had, so the event log has no gap and no double.
 */
import { z } from "zod";
import { draftEventSchema, outcomeSchema } from "./events.ts";
import { wireErrorSchema } from "./protocol.ts";
import { tierSchema } from "./tiers.ts";

export const jobOrderSchema = z.object({
  job_id: z.string(),
  attempt: z.number().int().positive(),
  tenant: z.string(),
  user: z.string(),
  session_id: z.string(),
  agent: z.string(),
  prompt: z.string(),
  model: z.string().optional(),
  timeout_ms: z.number().int().positive().nullable(),
  /** The agent's own session id from an earlier job of this session, to resume. */
  agent_session: z.string().optional(),
  /** Variables for the agent's process that are no secret. */
  env: z.record(z.string(), z.string()),
  /** Those that are, for the agent's process alone: JSON, as a letter to the worker's `sealing_key`, bound by `sealedEnvBinding`. */
  sealed_env: z.string().optional(),
  /** Providers for whose keys there are placeholders among them: their requests go to the node. */
  brokered: z.array(z.string()).optional(),
  /** The trace of the attempt: for its frames, and for the agent as TRACEPARENT. */
  traceparent: z.string().optional(),
});
export type JobOrder = z.infer<typeof jobOrderSchema>;

export const downRequestSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("run"), order: jobOrderSchema }),
  z.object({ type: z.literal("cancel"), job_id: z.string(), attempt: z.number(), by: z.string() }),
  z.object({ type: z.literal("input"), job_id: z.string(), attempt: z.number(), text: z.string() }),
  z.object({ type: z.literal("status") }),
  z.object({ type: z.literal("stop"), reason: z.string() }),
]);
export type DownRequest = z.infer<typeof downRequestSchema>;

export const workerStatusSchema = z.object({
  worker: z.string(),
  /** Attempts that run, or have ended with frames still unacknowledged. */
  jobs: z.array(z.object({ job_id: z.string(), attempt: z.number() })),
  pid: z.number(),
  uptime_ms: z.number(),
  /** CPU time of the agents' processes, so that a busy worker is not taken for idle. */
  cpu_ms: z.number(),
  memory_bytes: z.number(),
  /** Who signed the credential that it has, and when that expires (milliseconds since the epoch). */
  credential: z.object({ issuer: z.string(), expires_at: z.number() }).optional(),
  /** What secrets are sealed to; it lives as long as the worker, in its memory alone. Absent: a build that cannot be given any. */
  sealing_key: z.string().optional(),
});
export type WorkerStatus = z.infer<typeof workerStatusSchema>;

export const downReplySchema = z.union([
  z.object({ ok: z.literal(true), status: workerStatusSchema.optional() }),
  z.object({ ok: z.literal(false), error: wireErrorSchema }),
]);
export type DownReply = z.infer<typeof downReplySchema>;

/** One batch of events of one attempt. Frame numbers start at 1 and have no gap. */
export const frameSchema = z.object({
  worker: z.string(),
  job_id: z.string(),
  attempt: z.number().int().positive(),
  frame: z.number().int().positive(),
  events: z.array(draftEventSchema),
  /** The agent's own session id, once known. */
  agent_session: z.string().optional(),
  /** On the last frame only: how the attempt ended. The process tree is gone when this is sent. */
  outcome: outcomeSchema.optional(),
});
export type Frame = z.infer<typeof frameSchema>;

/** What a driver is asked to start. */
export const workerSpecSchema = z.object({
  worker: z.string(),
  tenant: z.string(),
  /** Set when the worker serves one user alone. */
  user: z.string().optional(),
  /** Set when the worker serves one agent alone. */
  agent: z.string().optional(),
  tier: tierSchema,
  slots: z.number().int().positive(),
  workspace: z.enum(["job", "user", "tenant"]),
  /** Names the kept workspace: unused for `job`. */
  workspace_key: z.string(),
  cpus: z.number(),
  memory_bytes: z.number(),
  storage_bytes: z.number(),
  // Records of builds that knew no containers lack what follows.
  processes: z.number().int().positive().default(1_024),
  network: z.enum(["shared", "user", "tenant"]).default("shared"),
  internet: z.boolean().default(false),
});
export type WorkerSpec = z.infer<typeof workerSpecSchema>;

export const workerPhaseSchema = z.enum([
  "wanted",
  "starting",
  "idle",
  "busy",
  "draining",
  "stopping",
  "lost",
]);

/** What a worker connects to the broker with. A secret: never logged, never given to an agent. */
export const brokerCredentialSchema = z.object({
  /** Names the worker and when it expires. */
  jwt: z.string(),
  /** The key of the token's owner. */
  seed: z.string(),
});
export type BrokerCredential = z.infer<typeof brokerCredentialSchema>;

/** What a client of the broker checks its certificate by. */
export interface BrokerTls {
  /** Certificates of authorities, as PEM. */
  readonly ca: string;
  /** The broker's certificate must hold one of them. */
  readonly names: readonly string[];
}

/**
 * What a worker is told of itself and nobody else can read: one line of JSON on its standard input. A worker that waits
 * for it is nobody's yet.
 */
export interface WorkerIdentity {
  readonly worker: string;
  /** With user and password, where workers share them. */
  readonly nats_url: string;
  /** The worker's own; absent where the broker does not know single workers. */
  readonly credential?: BrokerCredential;
  /** Where the broker speaks TLS. */
  readonly nats_tls?: BrokerTls;
  readonly partitions: number;
  readonly slots: number;
  readonly tier: string;
  readonly workspace_mode: WorkerSpec["workspace"];
  /** The proxy of its network, with the worker's token; none: whatever way out there is, is direct. */
  readonly proxy_url?: string;
}

/** Where a start is. `claiming`: a dormant worker is being taken. `connecting`: the process runs, its hello is awaited. */
export const START_STEPS = ["claiming", "creating", "starting", "connecting"] as const;
export type StartStep = (typeof START_STEPS)[number];

/** What one live worker uses, as its driver measures it. */
export const workerUseSchema = z.object({
  image: z.string().nullable(),
  /** Milliseconds since the epoch, by whoever measured; absent: `at` of the whole answer. */
  read_at: z.number().optional(),
  /** Since its start, of all its processes. */
  cpu_ms: z.number(),
  memory_bytes: z.number(),
  memory_limit_bytes: z.number().nullable(),
  processes: z.number().nullable(),
});
export type WorkerUse = z.infer<typeof workerUseSchema>;

/** What a host tells of its workers: the answer to the node's verb `workers`. */
export const hostWorkersSchema = z.object({
  node: z.string(),
  driver: z.string(),
  /** Milliseconds since the epoch, of the reading. */
  at: z.number(),
  use: z.record(z.string(), workerUseSchema),
  /** Of workers that are starting. */
  steps: z.record(z.string(), z.enum(START_STEPS)),
  /** Started, paused, nobody's yet: by tier. */
  dormant: z.record(z.string(), z.number()),
});
export type HostWorkers = z.infer<typeof hostWorkersSchema>;

/** A worker as people see it, under its id in the workers bucket. */
export const workerRecordSchema = z.object({
  id: z.string(),
  spec: workerSpecSchema,
  host: z.string().nullable(),
  driver: z.string().nullable(),
  phase: workerPhaseSchema,
  created_at: z.number(),
  ready_at: z.number().nullable(),
  idle_since: z.number().nullable(),
  idle_deadline: z.number().nullable(),
  jobs: z.array(z.string()),
});
export type WorkerRecord = z.infer<typeof workerRecordSchema>;
