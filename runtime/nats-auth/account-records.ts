/** The records of workers' accounts in their bucket, and the one of the issuers that all of them accept: changed by compare-and-set alone. */
import {
  type AccountRecord,
  acceptedIssuersSchema,
  accountRecordSchema,
  ISSUERS_KEY,
} from "../../protocols/accounts.ts";
import { asBerthError, BerthError } from "../../protocols/errors.ts";
import type { Buckets } from "../transport.ts";

export type AccountBuckets = Pick<Buckets, "get" | "put" | "remove" | "keys">;

export interface Held<T> {
  readonly record: T;
  readonly revision: number;
}

const CHANGE_TRIES = 50;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class AccountRecords {
  readonly #buckets: AccountBuckets;

  constructor(buckets: AccountBuckets) {
    this.#buckets = buckets;
  }

  async names(): Promise<string[]> {
    const keys = await this.#buckets.keys("accounts", ">");
    return keys.filter((key) => key !== ISSUERS_KEY);
  }

  /** Whether there is a record, whatever it says. */
  async has(name: string): Promise<boolean> {
    return (await this.#buckets.get("accounts", name))?.value !== undefined;
  }

  async read(name: string): Promise<Held<AccountRecord> | undefined> {
    return await this.#read(name, accountRecordSchema);
  }

  /** Writes what `change` makes of the record, unless it is the same object, or undefined. */
  async change(
    name: string,
    change: (record: AccountRecord | undefined) => AccountRecord | undefined,
  ): Promise<Held<AccountRecord> | undefined> {
    return await this.#change(name, accountRecordSchema, change);
  }

  async remove(name: string, revision: number): Promise<void> {
    await this.#buckets.remove("accounts", name, { expected: revision });
  }

  /** Public keys whose workers are let in. Where nobody has said so yet, they are `first` from now on. */
  async issuers(first: () => readonly string[]): Promise<Held<readonly string[]>> {
    return await this.#changeIssuers((accepted) => accepted ?? sorted(first()));
  }

  async accept(issuers: readonly string[]): Promise<void> {
    const wanted = sorted(issuers);
    await this.#changeIssuers((accepted) =>
      accepted?.join() === wanted.join() ? accepted : wanted,
    );
  }

  async #changeIssuers(
    change: (accepted: readonly string[] | undefined) => readonly string[],
  ): Promise<Held<readonly string[]>> {
    const held = await this.#change(ISSUERS_KEY, acceptedIssuersSchema, (record) => {
      const accepted = change(record?.accepted);
      return accepted === record?.accepted ? record : { accepted: [...accepted] };
    });
    if (!held) throw new BerthError("internal.unexpected", "the accepted issuers were not kept");
    return { record: held.record.accepted, revision: held.revision };
  }

  async #read<T>(key: string, schema: Schema<T>): Promise<Held<T> | undefined> {
    const entry = await this.#buckets.get("accounts", key);
    if (entry?.value === undefined) return undefined;
    try {
      const record = schema.parse(JSON.parse(decoder.decode(entry.value)));
      return { record, revision: entry.revision };
    } catch (cause) {
      throw new BerthError("internal.unexpected", `${key}: the record cannot be read`, { cause });
    }
  }

  async #change<T>(
    key: string,
    schema: Schema<T>,
    change: (record: T | undefined) => T | undefined,
  ): Promise<Held<T> | undefined> {
    for (let tries = 1; ; tries += 1) {
      const held = await this.#read(key, schema);
      const record = change(held?.record);
      if (record === undefined || record === held?.record) return held;
      const value = encoder.encode(JSON.stringify(record));
      const expected = held?.revision ?? 0;
      try {
        const revision = await this.#buckets.put("accounts", key, value, { expected });
        return { record, revision };
      } catch (thrown) {
        const error = asBerthError(thrown);
        if (error.code !== "record.conflict" || tries >= CHANGE_TRIES) throw error;
      }
    }
  }
}

interface Schema<T> {
  parse(value: unknown): T;
}

const sorted = (names: readonly string[]) => [...names].toSorted();
