/** Whether the job that a placeholder was made for still runs: by the record that its session keeps of it. */
import { isTerminal, jobKey, jobRecordSchema } from "../../protocols/job.ts";
import type { Placeholder } from "../../protocols/placeholder.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Buckets } from "../../runtime/transport.ts";

interface Known {
  readonly at: number;
  readonly runs: Promise<boolean>;
}

/** So long after its job's end a placeholder may count. */
const FRESH_MS = 2_000;
const MOST_JOBS = 10_000;

export class RunningJobs {
  readonly #buckets: Pick<Buckets, "get">;
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(buckets: Pick<Buckets, "get">, clock: Clock) {
    this.#buckets = buckets;
    this.#clock = clock;
  }

  /** Rejects when it cannot be looked up. */
  async has({ tenant, user, job, attempt }: Placeholder): Promise<boolean> {
    const now = this.#clock.monotonic();
    const key = `${jobKey(tenant, user, job)} ${attempt}`;
    const known = this.#known.get(key);
    if (known !== undefined && now - known.at < FRESH_MS) return await known.runs;
    if (this.#known.size >= MOST_JOBS) this.#known.clear();
    const runs = this.#read(jobKey(tenant, user, job), attempt);
    this.#known.set(key, { at: now, runs });
    runs.catch(() => this.#known.delete(key));
    return await runs;
  }

  /** A later attempt ends an earlier one; the record may lag behind, never run ahead. */
  async #read(key: string, attempt: number): Promise<boolean> {
    const entry = await this.#buckets.get("jobs", key);
    if (entry?.value === undefined) return false;
    const record = jobRecordSchema.parse(JSON.parse(new TextDecoder().decode(entry.value)));
    return !isTerminal(record.state) && record.attempt <= attempt;
  }
}
