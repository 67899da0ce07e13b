/**
 * A transport between which and the broker things go wrong, as a port decides: over the memory broker or a real one.
 * What the process awaits resumes inside the process, so that it can be paused and ended.
 */
import { type ActorRef, refName } from "../../protocols/ids.ts";
import type { AuditStore } from "../audit.ts";
import type { DeadLetters } from "../dead-letters.ts";
import type { Mailboxes, OpenRecord, Records, Transport } from "../transport.ts";
import { faultyBuckets } from "./faulty-buckets.ts";
import { faultyBus } from "./faulty-bus.ts";
import { openFaultyMail, throughLink } from "./faulty-mail.ts";
import { Link, type LinkOptions } from "./link.ts";

export interface FaultyTransport extends Transport {
  /** The connection: cut it, mend it, break it. */
  readonly link: Link;
}

export interface FaultyOptions extends LinkOptions {
  /** After so long mail that is not acknowledged comes again (default 60 000, as on the broker). */
  readonly ackWaitMs?: number;
}

const TIMEOUT_MS = 3_000;
const API_TIMEOUT_MS = 5_000;
const DEFAULT_ACK_WAIT_MS = 60_000;
/** Longer than anything takes that an ended process had sent. */
const CLOSE_AFTER_MS = 1_000;

export function faultyTransport(inner: Transport, options: FaultyOptions): FaultyTransport {
  const link = new Link(options);
  const { clock, process } = options;
  process.onEnd(() => {
    clock.after(CLOSE_AFTER_MS, () => void inner.close());
  });
  const { partitions } = inner;
  return {
    link,
    partitions,
    records: faultyRecords(link, inner.records),
    mailboxes: faultyMailboxes(link, inner.mailboxes, options.ackWaitMs ?? DEFAULT_ACK_WAIT_MS),
    bus: faultyBus(link, inner.bus),
    buckets: faultyBuckets(link, inner.buckets),
    deadLetters: faultyDeadLetters(link, inner.deadLetters),
    audit: faultyAudit(link, inner.audit),
    onReconnect: (fn) => link.onBack(fn),
    close() {
      link.send({ what: "close", subject: process.name }, () => void inner.close());
      return Promise.resolve();
    },
  };
}

function faultyRecords(link: Link, inner: Records): Records {
  const read = <T>(what: string, subject: string, work: () => Promise<T>) =>
    link.call({ what: `records.${what}`, subject }, API_TIMEOUT_MS, work);
  return {
    load: (ref, journaled) => read("load", refName(ref), () => inner.load(ref, journaled)),
    commit(ref, data, commit) {
      const cargo = { what: "records.commit", subject: refName(ref), lane: "records" };
      return link.call(cargo, TIMEOUT_MS, () => inner.commit(ref, data, commit));
    },
    async *pending(partition, after) {
      yield* await read("pending", String(partition), async () => {
        const found: OpenRecord[] = [];
        for await (const open of inner.pending(partition, after)) found.push(open);
        return found;
      });
    },
    journal: (ref, from, limit) =>
      read("journal", refName(ref), () => inner.journal(ref, from, limit)),
  };
}

function faultyMailboxes(link: Link, inner: Mailboxes, ackWaitMs: number): Mailboxes {
  const write = <T>(
    cargo: { readonly what: string; readonly subject: string; readonly lane: string },
    work: () => Promise<T>,
    again?: () => void,
  ) => link.call(cargo, TIMEOUT_MS, work, again);
  const onReminders = (what: string, ref: ActorRef, name: string) => ({
    what: `mailboxes.${what}`,
    subject: `${refName(ref)}#${name}`,
    lane: "reminders",
  });
  return {
    send(ref, lane, envelope) {
      const cargo = { what: "mailboxes.send", subject: refName(ref), lane: "mailboxes" };
      // Outside the duplicate window the broker takes it for another one. Only what its receiver counts may double.
      const isCounted = envelope.nth !== undefined || envelope.effect !== undefined;
      const copy = { ...envelope, id: `${envelope.id}~again` };
      const again = isCounted
        ? () => void inner.send(ref, lane, copy).catch(() => undefined)
        : undefined;
      return write(cargo, () => inner.send(ref, lane, envelope), again);
    },
    open: (partition) =>
      openFaultyMail({ link, ackWaitMs }, partition, () => inner.open(partition)),
    async read(ref, lane, seqs) {
      const cargo = { what: "mailboxes.read", subject: refName(ref) };
      const { found, gone } = await link.call(cargo, API_TIMEOUT_MS, () =>
        inner.read(ref, lane, seqs),
      );
      return { found: found.map((mail) => throughLink(link, mail, () => mail.ack())), gone };
    },
    schedule: (ref, due, at) =>
      write(onReminders("schedule", ref, due.name), () => inner.schedule(ref, due, at)),
    unschedule: (ref, name) =>
      write(onReminders("unschedule", ref, name), () => inner.unschedule(ref, name)),
    deadLetter: (letter) =>
      write({ what: "mailboxes.deadLetter", subject: letter.id, lane: "dead-letters" }, () =>
        inner.deadLetter(letter),
      ),
  };
}

function faultyAudit(link: Link, inner: AuditStore): AuditStore {
  const call = <T>(what: string, work: () => Promise<T>) =>
    link.call({ what: `audit.${what}`, subject: "" }, API_TIMEOUT_MS, work);
  return {
    newest: (tenant) => call("newest", () => inner.newest(tenant)),
    append(entry, expected) {
      const cargo = { what: "audit.append", subject: entry.tenant, lane: "audit" };
      return link.call(cargo, TIMEOUT_MS, () => inner.append(entry, expected));
    },
    read: (tenant, from, limit) => call("read", () => inner.read(tenant, from, limit)),
    bounds: (tenant) => call("bounds", () => inner.bounds(tenant)),
    retentionMs: () => call("retentionMs", () => inner.retentionMs()),
  };
}

function faultyDeadLetters(link: Link, inner: DeadLetters): DeadLetters {
  const call = <T>(what: string, work: () => Promise<T>) =>
    link.call({ what: `deadLetters.${what}`, subject: "" }, API_TIMEOUT_MS, work);
  return {
    list: (query) => call("list", () => inner.list(query)),
    get: (id) => call("get", () => inner.get(id)),
    replay: (id) => call("replay", () => inner.replay(id)),
    replayAll: (query) => call("replayAll", () => inner.replayAll(query)),
    purge: (query) => call("purge", () => inner.purge(query)),
  };
}
