/**
 * The deterministic twin of the broker: the same promises as `nats/`, in one process and without sockets. It
 * passes the same conformance suite, so what is tested on it holds on the real one.
 */
import type { AuditEntry } from "../../protocols/audit.ts";
import type { Due, Envelope } from "../../protocols/envelope.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { refName } from "../../protocols/ids.ts";
import { partitionOf } from "../../protocols/partition.ts";
import type { MailLane } from "../../protocols/protocol.ts";
import type { DeadLetter } from "../../protocols/records.ts";
import type { Clock } from "../clock.ts";
import type { MailQueue } from "../mail-queue.ts";
import type { KeyEntry, OpenWork, StoredRecord } from "../transport.ts";

export interface StoredMail {
  readonly seq: number;
  readonly ref: ActorRef;
  readonly lane: MailLane | "due";
  readonly envelope: Envelope | { readonly due: Due };
  readonly size: number;
  readonly storedAt: number;
}

export interface StoredValue {
  readonly revision: number;
  readonly value: Uint8Array | undefined;
  readonly cancelExpiry: () => void;
}

export interface Page extends StoredRecord {
  readonly pending: OpenWork | false;
}

export interface Subscriber {
  readonly pattern: readonly string[];
  readonly queue: string | undefined;
  readonly deliver: (subject: string, data: Uint8Array, reply: (data: Uint8Array) => void) => void;
}

export interface MemoryBrokerOptions {
  readonly clock: Clock;
  readonly partitions?: number;
  readonly mailboxCapacity?: number;
  /** Which of `count` subscribers of one queue gets a message (default: the first that came). */
  readonly pick?: (count: number) => number;
}

const DEFAULT_PARTITIONS = 4;
const DEFAULT_MAILBOX_CAPACITY = 10_000;
const DUPLICATE_WINDOW_MS = 120_000;

/** What all transports connected to one broker share. */
export class MemoryBroker {
  readonly clock: Clock;
  readonly partitions: number;
  readonly mailboxCapacity: number;
  readonly #pick: (count: number) => number;
  readonly pages = new Map<string, Page[]>();
  readonly mail: StoredMail[][];
  readonly streams: (MailQueue | undefined)[];
  /** Dead letters with their place, oldest first. */
  readonly letters: { readonly seq: number; readonly letter: DeadLetter }[] = [];
  /** Entries of all audit chains, oldest first. */
  readonly audit: AuditEntry[] = [];
  readonly buckets = new Map<string, Map<string, StoredValue>>();
  readonly watchers = new Set<{ bucket: string; onEntry: (entry: KeyEntry) => void }>();
  readonly subscribers = new Set<Subscriber>();
  readonly schedules = new Map<string, () => void>();
  readonly #seen = new Map<string, { at: number; seq: number }>();
  readonly #waiting = new Map<string, number>();
  #sequence = 0;

  constructor(options: MemoryBrokerOptions) {
    this.clock = options.clock;
    this.partitions = options.partitions ?? DEFAULT_PARTITIONS;
    this.mailboxCapacity = options.mailboxCapacity ?? DEFAULT_MAILBOX_CAPACITY;
    this.#pick = options.pick ?? (() => 0);
    this.mail = Array.from({ length: this.partitions }, () => []);
    this.streams = Array.from({ length: this.partitions }, () => undefined);
  }

  next(): number {
    this.#sequence += 1;
    return this.#sequence;
  }

  partitionOf(ref: ActorRef): number {
    return partitionOf(ref, this.partitions);
  }

  /** The sequence of an earlier message with this id inside the duplicate window. */
  duplicateOf(id: string): number | undefined {
    const found = this.#seen.get(id);
    return found && this.clock.now() - found.at < DUPLICATE_WINDOW_MS ? found.seq : undefined;
  }

  remember(id: string, seq: number): void {
    this.#seen.set(id, { at: this.clock.now(), seq });
    for (const [oldest, { at }] of this.#seen) {
      if (this.clock.now() - at < DUPLICATE_WINDOW_MS) break;
      this.#seen.delete(oldest);
    }
  }

  /** As a real broker does when it starts again: ids of messages that are gone are not known any more. */
  forgetIds(): void {
    this.#seen.clear();
  }

  /** Mail that waits in one lane of one actor. */
  waiting(name: string): number {
    return this.#waiting.get(name) ?? 0;
  }

  addWaiting(name: string, by: 1 | -1): void {
    const count = this.waiting(name) + by;
    if (count > 0) this.#waiting.set(name, count);
    else this.#waiting.delete(name);
  }

  /** The letters themselves, oldest first. */
  get deadLetters(): DeadLetter[] {
    return this.letters.map(({ letter }) => letter);
  }

  key(ref: ActorRef, journaled: boolean): string {
    return `${journaled ? "journal" : "record"}:${refName(ref)}`;
  }

  bucket(name: string): Map<string, StoredValue> {
    let bucket = this.buckets.get(name);
    if (!bucket) {
      bucket = new Map();
      this.buckets.set(name, bucket);
    }
    return bucket;
  }

  announce(bucket: string, entry: KeyEntry): void {
    for (const watcher of this.watchers) {
      if (watcher.bucket === bucket) queueMicrotask(() => watcher.onEntry(entry));
    }
  }

  /** Gives a message to plain subscribers, and to one of each queue. Returns how many got it. */
  route(subject: string, data: Uint8Array, reply: (data: Uint8Array) => void): number {
    const tokens = subject.split(".");
    const takers: Subscriber[] = [];
    const queues = new Map<string, Subscriber[]>();
    for (const subscriber of this.subscribers) {
      if (!matches(subscriber.pattern, tokens)) continue;
      if (subscriber.queue === undefined) takers.push(subscriber);
      else queues.set(subscriber.queue, [...(queues.get(subscriber.queue) ?? []), subscriber]);
    }
    for (const members of queues.values()) {
      const taker = members[members.length === 1 ? 0 : this.#pick(members.length)];
      if (taker) takers.push(taker);
    }
    for (const { deliver } of takers) queueMicrotask(() => deliver(subject, data, reply));
    return takers.length;
  }
}

/** Whether a subject fits a pattern with the broker's wildcards. */
export function matches(pattern: readonly string[], tokens: readonly string[]): boolean {
  for (const [i, part] of pattern.entries()) {
    if (part === ">") return tokens.length > i;
    if (part !== "*" && part !== tokens[i]) return false;
  }
  return pattern.length === tokens.length;
}
