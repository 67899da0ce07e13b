/** For a job of a tenant whose keys are brokered: placeholders in the place of keys, which stay in the vault. */
import { BROKERED_PROVIDERS } from "../../protocols/brokered.ts";
import type { Placeholder } from "../../protocols/placeholder.ts";
import { tenantRecordSchema } from "../../protocols/records.ts";
import type { CredentialRequest, CredentialSource } from "../../runtime/credential-source.ts";
import type { Buckets } from "../../runtime/transport.ts";

export interface Placeholders {
  /** Whether the user has stored a key of the provider. */
  stored(place: Omit<CredentialRequest, "purpose">): Promise<boolean>;
  make(content: Placeholder): string;
}

/** A job without a time limit is ordered anew within it. */
const LONGEST_MS = 7 * 24 * 3_600_000;
/** The job's limit begins with its agent, which may start much later than it was ordered. */
const MARGIN_MS = 3_600_000;

export interface BrokeredAttempt {
  readonly worker: string;
  readonly attempt: number;
  readonly timeoutMs: number | null;
  /** Of the order. */
  readonly now: number;
}

export class BrokeredKeys implements CredentialSource {
  /** Those that a placeholder was given for. */
  readonly providers: string[] = [];
  readonly #placeholders: Placeholders | undefined;
  readonly #attempt: BrokeredAttempt;

  /** Without `placeholders` there are none, and the agent gets nothing. */
  constructor(placeholders: Placeholders | undefined, attempt: BrokeredAttempt) {
    this.#placeholders = placeholders;
    this.#attempt = attempt;
  }

  /** Undefined also for a provider whose keys cannot be brokered: such a key is given to nobody. */
  async open({ purpose: job, ...place }: CredentialRequest): Promise<string | undefined> {
    if (this.#placeholders === undefined || !Object.hasOwn(BROKERED_PROVIDERS, place.provider))
      return undefined;
    if (!(await this.#placeholders.stored(place))) return undefined;
    this.providers.push(place.provider);
    const { worker, attempt, timeoutMs, now } = this.#attempt;
    const expires_at = now + (timeoutMs ?? LONGEST_MS) + MARGIN_MS;
    return this.#placeholders.make({ ...place, worker, job, attempt, expires_at });
  }
}

export async function isBrokered(buckets: Pick<Buckets, "get">, tenant: string): Promise<boolean> {
  const entry = await buckets.get("tenants", tenant);
  if (entry?.value === undefined) return false;
  const record = tenantRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
  return record.keys === "brokered";
}
