/**
 * The runtime's ports to the broker. Two implementations pass one conformance suite: `nats/` and the
 * deterministic twin `memory/`. Every method rejects with a `BerthError`; foreign errors stop here.
 */
import type { Due, Envelope } from "../protocols/envelope.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { MailLane } from "../protocols/protocol.ts";
import type { DeadLetter } from "../protocols/records.ts";
import type { Bucket } from "../protocols/subjects.ts";
import type { AuditStore } from "./audit.ts";
import type { DeadLetters } from "./dead-letters.ts";

export interface StoredRecord {
  /** The broker's sequence of the record: what the next commit must expect. */
  readonly revision: number;
  readonly data: Uint8Array;
}

/** What a record leaves open. It stands beside the body, so that a recovery finds it without reading bodies. */
export interface OpenWork {
  /** Under which the record was written. */
  readonly epoch: number;
  readonly outbox: boolean;
  readonly effects: boolean;
}

export interface OpenRecord extends OpenWork {
  readonly ref: ActorRef;
  readonly revision: number;
  readonly journaled: boolean;
}

/** Revisions, one per stream of records. */
export interface Place {
  readonly records: number;
  readonly journal: number;
}

export interface Records {
  /** The newest record, read from the leader; undefined when there is none. */
  load(ref: ActorRef, journaled: boolean): Promise<StoredRecord | undefined>;
  /**
   * The fence (R1): writes if the newest record has `expected` as its revision (0: there is none).
   * Rejects with `record.conflict` when it has not, `actor.state_too_large`, or `broker.unavailable`
   * when it is not known whether it was written. `pending` marks a record whose outbox or effects are open.
   */
  commit(
    ref: ActorRef,
    data: Uint8Array,
    options: {
      readonly expected: number;
      readonly journaled: boolean;
      readonly pending: OpenWork | false;
    },
  ): Promise<number>;
  /** Records of the partition whose newest is marked pending; with `after` only those written after that place. */
  pending(partition: number, after?: Place): AsyncIterable<OpenRecord>;
  /** Pages of a journal, oldest first, from a broker sequence on; at most `limit`. */
  journal(ref: ActorRef, fromRevision: number, limit: number): Promise<StoredRecord[]>;
}

/** One delivered piece of mail. It stays in the broker until `ack`. */
export interface Mail {
  readonly ref: ActorRef;
  /** Grows in the order that the lane's messages were stored. */
  readonly seq: number;
  /** `due` is the reminders' own lane. */
  readonly lane: MailLane | "due";
  /** May be taken apart at the first use: what is never looked at costs nothing. */
  readonly envelope: Envelope | { readonly due: Due };
  /** Bytes of the message in the broker. */
  readonly size: number;
  readonly storedAt: number;
  ack(): void;
}

/** What a reader of held mail learns of each sequence; one that is in neither list cannot be told yet. */
export interface MailRead {
  /** In the order asked for. */
  readonly found: readonly Mail[];
  /** Certainly not in the mailbox any more. */
  readonly gone: readonly number[];
}

/** The delivery of one partition's mail. Order per actor and lane is kept, also over redelivery. */
export interface MailStream extends AsyncIterable<Mail> {
  /** Stops delivery; mail not acknowledged goes to the next stream opened on the partition. */
  close(): Promise<void>;
}

export interface Mailboxes {
  /** Stores a message; resolves with its sequence. Rejects with `actor.mailbox_full` or `broker.unavailable`. */
  send(ref: ActorRef, lane: MailLane, envelope: Envelope): Promise<number>;
  /**
   * Takes the partition's mail over from whoever had it: everything unacknowledged comes again, in order.
   * An earlier stream on the partition, on any node, ends.
   */
  open(partition: number): Promise<MailStream>;
  /**
   * Reads messages again that were delivered and not acknowledged, by their sequences in ascending order: for who
   * kept no more of them. Rejects with `broker.unavailable`.
   */
  read(ref: ActorRef, lane: Mail["lane"], seqs: readonly number[]): Promise<MailRead>;
  /** Fires `due` into the actor's mailbox at `at` (ms since the epoch), replacing the schedule of that name. */
  schedule(ref: ActorRef, due: Due, at: number): Promise<void>;
  unschedule(ref: ActorRef, name: string): Promise<void>;
  deadLetter(letter: DeadLetter): Promise<void>;
}

/** One incoming request. */
export interface Incoming {
  readonly subject: string;
  readonly data: Uint8Array;
  reply(data: Uint8Array): void;
}

/** Called once, `beforeMs` before the end of a request's time, if there is no answer by then. */
export interface Late {
  readonly beforeMs: number;
  readonly fn: () => void;
}

/**
 * While there is no answer, `data()` is sent after `everyMs` and then each time that long, for the same answer; nothing
 * is sent at a time when it is undefined.
 */
export interface Again {
  readonly everyMs: number;
  readonly data: () => Uint8Array | undefined;
}

export interface Bus {
  /**
   * Sends and waits for one answer. Rejects with `actor.moved` when nobody listens, `ask.timeout`, `broker.unavailable`.
   * What is sent again and finds nobody rejects nothing: the first may be under way still.
   */
  request(
    subject: string,
    data: Uint8Array,
    timeoutMs: number,
    late?: Late,
    again?: Again,
  ): Promise<Uint8Array>;
  /** Fire and forget. */
  publish(subject: string, data: Uint8Array): void;
  /** Serves requests on a subject (wildcards allowed); of several servers with one `queue`, one gets each. */
  serve(subject: string, queue: string | undefined, handle: (request: Incoming) => void): Serving;
}

export interface Serving {
  /**
   * Resolves once the server that we are connected to knows of the subscription. The others of a cluster hear of it
   * a moment later: until then who asks there is told `actor.moved`, and asks again.
   */
  readonly ready: Promise<void>;
  /** Takes no more; what has arrived is still handled. */
  close(): Promise<void>;
}

export interface KeyEntry {
  readonly key: string;
  readonly revision: number;
  /** Undefined when the key was deleted or has expired. */
  readonly value: Uint8Array | undefined;
}

export interface Buckets {
  get(bucket: Bucket, key: string): Promise<KeyEntry | undefined>;
  /** Writes; with `expected` only if the revision is that one (0: the key does not exist), else `record.conflict`. */
  put(
    bucket: Bucket,
    key: string,
    value: Uint8Array,
    options?: { readonly expected?: number; readonly ttlMs?: number; readonly timeoutMs?: number },
  ): Promise<number>;
  /** With `expected` only if the revision is that one, else `record.conflict`. */
  remove(bucket: Bucket, key: string, options?: { readonly expected?: number }): Promise<void>;
  /** Entries whose key starts with `prefix` (whole tokens, such as `acme.u1`; `""` is all), sorted by key. */
  list(bucket: Bucket, prefix: string): Promise<KeyEntry[]>;
  /**
   * Keys alone, so that no value crosses the network, sorted. In `pattern` a `*` stands for any one token and a
   * last `>` for one or more, as in subjects.
   */
  keys(bucket: Bucket, pattern: string): Promise<string[]>;
  /**
   * Calls back with every present entry before it resolves, then with every change, until closed. After a break
   * of the connection what changed meanwhile is told, deletions included.
   */
  watch(bucket: Bucket, onEntry: (entry: KeyEntry) => void): Promise<Watch>;
}

export interface Watch {
  close(): Promise<void>;
}

/** All ports of one connection. */
export interface Transport {
  /** Partitions of the deployment, fixed when its streams were made. */
  readonly partitions: number;
  readonly records: Records;
  readonly mailboxes: Mailboxes;
  readonly bus: Bus;
  readonly buckets: Buckets;
  readonly deadLetters: DeadLetters;
  readonly audit: AuditStore;
  /** Called when the connection is back after a loss: what was in flight may be gone. */
  onReconnect(fn: () => void): () => void;
  close(): Promise<void>;
}
