/**
 * A bucket followed over everything that can happen to the connection.
 *
 * Invariants:
 * W1 After every break the bucket is read anew and the difference told: what is new or changed, and as gone what
 *    was there before. So a follower never keeps a key that went while nobody listened.
 * W2 Entries of a key are told in the order of their revisions, each once.
 */
import type { JetStreamClient } from "@nats-io/jetstream";
import { Kvm, type KvWatchEntry } from "@nats-io/kv";
import { BerthError } from "../../protocols/errors.ts";
import { BUCKETS, type Bucket } from "../../protocols/subjects.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../logger.ts";
import type { KeyEntry, Watch } from "../transport.ts";
import { fromNats } from "./errors.ts";

interface Collaborators {
  readonly js: JetStreamClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onReconnect: (fn: () => void) => () => void;
  readonly list: (bucket: Bucket) => Promise<KeyEntry[]>;
}

const RETRY_MS = 200;

export class BucketWatch implements Watch {
  readonly #parts: Collaborators;
  readonly #bucket: Bucket;
  readonly #onEntry: (entry: KeyEntry) => void;
  /** Revisions told, by key; only of keys that are there. */
  readonly #present = new Map<string, number>();
  readonly #stop = new AbortController();
  #changes: (AsyncIterable<KvWatchEntry> & { stop(): void }) | undefined;
  /** Reconnections seen: what was begun before one may listen to a server that is gone (W1). */
  #breaks = 0;
  #following: Promise<void> = Promise.resolve();
  #offReconnect: () => void = () => {};

  private constructor(parts: Collaborators, bucket: Bucket, onEntry: (entry: KeyEntry) => void) {
    this.#parts = parts;
    this.#bucket = bucket;
    this.#onEntry = onEntry;
  }

  /** Resolves when every present entry has been told. */
  static async open(
    parts: Collaborators,
    bucket: Bucket,
    onEntry: (entry: KeyEntry) => void,
  ): Promise<Watch> {
    const watch = new BucketWatch(parts, bucket, onEntry);
    watch.#offReconnect = parts.onReconnect(() => {
      watch.#breaks += 1;
      watch.#changes?.stop();
    });
    try {
      await watch.#begin();
    } catch (thrown) {
      watch.#offReconnect();
      throw thrown;
    }
    watch.#following = watch.#follow();
    return watch;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#offReconnect();
    this.#changes?.stop();
    await this.#following;
  }

  /** Listens first and reads then, so that nothing falls between (W1). */
  async #begin(): Promise<void> {
    const breaks = this.#breaks;
    try {
      const kv = await new Kvm(this.#parts.js).open(BUCKETS[this.#bucket]);
      this.#changes = await kv.watch();
    } catch (thrown) {
      throw fromNats(thrown);
    }
    try {
      await this.#compare();
      if (breaks !== this.#breaks) {
        throw new BerthError("broker.unavailable", "the connection broke while a watch began");
      }
    } catch (thrown) {
      this.#changes.stop();
      this.#changes = undefined;
      throw thrown;
    }
  }

  async #compare(): Promise<void> {
    const entries = await this.#parts.list(this.#bucket);
    const keys = new Set(entries.map(({ key }) => key));
    const gone = [...this.#present].filter(([key]) => !keys.has(key));
    for (const [key, revision] of gone) this.#tell({ key, revision, value: undefined });
    for (const entry of entries) this.#tell(entry);
  }

  async #follow(): Promise<void> {
    const { clock, logger } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (!this.#changes) await this.#begin();
        for await (const change of this.#changes ?? []) {
          const value = change.operation === "PUT" ? change.value : undefined;
          this.#tell({ key: change.key, revision: change.revision, value });
        }
      } catch (thrown) {
        logger.debug({ err: thrown, bucket: this.#bucket }, "a watch ended; beginning it again");
      }
      this.#changes = undefined;
      if (!signal.aborted) await clock.sleep(RETRY_MS, signal);
    }
    this.#changes?.stop();
  }

  /** W2. What is found missing is told with the revision that it had. */
  #tell(entry: KeyEntry): void {
    const told = this.#present.get(entry.key) ?? 0;
    const isNews =
      entry.value === undefined ? told > 0 && told <= entry.revision : told < entry.revision;
    if (!isNews) return;
    if (entry.value === undefined) this.#present.delete(entry.key);
    else this.#present.set(entry.key, entry.revision);
    try {
      this.#onEntry(entry);
    } catch (thrown) {
      this.#parts.logger.error({ err: thrown, key: entry.key }, "a watcher failed");
    }
  }
}
