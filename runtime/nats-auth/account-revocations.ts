/**
 * Puts workers out of their accounts. Invariants:
 * R1 what is asked of one account at the same time is one change.
 * R2 whom the broker has not put out is tried again with the account's next change.
 */
import type { Clock } from "../clock.ts";
import type { AccountPublisher } from "./account-publisher.ts";
import { revoked } from "./account-record.ts";
import type { AccountRecords } from "./account-records.ts";

export interface RevocationOptions {
  readonly clock: Clock;
  /** Public keys under which a worker may hold a credential. */
  readonly usersOf: (worker: string) => readonly string[];
  /** Of a credential. */
  readonly ttlMs: number;
}

const SECOND_MS = 1_000;
/** Clocks of nodes and servers differ by less. */
const SKEW_SECONDS = 60;

export class AccountRevocations {
  readonly #records: AccountRecords;
  readonly #publisher: Pick<AccountPublisher, "publish">;
  readonly #options: RevocationOptions;
  /** Workers to be put out with the next change, by account (R1). */
  readonly #leaving = new Map<string, ReadonlySet<string>>();
  readonly #pumps = new Map<string, Promise<void>>();

  constructor(
    records: AccountRecords,
    publisher: Pick<AccountPublisher, "publish">,
    options: RevocationOptions,
  ) {
    this.#records = records;
    this.#publisher = publisher;
    this.#options = options;
  }

  async revoke(name: string, worker: string): Promise<void> {
    this.#leave(name, [worker]);
    // A change that is under way may have been decided without us.
    await this.#pumps.get(name)?.catch(() => undefined);
    if (!this.#leaving.get(name)?.has(worker)) return await this.#pumps.get(name);
    await this.#pump(name);
  }

  #leave(name: string, workers: Iterable<string>): void {
    this.#leaving.set(name, new Set([...(this.#leaving.get(name) ?? []), ...workers]));
  }

  async #pump(name: string): Promise<void> {
    const pump = this.#putOut(name).finally(() => this.#pumps.delete(name));
    this.#pumps.set(name, pump);
    await pump;
  }

  async #putOut(name: string): Promise<void> {
    const { clock, ttlMs, usersOf } = this.#options;
    const workers = [...(this.#leaving.get(name) ?? [])];
    this.#leaving.delete(name);
    const users = workers.flatMap(usersOf);
    const now = Math.floor(clock.now() / SECOND_MS);
    const until = now + Math.ceil(ttlMs / SECOND_MS) + SKEW_SECONDS;
    try {
      await this.#records.change(
        name,
        (record) => record && revoked(record, users, { now, until }),
      );
      await this.#publisher.publish(name);
    } catch (thrown) {
      this.#leave(name, workers); // R2
      throw thrown;
    }
  }
}
