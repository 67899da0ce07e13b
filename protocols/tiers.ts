/** The tier table: what each tier may do and gets. One table, read by everything else. */
import { z } from "zod";
import { egressListSchema, egressModeSchema } from "./egress.ts";

export const TIERS = ["free", "pro", "enterprise"] as const;
export const tierSchema = z.enum(TIERS);
export type Tier = z.infer<typeof tierSchema>;

const limitsSchema = z.object({
  /** Which kind of place runs the tier's jobs. */
  place: z.enum(["shared-pool", "user-worker", "dedicated-fleet"]),
  /** Jobs of one user that may run at once; null is no limit. */
  concurrentJobs: z.number().int().positive().nullable(),
  /** Base of the aged priority: 10 low, 50 medium, 100 high. */
  priority: z.number(),
  jobsPerHour: z.number().int().positive(),
  /** API requests and frames of one user, over all gateways. */
  requestsPerMinute: z.number().int().positive(),
  /** Open streams of one user, and of a tenant's users together, on one gateway. */
  streamsPerUser: z.number().int().positive(),
  streamsPerTenant: z.number().int().positive(),
  /** Longest run of one job; null is no limit. */
  jobTimeoutMs: z.number().int().positive().nullable(),
  /** Jobs of one user that may wait. */
  queuedJobs: z.number().int().positive(),
  /** `job`: wiped after each job. `user`: kept per user. `tenant`: kept per tenant and agent. */
  workspace: z.enum(["job", "user", "tenant"]),
  /** How long a workspace outlives its last use; null is for good. */
  workspaceKeptMs: z.number().int().nonnegative().nullable(),
  sessionResumeMs: z.number().int().positive(),
  /** Idle time after which the worker goes; null is never. */
  idleTimeoutMs: z.number().int().positive().nullable(),
  /** Jobs that one worker runs at once. */
  slotsPerWorker: z.number().int().positive(),
  /** Workers kept and allowed: of the pool, per user, or per tenant and agent. */
  minWorkers: z.number().int().nonnegative(),
  maxWorkers: z.number().int().positive(),
  cpus: z.number().positive(),
  memoryBytes: z.number().int().positive(),
  storageBytes: z.number().int().positive(),
  /** Processes and threads of one worker together. */
  processes: z.number().int().positive(),
  /** `shared`: with the pool's other workers, none of which it reaches. `user`, `tenant`: one of its own. */
  network: z.enum(["shared", "user", "tenant"]),
  /**
   * Whether the network leads to the internet by itself, past the proxy and its list: never to the host, private addresses or
   * metadata. For programs that cannot use a proxy.
   */
  internet: z.boolean(),
  /** Which hosts the proxy lets agents reach, of any tenant of the tier. */
  egress: egressModeSchema,
  egressHosts: egressListSchema,
  /** Workers kept started and paused, nobody's yet, on each host whose driver can. */
  dormantWorkers: z.number().int().nonnegative(),
  /** `none`, a limited list, or any model. */
  customModels: z.union([z.literal("none"), z.literal("any"), z.array(z.string())]),
});
export type TierLimits = z.infer<typeof limitsSchema>;

export const tierTableSchema = z.object({
  free: limitsSchema,
  pro: limitsSchema,
  enterprise: limitsSchema,
});
export type TierTable = z.infer<typeof tierTableSchema>;

/** One tier, some fields changed: how configuration shortens a 15 minute rule to a second. */
export const tierOverridesSchema = z
  .object({
    free: limitsSchema.partial(),
    pro: limitsSchema.partial(),
    enterprise: limitsSchema.partial(),
  })
  .partial();
export type TierOverrides = z.infer<typeof tierOverridesSchema>;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** What agents cannot do without. */
const USUAL_HOSTS = egressListSchema.parse(["@models", "@packages"]);

export const DEFAULT_TIERS: TierTable = {
  free: {
    place: "shared-pool",
    concurrentJobs: 1,
    priority: 10,
    jobsPerHour: 10,
    requestsPerMinute: 1_200,
    streamsPerUser: 20,
    streamsPerTenant: 1_000,
    jobTimeoutMs: 5 * MINUTE,
    queuedJobs: 1_000,
    workspace: "job",
    workspaceKeptMs: 0,
    sessionResumeMs: HOUR,
    idleTimeoutMs: null,
    slotsPerWorker: 1,
    minWorkers: 5,
    maxWorkers: 10,
    cpus: 0.5,
    memoryBytes: 512 * MIB,
    storageBytes: GIB,
    processes: 256,
    network: "shared",
    internet: false,
    egress: "listed",
    egressHosts: USUAL_HOSTS,
    dormantWorkers: 1,
    customModels: "none",
  },
  pro: {
    place: "user-worker",
    concurrentJobs: 3,
    priority: 50,
    jobsPerHour: 100,
    requestsPerMinute: 6_000,
    streamsPerUser: 100,
    streamsPerTenant: 2_000,
    jobTimeoutMs: 30 * MINUTE,
    queuedJobs: 1_000,
    workspace: "user",
    workspaceKeptMs: DAY,
    sessionResumeMs: 7 * DAY,
    idleTimeoutMs: 15 * MINUTE,
    slotsPerWorker: 3,
    minWorkers: 0,
    maxWorkers: 1,
    cpus: 2,
    memoryBytes: 2 * GIB,
    storageBytes: 10 * GIB,
    processes: 1_024,
    network: "user",
    internet: false,
    egress: "listed",
    egressHosts: USUAL_HOSTS,
    dormantWorkers: 2,
    customModels: ["claude-sonnet-4-5", "claude-haiku-4-5", "gpt-5-codex"],
  },
  enterprise: {
    place: "dedicated-fleet",
    concurrentJobs: null,
    priority: 100,
    jobsPerHour: 1_000,
    requestsPerMinute: 60_000,
    streamsPerUser: 500,
    streamsPerTenant: 5_000,
    jobTimeoutMs: null,
    queuedJobs: 1_000,
    workspace: "tenant",
    workspaceKeptMs: null,
    sessionResumeMs: 30 * DAY,
    idleTimeoutMs: null,
    slotsPerWorker: 4,
    minWorkers: 1,
    maxWorkers: 4,
    cpus: 4,
    memoryBytes: 8 * GIB,
    storageBytes: 100 * GIB,
    processes: 2_048,
    network: "tenant",
    internet: false,
    egress: "listed",
    egressHosts: USUAL_HOSTS,
    dormantWorkers: 0,
    customModels: "any",
  },
};

/** The table with some fields replaced; the result is validated and frozen. */
export function tierTable(overrides: TierOverrides = {}): TierTable {
  const merged = Object.fromEntries(
    TIERS.map((tier) => [tier, { ...DEFAULT_TIERS[tier], ...overrides[tier] }]),
  );
  return Object.freeze(tierTableSchema.parse(merged));
}
