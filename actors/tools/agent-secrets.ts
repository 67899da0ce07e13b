/** What secrets an agent's process is given for one job, and how they reach its worker: sealed, or not at all. */
import { environmentNames, providersOf } from "../../protocols/credentials.ts";
import { BerthError } from "../../protocols/errors.ts";
import type { JobRecord } from "../../protocols/job.ts";
import { sealedEnvBinding } from "../../protocols/order-binding.ts";
import type { CredentialSource } from "../../runtime/credential-source.ts";
import { sealLetter } from "../../runtime/sealing/letter.ts";
import type { ToolOptions } from "./tool-options.ts";
import { statusOf } from "./worker-order.ts";

type Variables = Readonly<Record<string, string>>;
type Job = Pick<JobRecord, "id" | "tenant" | "user" | "agent" | "credentials">;

/**
 * The first of the agent's providers whose key the user has stored, and those that the job names. A user's own key takes
 * the place of the deployment's. Rejects with `agent.credential_missing` when a named one is not stored.
 */
export async function agentSecrets(
  { credentials, agentEnvironment }: Pick<ToolOptions, "credentials" | "agentEnvironment">,
  job: Job,
): Promise<Variables> {
  const shared = { ...agentEnvironment?.(job.agent) };
  if (credentials === undefined) return shared;
  const usual = await firstOf(credentials, job, providersOf(job.agent));
  if (usual !== undefined) {
    for (const name of providersOf(job.agent).flatMap(environmentNames)) delete shared[name];
  }
  const named: Variables[] = [];
  for (const provider of job.credentials ?? []) {
    const variables = await variablesOf(credentials, job, provider);
    if (variables === undefined)
      throw new BerthError(
        "agent.credential_missing",
        `the job names ${provider}, of which no key is stored`,
      );
    named.push(variables);
  }
  return Object.assign(shared, usual, ...named) as Variables;
}

/** The secrets as one letter that this attempt's worker alone can open. Rejects with `worker.outdated` when it has no key. */
export async function sealForWorker(
  options: ToolOptions,
  order: { readonly worker: string; readonly job_id: string; readonly attempt: number },
  secrets: Variables,
  signal: AbortSignal,
): Promise<string> {
  const { sealing_key } = await statusOf(options, order.worker, signal);
  const content = Buffer.from(JSON.stringify(secrets), "utf8");
  const letter =
    sealing_key && sealLetter(sealing_key, content, sealedEnvBinding(order.worker, order));
  content.fill(0);
  if (letter) return letter;
  throw new BerthError("worker.outdated", `worker ${order.worker} cannot be given credentials`);
}

async function firstOf(
  credentials: CredentialSource,
  job: Job,
  providers: readonly string[],
): Promise<Variables | undefined> {
  for (const provider of providers) {
    const variables = await variablesOf(credentials, job, provider);
    if (variables !== undefined) return variables;
  }
  return undefined;
}

async function variablesOf(
  credentials: CredentialSource,
  { tenant, user, id }: Job,
  provider: string,
): Promise<Variables | undefined> {
  const value = await credentials.open({ tenant, user, provider, purpose: id });
  if (value === undefined) return undefined;
  return Object.fromEntries(environmentNames(provider).map((name) => [name, value]));
}
