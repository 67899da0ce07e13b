/**
 * Puts workers out of their accounts. Invariants:
 * R1 what is asked of one account at the same time is one change.
 * R2 a list of revocations that is full lets in no more, so that what else there is to tell can still be told.
 * R3 whom the broker has not put out is tried again with the account's next change, and by `flush`, until the
 *    credentials have expired by themselves.
 */
import { BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics.ts";
import type { AccountPublisher } from "./account-publisher.ts";
import { MOST_REVOCATIONS, notIn, type Revocation, revoked } from "./account-record.ts";
import type { AccountRecords } from "./account-records.ts";
import { accountRound } from "./account-round.ts";

export interface RevocationOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Public keys under which a worker may hold a credential. */
  readonly usersOf: (worker: string) => readonly string[];
  /** Of a credential. */
  readonly ttlMs: number;
}

/** What puts each of the workers out. */
type Leaving = ReadonlyMap<string, readonly Revocation[]>;

const SECOND_MS = 1_000;
/** Clocks of nodes and servers differ by less. */
export const SKEW_SECONDS = 60;

export class AccountRevocations {
  readonly #records: AccountRecords;
  readonly #publisher: Pick<AccountPublisher, "publish">;
  readonly #options: RevocationOptions;
  /** Workers to be put out with the next change, by account (R1). */
  readonly #leaving = new Map<string, Leaving>();
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
    const { ttlMs, usersOf } = this.#options;
    const until = this.#now() + Math.ceil(ttlMs / SECOND_MS) + SKEW_SECONDS;
    this.#leave(name, [[worker, usersOf(worker).map((user) => [user, until])]]);
    // A change that is under way may have been decided without us.
    await this.#pumps.get(name)?.catch(() => undefined);
    if (!this.#leaving.get(name)?.has(worker)) return await this.#pumps.get(name);
    await this.#pump(name);
  }

  /** R3. What fails again is logged, and stays for the next time. */
  async flush(): Promise<void> {
    const { logger } = this.#options;
    const again = async (name: string) => {
      await this.#pumps.get(name)?.catch(() => undefined);
      // Who has come meanwhile may have begun the next change.
      if (this.#leaving.has(name) && !this.#pumps.has(name)) await this.#pump(name);
    };
    const failed = "credentials are not revoked yet";
    await accountRound([...this.#leaving.keys()], again, { logger, failed });
  }

  #leave(name: string, workers: Iterable<[string, readonly Revocation[]]>): void {
    // Who has waited longer keeps its time.
    this.#leaving.set(name, new Map([...workers, ...(this.#leaving.get(name) ?? [])]));
  }

  async #pump(name: string): Promise<void> {
    const pump = this.#putOut(name).finally(() => this.#pumps.delete(name));
    this.#pumps.set(name, pump);
    await pump;
  }

  async #putOut(name: string): Promise<void> {
    const leaving: Leaving = this.#leaving.get(name) ?? new Map();
    this.#leaving.delete(name);
    const now = this.#now();
    const users = [...leaving.values()].flat();
    try {
      const held = await this.#records.change(
        name,
        (record) => record && revoked(record, users, now),
      );
      await this.#publisher.publish(name);
      if (held) this.#requireRoom(name, notIn(held.record, users, now).length);
    } catch (thrown) {
      const counting = [...leaving].filter(([, out]) => out.some(([, until]) => until >= now));
      if (counting.length > 0) this.#leave(name, counting); // R3
      throw thrown;
    }
  }

  /** R2. */
  #requireRoom(name: string, refused: number): void {
    if (refused === 0) return;
    this.#options.metrics.count("berth_revocations_refused_total", {}, refused);
    throw new BerthError(
      "broker.unavailable",
      `account ${name} has ${MOST_REVOCATIONS} revocations, the most that it can have: ${refused} credentials count until they expire, or there is room`,
    );
  }

  #now(): number {
    return Math.floor(this.#options.clock.now() / SECOND_MS);
  }
}
