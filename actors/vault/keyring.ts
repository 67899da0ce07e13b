/**
 * The vault's keys as this node has them, read again without a restart. Invariants:
 * Y1 an id that is not known is looked for in the source before it counts as unknown, at most once a second: who asks
 *    in between waits.
 * Y2 a source that fails, or says nothing that can be used, leaves the keys that are there.
 */
import { asBerthError } from "../../protocols/errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { KeyEncryptionKey } from "./key-encryption-key.ts";

/** Where keys come from. Its errors name no key. */
export interface KeySource {
  read(): Promise<readonly KeyEncryptionKey[]>;
  /** After so long the current key is asked for anew; null: it never changes. */
  readonly staleAfterMs: number | null;
}

const PAUSE_MS = 1_000;

export class Keyring {
  readonly #source: KeySource;
  readonly #clock: Clock;
  readonly #log: Logger;
  #keys: readonly KeyEncryptionKey[] = [];
  #readAt = 0;
  #reading: Promise<void> | undefined;

  private constructor(source: KeySource, clock: Clock, log: Logger) {
    this.#source = source;
    this.#clock = clock;
    this.#log = log;
  }

  /** Rejects when the source has no keys now: a node must not start in the belief that it has some. */
  static async open(source: KeySource, clock: Clock, log: Logger): Promise<Keyring> {
    const keyring = new Keyring(source, clock, log);
    keyring.#keys = await source.read();
    keyring.#readAt = clock.monotonic();
    return keyring;
  }

  /** What is sealed now is sealed with it. */
  async current(): Promise<KeyEncryptionKey> {
    const { staleAfterMs } = this.#source;
    if (staleAfterMs !== null && this.#ageMs >= staleAfterMs) await this.#read();
    const [current] = this.#keys;
    if (current === undefined) throw new Error("a keyring is never empty");
    return current;
  }

  /** Y1. */
  async find(id: string): Promise<KeyEncryptionKey | undefined> {
    const known = this.#known(id);
    if (known !== undefined || this.#source.staleAfterMs === null) return known;
    await this.#read(PAUSE_MS - this.#ageMs);
    return this.#known(id);
  }

  ids(): readonly string[] {
    return this.#keys.map(({ id }) => id);
  }

  get #ageMs(): number {
    return this.#clock.monotonic() - this.#readAt;
  }

  #known(id: string): KeyEncryptionKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }

  /** Y2. Those who ask at the same time share one reading. */
  #read(afterMs = 0): Promise<void> {
    this.#reading ??= this.#readOnce(afterMs).finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readOnce(afterMs: number): Promise<void> {
    if (afterMs > 0) await this.#clock.sleep(afterMs);
    try {
      this.#keys = await this.#source.read();
    } catch (thrown) {
      const { message } = asBerthError(thrown);
      this.#log.warn({ reason: message }, "the vault's keys cannot be read again; the old stay");
    }
    this.#readAt = this.#clock.monotonic();
  }
}
