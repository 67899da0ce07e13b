/**
 * Keeps the broker's accounts of workers as their records say. Any number of nodes may do so. Invariants:
 * A1 a record is changed first, and the broker is told after it: a node that dies in between leaves what another repairs.
 * A2 what is wrong with one account keeps no other from being told.
 */
import { BerthError } from "../../protocols/errors.ts";
import { sweepLeftovers } from "./account-leftovers.ts";
import { AccountPublisher, type PublisherOptions } from "./account-publisher.ts";
import { newAccount, pruned, suspended } from "./account-record.ts";
import { type AccountBuckets, AccountRecords } from "./account-records.ts";
import { AccountRevocations, type RevocationOptions } from "./account-revocations.ts";
import { accountRound } from "./account-round.ts";

/** What hosts of workers need of accounts. */
export interface WorkerAccounts {
  /** The account's public key, once the broker knows it. */
  ensure(account: string): Promise<string>;
  /** Resolves when the broker has cut the worker off. */
  revoke(account: string, worker: string): Promise<void>;
}

export interface KeeperOptions extends PublisherOptions, RevocationOptions {
  readonly buckets: AccountBuckets;
}

const SECOND_MS = 1_000;

export class AccountKeeper implements WorkerAccounts {
  readonly #options: KeeperOptions;
  readonly #records: AccountRecords;
  readonly #publisher: AccountPublisher;
  readonly #revocations: AccountRevocations;

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#records = new AccountRecords(options.buckets);
    this.#publisher = new AccountPublisher(this.#records, options);
    this.#revocations = new AccountRevocations(this.#records, this.#publisher, options);
  }

  async ensure(name: string): Promise<string> {
    const held =
      (await this.#records.read(name)) ??
      (await this.#records.change(name, (record) => record ?? newAccount(name)));
    if (!held) throw new BerthError("internal.unexpected", "an account was not made");
    await this.#publisher.introduce(held.record);
    return held.record.public_key;
  }

  revoke(name: string, worker: string): Promise<void> {
    return this.#revocations.revoke(name, worker);
  }

  /** Tries again for all whom an earlier try has not put out. */
  flush(): Promise<void> {
    return this.#revocations.flush();
  }

  /** Suspended, nobody of the account is connected or can connect. An account that is not there stays so. */
  async suspend(name: string, isSuspended: boolean): Promise<void> {
    const before = await this.#records.read(name);
    if (!before || before.record.suspended === isSuspended) return;
    await this.#records.change(name, (record) => record && suspended(record, isSuspended));
    await this.#publisher.publish(name);
  }

  async remove(name: string): Promise<void> {
    const held = await this.#records.read(name);
    if (!held) return;
    await this.#records.remove(name, held.revision);
    await this.#publisher.retract(name, held.record.public_key);
    this.#options.logger.info({ account: name }, "an account of workers was removed");
  }

  names(): Promise<string[]> {
    return this.#records.names();
  }

  has(name: string): Promise<boolean> {
    return this.#records.has(name);
  }

  /** From the next telling on these are the issuers whose workers are let in; `repair` tells every account. */
  accept(issuers: readonly string[]): Promise<void> {
    return this.#records.accept(issuers);
  }

  /**
   * Tells the broker of every account that it knows in an older form, and of those that are removed: what a keeper that
   * died had left undone. Rejects with what failed for one of them when all have had their turn (A2).
   */
  async repair(): Promise<void> {
    const { clock, logger } = this.#options;
    await this.#compareIssuers();
    const named = new Set<string>();
    const repaired = async (name: string) => {
      const now = Math.floor(clock.now() / SECOND_MS);
      const held = await this.#records.change(name, (record) => record && pruned(record, now));
      if (held) named.add(held.record.public_key);
      await this.#publisher.publish(name, { isLookedAt: true });
    };
    const failed = "an account is not told yet";
    const failure = await accountRound(await this.names(), repaired, { logger, failed });
    if (failure?.code === "broker.unavailable") throw failure;
    const parts = { records: this.#records, publisher: this.#publisher };
    await sweepLeftovers(named, parts, this.#options);
    if (failure) throw failure;
  }

  /** A node whose files a rotation has left behind gives its workers what no account accepts. */
  async #compareIssuers(): Promise<void> {
    const { issuers, logger } = this.#options;
    const own = issuers();
    const { record } = await this.#records.issuers(issuers);
    if (own.some((key) => record.includes(key))) return;
    logger.error(
      { issuers: own },
      "this node's issuer key is not accepted: copy the newest, or rotate the issuer",
    );
  }
}
