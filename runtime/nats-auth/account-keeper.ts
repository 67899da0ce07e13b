/**
 * Keeps the broker's accounts of workers as their records say. Any number of nodes may do so. Invariants:
 * A1 a record is changed by compare-and-set alone, and the broker is told after it.
 * A2 who has told the broker reads the record again, and tells once more if it has changed meanwhile: whoever tells last
 *    has told the newest, whatever the order in which the broker heard of it.
 * A3 what is asked of one account at the same time is one change.
 */
import { type AccountRecord, accountRecordSchema } from "../../protocols/accounts.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { Buckets } from "../transport.ts";
import { newAccount, revoked, suspended } from "./account-record.ts";
import { type Claims, readClaims, signClaims } from "./jwt.ts";
import type { Nkey } from "./nkey.ts";
import { workerAccountClaims } from "./worker-account.ts";

/** What hosts of workers need of accounts. */
export interface WorkerAccounts {
  /** The account's public key, once the broker knows it. */
  ensure(account: string): Promise<string>;
  /** Resolves when the broker has cut the worker off. */
  revoke(account: string, worker: string): Promise<void>;
}

/** The broker, as far as accounts are concerned. Rejects with `broker.unavailable`. */
export interface ClaimsServer {
  push(token: string): Promise<void>;
  /** `token` names the accounts that are to go. */
  remove(token: string): Promise<void>;
  /** The account's token as the broker has it. */
  lookup(account: string): Promise<string | undefined>;
}

export interface KeeperOptions {
  readonly buckets: Pick<Buckets, "get" | "put" | "remove" | "list">;
  readonly server: ClaimsServer;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Public key of the platform's account. */
  readonly platform: string;
  /** Asked each time, as are the issuers: keys are replaced while we run. */
  readonly signer: () => Nkey;
  readonly issuers: () => readonly string[];
  /** Public keys under which a worker may hold a credential. */
  readonly usersOf: (worker: string) => readonly string[];
  readonly ttlMs: number;
}

interface Held {
  readonly record: AccountRecord;
  readonly revision: number;
}

const SECOND_MS = 1_000;
/** Clocks of nodes and servers differ by less. */
const SKEW_SECONDS = 60;
const CHANGE_TRIES = 50;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class AccountKeeper implements WorkerAccounts {
  readonly #options: KeeperOptions;
  /** Public keys that this keeper has told the broker. */
  readonly #told = new Set<string>();
  /** Workers to be put out with the next change, by account (A3). */
  readonly #leaving = new Map<string, Set<string>>();
  readonly #pumps = new Map<string, Promise<void>>();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  async ensure(name: string): Promise<string> {
    const held =
      (await this.#read(name)) ??
      (await this.#change(name, (record) => record ?? newAccount(name)));
    const key = held?.record.public_key;
    if (key === undefined) throw new BerthError("internal.unexpected", "an account was not made");
    if (!this.#told.has(key)) await this.#tell(name);
    return key;
  }

  async revoke(name: string, worker: string): Promise<void> {
    const leaving = this.#leaving.get(name) ?? new Set();
    this.#leaving.set(name, leaving.add(worker));
    // A change that is under way may have been decided without us.
    await this.#pumps.get(name)?.catch(() => undefined);
    if (!this.#leaving.get(name)?.has(worker)) return await this.#pumps.get(name);
    const pump = this.#putOut(name).finally(() => this.#pumps.delete(name));
    this.#pumps.set(name, pump);
    await pump;
  }

  /** Suspended, nobody of the account is connected or can connect. An account that is not there stays so. */
  async suspend(name: string, isSuspended: boolean): Promise<void> {
    const before = await this.#read(name);
    if (!before || before.record.suspended === isSuspended) return;
    await this.#change(name, (record) => record && suspended(record, isSuspended));
    await this.#tell(name);
  }

  async remove(name: string): Promise<void> {
    const held = await this.#read(name);
    if (!held) return;
    await this.#options.buckets.remove("accounts", name, { expected: held.revision });
    await this.#forget(held.record.public_key);
    this.#options.logger.info({ account: name }, "an account of workers was removed");
  }

  async names(): Promise<string[]> {
    const entries = await this.#options.buckets.list("accounts", "");
    return entries.map(({ key }) => key);
  }

  /** Tells the broker of every account that it knows in an older form: what a keeper that died had left undone. */
  async repair(): Promise<void> {
    for (const name of await this.names()) {
      const held = await this.#read(name);
      if (!held) continue;
      const known = await this.#options.server.lookup(held.record.public_key);
      if (known === undefined || !isCurrent(known, this.#claims(held), this.#options.signer()))
        await this.#tell(name);
    }
  }

  async #putOut(name: string): Promise<void> {
    const workers = [...(this.#leaving.get(name) ?? [])];
    this.#leaving.delete(name);
    const { clock, ttlMs, usersOf } = this.#options;
    const users = workers.flatMap(usersOf);
    const now = Math.floor(clock.now() / SECOND_MS);
    const until = now + Math.ceil(ttlMs / SECOND_MS) + SKEW_SECONDS;
    try {
      await this.#change(name, (record) => record && revoked(record, users, { now, until }));
      await this.#tell(name);
    } catch (thrown) {
      // The next one tries for them too.
      const leaving = this.#leaving.get(name) ?? new Set();
      for (const worker of workers) leaving.add(worker);
      this.#leaving.set(name, leaving);
      throw thrown;
    }
  }

  async #read(name: string): Promise<Held | undefined> {
    const entry = await this.#options.buckets.get("accounts", name);
    if (entry?.value === undefined) return undefined;
    const record = accountRecordSchema.parse(JSON.parse(decoder.decode(entry.value)));
    return { record, revision: entry.revision };
  }

  /** A1. */
  async #change(
    name: string,
    change: (record: AccountRecord | undefined) => AccountRecord | undefined,
  ): Promise<Held | undefined> {
    for (let tries = 1; ; tries += 1) {
      const held = await this.#read(name);
      const record = change(held?.record);
      if (record === undefined || record === held?.record) return held;
      const value = encoder.encode(JSON.stringify(record));
      const expected = held?.revision ?? 0;
      try {
        const revision = await this.#options.buckets.put("accounts", name, value, { expected });
        return { record, revision };
      } catch (thrown) {
        const error = asBerthError(thrown);
        if (error.code !== "record.conflict" || tries >= CHANGE_TRIES) throw error;
      }
    }
  }

  /** A2. */
  async #tell(name: string): Promise<void> {
    const { clock, server, signer } = this.#options;
    let held = await this.#read(name);
    while (held) {
      const told = held;
      const token = signClaims(this.#claims(told), signer(), Math.floor(clock.now() / SECOND_MS));
      await server.push(token);
      this.#told.add(told.record.public_key);
      held = await this.#read(name);
      if (held?.revision === told.revision) return;
      if (held?.record.public_key !== told.record.public_key)
        await this.#forget(told.record.public_key);
    }
  }

  async #forget(publicKey: string): Promise<void> {
    const { clock, server, signer } = this.#options;
    this.#told.delete(publicKey);
    const nats = { accounts: [publicKey], type: "generic", version: 2 };
    const key = signer();
    const claims = { sub: key.publicKey, name: "removal", nats };
    await server.remove(signClaims(claims, key, Math.floor(clock.now() / SECOND_MS)));
  }

  #claims({ record, revision }: Held): Claims {
    const { issuers, platform } = this.#options;
    const account = {
      name: record.name,
      publicKey: record.public_key,
      isSuspended: record.suspended,
      revocations: record.revocations,
      revision,
    };
    return workerAccountClaims(account, { platform, issuers: issuers() });
  }
}

/** Whether the broker's token says what ours would, by a key that still counts. */
function isCurrent(token: string, claims: Claims, signer: Nkey): boolean {
  const known = readClaims(token);
  return (
    known.iss === signer.publicKey && JSON.stringify(known.nats) === JSON.stringify(claims.nats)
  );
}
