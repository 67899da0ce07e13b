/** The session's tools: orders to the executor that runs an attempt. */
import { cancelAttempt, runAttempt } from "../../protocols/actors/session.ts";
import { BerthError } from "../../protocols/errors.ts";
import { type JobRecord, jobKey, jobRecordSchema } from "../../protocols/job.ts";
import type { ToolImplementation, Tools } from "../../runtime/tools.ts";
import { agentSecrets, sealForWorker } from "./agent-secrets.ts";
import { BrokeredKeys, isBrokered } from "./brokered-keys.ts";
import { persist } from "./persist.ts";
import type { ToolOptions } from "./tool-options.ts";
import { orderWorker } from "./worker-order.ts";

/** The record is written by the turn that accepted the job, before any other learns of it; the bucket may lag a moment. */
const RECORD_WINDOW_MS = 3_000;

export function sessionTools(options: ToolOptions): Tools {
  return {
    [runAttempt.name]: run(options),
    [cancelAttempt.name]: cancel(options),
  };
}

function run(options: ToolOptions): ToolImplementation {
  return async (given, { signal, traceparent }) => {
    const input = runAttempt.input.parse(given);
    const { worker, job_id, attempt, tenant, user, session_id, agent_session } = input;
    const [job, hasBroker] = await Promise.all([
      jobRecord(options, input, signal),
      isBrokered(options.buckets, tenant),
    ]);
    const brokered = hasBroker ? brokeredKeys(options, input, job) : undefined;
    // The deployment's keys cannot be brokered: such a job is not given them either.
    const secrets = await agentSecrets(brokered ? { credentials: brokered } : options, job);
    const isSecret = Object.keys(secrets).length > 0;
    const sealed_env = isSecret && (await sealForWorker(options, input, secrets, signal));
    const order = {
      job_id,
      attempt,
      tenant,
      user,
      session_id,
      agent: job.agent,
      prompt: job.prompt,
      timeout_ms: job.timeout_ms,
      ...(job.model === undefined ? {} : { model: job.model }),
      ...(agent_session === undefined ? {} : { agent_session }),
      env: {},
      ...(sealed_env === false ? {} : { sealed_env }),
      ...(brokered === undefined ? {} : { brokered: brokered.providers }),
      ...(traceparent === undefined ? {} : { traceparent }),
    };
    await orderWorker(options, worker, { type: "run", order }, signal);
    return {};
  };
}

function brokeredKeys(
  { clock, placeholders }: ToolOptions,
  { worker, attempt }: { readonly worker: string; readonly attempt: number },
  { timeout_ms: timeoutMs }: JobRecord,
): BrokeredKeys {
  return new BrokeredKeys(placeholders, { worker, attempt, timeoutMs, now: clock.now() });
}

function cancel(options: ToolOptions): ToolImplementation {
  return async (given, { signal }) => {
    const { worker, job_id, attempt, by } = cancelAttempt.input.parse(given);
    await orderWorker(options, worker, { type: "cancel", job_id, attempt, by }, signal);
    return {};
  };
}

function jobRecord(
  { buckets, clock }: ToolOptions,
  {
    tenant,
    user,
    job_id,
  }: { readonly tenant: string; readonly user: string; readonly job_id: string },
  signal: AbortSignal,
): Promise<JobRecord> {
  const read = async () => {
    const entry = await buckets.get("jobs", jobKey(tenant, user, job_id));
    if (!entry?.value) throw new BerthError("job.not_found", `job ${job_id} has no record`);
    return jobRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
  };
  const mayRetry = ({ code, retry }: BerthError) => code === "job.not_found" || retry !== "never";
  return persist(read, { clock, windowMs: RECORD_WINDOW_MS, signal, mayRetry });
}
