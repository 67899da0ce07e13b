/** The runtime's ports on a `MemoryBroker`. Bytes are copied at the border, as a socket would. */
import { BerthError } from "../../protocols/errors.ts";
import type { ActorRef } from "../../protocols/ids.ts";
import { refName } from "../../protocols/ids.ts";
import { subjects } from "../../protocols/subjects.ts";
import { MailQueue } from "../mail-queue.ts";
import { startRequestTimer } from "../request-timer.ts";
import type {
  Buckets,
  Bus,
  KeyEntry,
  Mail,
  Mailboxes,
  MailStream,
  Records,
  Serving,
  Transport,
} from "../transport.ts";
import { memoryAuditStore } from "./audit-store.ts";
import {
  type MemoryBroker,
  matches,
  type Page,
  type StoredMail,
  type Subscriber,
} from "./broker.ts";
import { memoryDeadLetters } from "./dead-letters.ts";

/** A new connection to the broker; closing it takes its subscriptions and mail streams away. */
export function connectMemory(broker: MemoryBroker): Transport {
  const closers = new Set<() => void>();
  const mailboxes = memoryMailboxes(broker, closers);
  const buckets = memoryBuckets(broker);
  return {
    partitions: broker.partitions,
    records: memoryRecords(broker),
    mailboxes,
    deadLetters: memoryDeadLetters(broker, { mailboxes, buckets }),
    audit: memoryAuditStore(broker),
    bus: memoryBus(broker, closers),
    buckets,
    onReconnect: () => () => {},
    close() {
      for (const close of closers) close();
      closers.clear();
      return Promise.resolve();
    },
  };
}

function memoryRecords(broker: MemoryBroker): Records {
  const newest = (key: string) => broker.pages.get(key)?.at(-1);
  return {
    load(ref, journaled) {
      const page = newest(broker.key(ref, journaled));
      return Promise.resolve(page && { revision: page.revision, data: page.data.slice() });
    },
    async commit(ref, data, { expected, journaled, pending }) {
      const key = broker.key(ref, journaled);
      if ((newest(key)?.revision ?? 0) !== expected) throw new BerthError("record.conflict");
      const page: Page = { revision: broker.next(), data: data.slice(), pending };
      broker.pages.set(key, journaled ? [...(broker.pages.get(key) ?? []), page] : [page]);
      if (journaled) broker.route(subjects.live(ref), page.data, () => {});
      return page.revision;
    },
    async *pending(partition, after) {
      for (const [key, pages] of broker.pages) {
        const page = pages.at(-1);
        const journaled = key.startsWith("journal:");
        if (!page?.pending || page.revision <= (after?.[journaled ? "journal" : "records"] ?? 0))
          continue;
        const [tenant = "", kind = "", actorKey = ""] = key.slice(key.indexOf(":") + 1).split("/");
        const ref: ActorRef = { tenant, kind, key: actorKey };
        if (broker.partitionOf(ref) === partition)
          yield { ref, revision: page.revision, journaled, ...page.pending };
      }
    },
    journal(ref, fromRevision, limit) {
      const pages = broker.pages.get(broker.key(ref, true)) ?? [];
      const found = pages.filter((page) => page.revision >= fromRevision).slice(0, limit);
      return Promise.resolve(found.map(({ revision, data }) => ({ revision, data: data.slice() })));
    },
  };
}

function store(broker: MemoryBroker, mail: StoredMail): void {
  const partition = broker.partitionOf(mail.ref);
  broker.mail[partition]?.push(mail);
  broker.addWaiting(laneName(mail), 1);
  broker.streams[partition]?.push(toMail(broker, partition, mail));
}

function memoryMailboxes(broker: MemoryBroker, closers: Set<() => void>): Mailboxes {
  return {
    async send(ref, lane, envelope) {
      const known = broker.duplicateOf(envelope.id);
      if (known !== undefined) return known;
      if (broker.waiting(laneName({ ref, lane })) >= broker.mailboxCapacity)
        throw new BerthError("actor.mailbox_full");
      const seq = broker.next();
      broker.remember(envelope.id, seq);
      const copy = structuredClone(envelope);
      const size = JSON.stringify(copy).length;
      store(broker, { seq, ref, lane, envelope: copy, size, storedAt: broker.clock.now() });
      return seq;
    },
    open: (partition) => Promise.resolve(openMailStream(broker, closers, partition)),
    async read(ref, lane, seqs) {
      const partition = broker.partitionOf(ref);
      const wanted = new Set(seqs);
      const isWanted = (mail: StoredMail) =>
        wanted.has(mail.seq) && laneName(mail) === laneName({ ref, lane });
      const held = (broker.mail[partition] ?? []).filter(isWanted);
      for (const { seq } of held) wanted.delete(seq);
      return { found: held.map((mail) => toMail(broker, partition, mail)), gone: [...wanted] };
    },
    async schedule(ref, due, at) {
      const name = `${refName(ref)}#${due.name}`;
      broker.schedules.get(name)?.();
      const now = () => broker.clock.now();
      const envelope = { due: structuredClone(due) };
      const size = JSON.stringify(due).length;
      const fire = () => {
        broker.schedules.delete(name);
        store(broker, { seq: broker.next(), ref, lane: "due", envelope, size, storedAt: now() });
      };
      broker.schedules.set(name, broker.clock.after(Math.max(0, at - now()), fire));
    },
    async unschedule(ref, name) {
      const schedule = `${refName(ref)}#${name}`;
      broker.schedules.get(schedule)?.();
      broker.schedules.delete(schedule);
    },
    async deadLetter(letter) {
      const id = `dead:${letter.id}`;
      if (broker.duplicateOf(id) !== undefined) return;
      const seq = broker.next();
      broker.remember(id, seq);
      broker.letters.push({ seq, letter: structuredClone(letter) });
    },
  };
}

function openMailStream(
  broker: MemoryBroker,
  closers: Set<() => void>,
  partition: number,
): MailStream {
  broker.streams[partition]?.fail(new BerthError("lease.lost", "taken over"));
  const queue = new MailQueue();
  broker.streams[partition] = queue;
  for (const mail of broker.mail[partition] ?? []) queue.push(toMail(broker, partition, mail));
  const close = () => {
    queue.end();
    if (broker.streams[partition] === queue) broker.streams[partition] = undefined;
  };
  closers.add(close);
  return {
    [Symbol.asyncIterator]: () => queue[Symbol.asyncIterator](),
    close: () => {
      closers.delete(close);
      close();
      return Promise.resolve();
    },
  };
}

function laneName({ ref, lane }: Pick<StoredMail, "ref" | "lane">): string {
  return `${refName(ref)}/${lane}`;
}

function toMail(broker: MemoryBroker, partition: number, stored: StoredMail): Mail {
  return {
    ...stored,
    ack() {
      const held = broker.mail[partition];
      const at = held?.indexOf(stored) ?? -1;
      if (at < 0) return;
      held?.splice(at, 1);
      broker.addWaiting(laneName(stored), -1);
    },
  };
}

function memoryBus(broker: MemoryBroker, closers: Set<() => void>): Bus {
  return {
    request(subject, data, timeoutMs, late, again) {
      return new Promise((resolve, reject) => {
        const send = (bytes: Uint8Array) =>
          broker.route(subject, bytes.slice(), (answer) => {
            cancel();
            resolve(answer.slice());
          });
        const cancel = startRequestTimer(broker.clock, {
          timeoutMs,
          late,
          again,
          resend: send,
          giveUp: () => reject(new BerthError("ask.timeout")),
        });
        if (send(data) > 0) return;
        cancel();
        reject(new BerthError("actor.moved", "No node serves the actor at this moment"));
      });
    },
    publish(subject, data) {
      broker.route(subject, data.slice(), () => {});
    },
    serve(subject, queue, handle): Serving {
      const subscriber: Subscriber = {
        pattern: subject.split("."),
        queue,
        deliver: (to, data, reply) => handle({ subject: to, data, reply }),
      };
      broker.subscribers.add(subscriber);
      const close = () => {
        broker.subscribers.delete(subscriber);
      };
      closers.add(close);
      return {
        ready: Promise.resolve(),
        close: () => {
          closers.delete(close);
          close();
          return Promise.resolve();
        },
      };
    },
  };
}

function memoryBuckets(broker: MemoryBroker): Buckets {
  const set = (bucket: string, key: string, value: Uint8Array | undefined, ttlMs?: number) => {
    const entries = broker.bucket(bucket);
    entries.get(key)?.cancelExpiry();
    const revision = broker.next();
    const cancelExpiry =
      ttlMs === undefined ? () => {} : broker.clock.after(ttlMs, () => set(bucket, key, undefined));
    entries.set(key, { revision, value: value?.slice(), cancelExpiry });
    broker.announce(bucket, { key, revision, value: value?.slice() });
    return revision;
  };
  const present = (bucket: string): KeyEntry[] =>
    [...broker.bucket(bucket)]
      .filter(([, stored]) => stored.value !== undefined)
      .map(([key, { revision, value }]) => ({ key, revision, value }))
      .toSorted((a, b) => (a.key < b.key ? -1 : 1));
  return {
    async get(bucket, key) {
      const stored = broker.bucket(bucket).get(key);
      return stored?.value && { key, revision: stored.revision, value: stored.value.slice() };
    },
    async put(bucket, key, value, { expected, ttlMs } = {}) {
      const stored = broker.bucket(bucket).get(key);
      const current = stored?.value ? stored.revision : 0;
      if (expected !== undefined && expected !== current) throw new BerthError("record.conflict");
      return set(bucket, key, value, ttlMs);
    },
    async remove(bucket, key, { expected } = {}) {
      const current = broker.bucket(bucket).get(key)?.revision ?? 0;
      if (expected !== undefined && expected !== current) throw new BerthError("record.conflict");
      set(bucket, key, undefined);
    },
    list: (bucket, prefix) =>
      Promise.resolve(
        present(bucket).filter(({ key }) => prefix === "" || key.startsWith(`${prefix}.`)),
      ),
    async keys(bucket, pattern) {
      const tokens = pattern.split(".");
      const all = present(bucket).map(({ key }) => key);
      return all.filter((key) => matches(tokens, key.split(".")));
    },
    async watch(bucket, onEntry) {
      const watcher = { bucket, onEntry };
      broker.watchers.add(watcher);
      for (const entry of present(bucket)) onEntry(entry);
      return {
        close: () => {
          broker.watchers.delete(watcher);
          return Promise.resolve();
        },
      };
    },
  };
}
