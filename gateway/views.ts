/** Stored records and actors' views as the API shows them. Pure. */

import type { SessionView } from "../protocols/actors/session.ts";
import type { LimitsView, UsageView } from "../protocols/actors/user.ts";
import {
  type ApiJob,
  type ApiSession,
  formatTime,
  type JobSummary,
  type Limits,
  type SessionSummary,
  type UsageReport,
} from "../protocols/api.ts";
import type {
  ApiDeadLetter,
  ApiKey,
  ApiNode,
  ApiTenant,
  ApiWholeDeadLetter,
  ApiWorker,
  WholeWorker,
} from "../protocols/api-operators.ts";
import type { WorkerRecord } from "../protocols/executor.ts";
import { isTerminal, type JobRecord, type JobState, MAX_PROMPT_BYTES } from "../protocols/job.ts";
import type {
  ApiKeyRecord,
  DeadLetter,
  NodeRecord,
  SessionRecord,
  TenantRecord,
} from "../protocols/records.ts";
import type { TierTable } from "../protocols/tiers.ts";
import type { SeenWorker } from "./host-census.ts";

const PREVIEW_CHARS = 200;

const timeOrNull = (ms: number | null) => (ms === null ? null : formatTime(ms));

/** What the session says of a job that runs; it is newer than the record. */
export interface LiveJob {
  readonly state: JobState;
  readonly attempt: number;
  readonly worker: string | null;
  readonly started_at: number | null;
}

export function jobSummary(record: JobRecord, live?: LiveJob): JobSummary {
  const now = live && !isTerminal(record.state) ? live : undefined;
  return {
    id: record.id,
    session_id: record.session_id,
    tenant: record.tenant,
    user: record.user,
    agent: record.agent,
    tier: record.tier,
    state: now?.state ?? record.state,
    prompt_preview: record.prompt.slice(0, PREVIEW_CHARS),
    model: record.model ?? null,
    timeout_ms: record.timeout_ms,
    metadata: record.metadata ?? {},
    attempt: now?.attempt ?? record.attempt,
    worker: now?.worker ?? null,
    created_at: formatTime(record.created_at),
    started_at: timeOrNull(now?.started_at ?? record.started_at),
    finished_at: timeOrNull(record.finished_at),
    exit_code: record.exit_code,
    error: record.error,
    usage: record.usage,
  };
}

export function jobView(record: JobRecord, live?: LiveJob): ApiJob {
  return { ...jobSummary(record, live), prompt: record.prompt };
}

export function sessionSummary(
  session: Omit<SessionRecord, "deleted"> | SessionView,
): SessionSummary {
  const { id, tenant, user, agent, tier, title, metadata } = session;
  const created_at = formatTime(session.created_at);
  return { id, tenant, user, agent, tier, title, metadata, created_at };
}

export function sessionView(session: SessionView): ApiSession {
  return {
    ...sessionSummary(session),
    last_active_at: formatTime(session.last_active_at),
    expires_at: formatTime(session.expires_at),
    last_seq: session.last_seq,
    active_jobs: session.active_jobs,
  };
}

export function limitsView(limits: LimitsView, tiers: TierTable, now: number): Limits {
  const tier = tiers[limits.tier];
  return {
    tier: limits.tier,
    hourly: {
      limit: limits.hourly.limit,
      remaining: limits.hourly.remaining,
      reset_at: formatTime(now + limits.hourly.reset_ms),
    },
    concurrent: limits.concurrent,
    queued: limits.queued,
    requests: limits.requests
      ? {
          limit: limits.requests.limit,
          remaining: limits.requests.remaining,
          reset_at: formatTime(now + limits.requests.reset_ms),
        }
      : null,
    streams: { per_user: tier.streamsPerUser, per_tenant: tier.streamsPerTenant },
    job_timeout_ms: tier.jobTimeoutMs,
    session_resume_ms: tier.sessionResumeMs,
    max_prompt_bytes: MAX_PROMPT_BYTES,
    models: tier.customModels,
  };
}

export function usageView(usage: UsageView): UsageReport {
  return { ...usage, since: formatTime(usage.since) };
}

export function tenantView(tenant: TenantRecord): ApiTenant {
  const { egress = [], keys = "sealed", created_at } = tenant;
  return { ...tenant, egress, keys, created_at: formatTime(created_at) };
}

export function keyView(key: ApiKeyRecord): ApiKey {
  return {
    ...key,
    tenant: key.tenant ?? null,
    created_at: formatTime(key.created_at),
    expires_at: timeOrNull(key.expires_at),
  };
}

/** `seen` is what its host says now; the record alone knows the rest. */
export function workerView(worker: WorkerRecord, seen?: SeenWorker): ApiWorker {
  const { id, spec, phase, jobs, host, driver } = worker;
  const { cpusUsed = null, step = null, use } = seen ?? {};
  return {
    id,
    tenant: spec.tenant,
    user: spec.user ?? null,
    agent: spec.agent ?? null,
    tier: spec.tier,
    phase,
    step: phase === "starting" ? step : null,
    slots: spec.slots,
    jobs,
    host,
    driver,
    image: use?.image ?? null,
    cpus_used: cpusUsed,
    cpus_limit: spec.cpus,
    memory_bytes: use?.memory_bytes ?? null,
    memory_limit_bytes: use?.memory_limit_bytes ?? null,
    processes: use?.processes ?? null,
    created_at: formatTime(worker.created_at),
    ready_at: timeOrNull(worker.ready_at),
    idle_since: timeOrNull(worker.idle_since),
    idle_deadline: timeOrNull(worker.idle_deadline),
  };
}

export function wholeWorkerView(
  worker: WorkerRecord,
  seen: SeenWorker,
  unanswered: readonly string[],
): WholeWorker {
  const { internet, network, processes, storage_bytes, workspace } = worker.spec;
  return {
    ...workerView(worker, seen),
    workspace,
    network,
    internet,
    storage_limit_bytes: storage_bytes,
    processes_limit: processes,
    unanswered: [...unanswered],
  };
}

export function nodeView(node: NodeRecord, partitions: number): ApiNode {
  return { ...node, started_at: formatTime(node.started_at), partitions };
}

export function wholeDeadLetter(letter: DeadLetter): ApiWholeDeadLetter {
  const { envelope, epoch } = letter as DeadLetter & { envelope?: { payload?: unknown } };
  return { ...deadLetterView(letter), epoch, payload: envelope?.payload ?? null };
}

export function deadLetterView(letter: DeadLetter): ApiDeadLetter {
  const { id, actor, lane, reason, attempts } = letter;
  const { envelope } = letter as { envelope?: { type?: unknown } };
  const message = typeof envelope?.type === "string" ? envelope.type : "unknown";
  return { id, actor, lane, message, reason, attempts, at: formatTime(letter.at) };
}
