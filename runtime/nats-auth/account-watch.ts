/**
 * Has accounts follow tenants, and revocations follow workers' records, whoever ended a worker and wherever. Invariants:
 * W1 a worker whose record goes is cut off at once: also one whose node is away, or that its supervisor has given up.
 *    What the broker did not take is tried again with each pass.
 * W2 what an event tells is looked at again with fresh records; what no event told is found by the next pass.
 * W3 one tenant's failure keeps no other from its account; it is tried again with the next pass.
 */
import { asBerthError } from "../../protocols/errors.ts";
import { workerRecordSchema } from "../../protocols/executor.ts";
import { type TenantRecord, tenantRecordSchema } from "../../protocols/records.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Buckets, KeyEntry, Watch } from "../transport.ts";
import type { AccountKeeper } from "./account-keeper.ts";
import { decideAccount } from "./decide-account.ts";
import { accountName, SHARED_ACCOUNT, tenantAccount } from "./worker-account.ts";

export interface AccountWatchOptions {
  readonly keeper: Pick<
    AccountKeeper,
    "ensure" | "suspend" | "remove" | "names" | "has" | "repair" | "revoke" | "flush"
  >;
  readonly buckets: Pick<Buckets, "get" | "watch">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** From one pass to the next. */
  readonly everyMs: number;
}

const decoder = new TextDecoder();
const TENANT_PREFIX = tenantAccount("");

export class AccountWatch {
  readonly #options: AccountWatchOptions;
  readonly #closing = new AbortController();
  /** Accounts of the workers on record. */
  readonly #workers = new Map<string, string>();
  /** Tenants to be looked at (W2). */
  readonly #changed = new Set<string>();
  #woken = new AbortController();
  #watches: readonly Watch[] = [];
  #running: Promise<void> = Promise.resolve();
  #nextPassAt = 0;

  private constructor(options: AccountWatchOptions) {
    this.#options = options;
  }

  /** Resolves when every tenant that is there has been looked at. */
  static async open(options: AccountWatchOptions): Promise<AccountWatch> {
    const watch = new AccountWatch(options);
    const { buckets } = options;
    const opened = await Promise.allSettled([
      buckets.watch("workers", (entry) => watch.#onWorker(entry)),
      buckets.watch("tenants", ({ key }) => watch.#look(key)),
    ]);
    watch.#watches = opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const failed = opened.find((one) => one.status === "rejected");
    if (failed) {
      await watch.close();
      throw failed.reason;
    }
    await watch.#pass();
    watch.#running = watch.#run();
    return watch;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#woken.abort();
    await Promise.all(this.#watches.map((watch) => watch.close()));
    await this.#running;
  }

  /** W1. */
  #onWorker({ key, value }: KeyEntry): void {
    if (value !== undefined) {
      const record = workerRecordSchema.safeParse(tryParse(value));
      if (record.success) this.#workers.set(key, accountName(record.data.spec));
      return;
    }
    const account = this.#workers.get(key);
    if (account === undefined) return;
    this.#workers.delete(key);
    const { keeper, logger } = this.#options;
    keeper.revoke(account, key).catch((thrown: unknown) => {
      logger.warn({ err: asBerthError(thrown), worker: key }, "a credential is not revoked yet");
    });
    if (account !== SHARED_ACCOUNT) this.#look(account.slice(TENANT_PREFIX.length));
  }

  #look(tenant: string): void {
    this.#changed.add(tenant);
    this.#woken.abort();
  }

  async #run(): Promise<void> {
    const { clock, everyMs } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await clock.sleep(everyMs, this.#woken.signal);
      if (!signal.aborted) await this.#pass();
    }
  }

  async #pass(): Promise<void> {
    const { clock, everyMs, keeper, logger } = this.#options;
    const isDue = clock.monotonic() >= this.#nextPassAt;
    this.#woken = new AbortController();
    try {
      if (isDue) {
        this.#nextPassAt = clock.monotonic() + everyMs;
        await keeper.flush(); // W1
        for (const name of await keeper.names())
          if (name !== SHARED_ACCOUNT) this.#changed.add(name.slice(TENANT_PREFIX.length));
        await keeper.repair();
      }
    } catch (thrown) {
      logger.warn({ err: asBerthError(thrown) }, "workers' accounts could not be compared");
    }
    const tenants = [...this.#changed];
    this.#changed.clear();
    for (const tenant of tenants) await this.#follow(tenant);
  }

  /** W2, W3. */
  async #follow(tenant: string): Promise<void> {
    const { keeper, logger } = this.#options;
    const name = tenantAccount(tenant);
    try {
      const [record, exists] = await Promise.all([this.#tenant(tenant), keeper.has(name)]);
      const workers = [...this.#workers.values()].filter((account) => account === name).length;
      const step = decideAccount({ tenant: record, exists, workers });
      if (step === "none") return;
      if (step === "remove") return await keeper.remove(name);
      await keeper.ensure(name);
      await keeper.suspend(name, step === "suspend");
    } catch (thrown) {
      logger.warn({ err: asBerthError(thrown), tenant }, "a tenant's account does not follow yet");
    }
  }

  async #tenant(id: string): Promise<TenantRecord | undefined> {
    const entry = await this.#options.buckets.get("tenants", id);
    return entry?.value && tenantRecordSchema.parse(tryParse(entry.value));
  }
}

function tryParse(value: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(value));
  } catch {
    return undefined;
  }
}
