/** The record of an actor: all that a commit saves, as JSON that people can read with the `nats` CLI. */
import { z } from "zod";
import { dueSchema, envelopeSchema, refSchema } from "../protocols/envelope.ts";
import { BerthError } from "../protocols/errors.ts";
import { eventSchema, type SessionEvent } from "../protocols/events.ts";
import { MAIL_LANES } from "../protocols/protocol.ts";
import { deadLetterSchema } from "../protocols/records.ts";
import { BUCKETS, type Bucket } from "../protocols/subjects.ts";
import { askersSchema } from "./askers.ts";
import { familySchema } from "./family.ts";
import { noSenders, remembers, sendersSchema } from "./senders.ts";
import { standingSchema } from "./standing.ts";
import type { OpenWork } from "./transport.ts";

const bucketSchema = z.enum(Object.keys(BUCKETS) as [Bucket, ...Bucket[]]);

/** Reads the same and keeps what it does not know: a newer build wrote it, and we write it on. */
const kept = <S extends z.ZodObject>(schema: S): S => schema.loose() as z.ZodObject as S;

/** What goes out after a commit, in this order. Each entry is safe to send twice. */
const outboxEntrySchema = z.discriminatedUnion("op", [
  z.object({
    op: z.literal("tell"),
    to: refSchema,
    lane: z.enum(MAIL_LANES),
    envelope: kept(envelopeSchema),
  }),
  z.object({
    op: z.literal("put"),
    bucket: bucketSchema,
    key: z.string(),
    /** Absent where the key is removed. */
    value: z.unknown().optional(),
    mode: z.enum(["set", "create", "patch", "remove"]),
  }),
  z.object({ op: z.literal("remind"), due: kept(dueSchema), at: z.number() }),
  z.object({ op: z.literal("forget"), name: z.string() }),
  z.object({ op: z.literal("dead"), letter: kept(deadLetterSchema) }),
]);
export type OutboxEntry = z.infer<typeof outboxEntrySchema>;

const effectSchema = z.object({
  tool: z.string(),
  input: z.unknown(),
  /** The message that takes the result; the other, the one that takes an error only. */
  reply: z.string().optional(),
  failed: z.string().optional(),
  traceparent: z.string().optional(),
});
export type PendingEffect = z.infer<typeof effectSchema>;

export const recordSchema = z.object({
  v: z.literal(1),
  /** Epoch of the partition under which it was written: the fencing token (R1). */
  epoch: z.number(),
  /** Who wrote it: the node's incarnation and a number, so that a writer knows its own write again. */
  writer: z.string(),
  commit: z.number(),
  /** Per lane, the highest mailbox sequence whose effect is in here (R3). */
  cursor: z.record(z.string(), z.number()).default(() => ({})),
  state: z.unknown(),
  /** Counts what this actor sends; ids of its messages and effects come from it. */
  nth: z.number(),
  senders: sendersSchema.default(noSenders),
  /** Absent: nobody has asked anything that wrote. */
  askers: askersSchema.optional(),
  outbox: z.array(outboxEntrySchema).default(() => []),
  effects: z.record(z.string(), kept(effectSchema)).default(() => ({})),
  /** Reminders that count; one that fires with another id was replaced or cancelled (R6). */
  reminders: z.record(z.string(), z.string()).default(() => ({})),
  /** Absent: active. */
  standing: standingSchema.optional(),
  /** Absent: neither parent nor children. */
  family: familySchema.optional(),
  /** Journaled actors: seq of the newest event, sparse marks [seq, revision] of earlier pages, this page's events. */
  lastSeq: z.number().optional(),
  index: z.array(z.tuple([z.number(), z.number()])).optional(),
  events: z.array(eventSchema).optional(),
});
export type ActorRecord = z.infer<typeof recordSchema>;

const decoder = new TextDecoder();

const readingSchema = kept(recordSchema);

/** With the fields that this build does not know. */
export function decodeRecord(data: Uint8Array): ActorRecord {
  try {
    return readingSchema.parse(JSON.parse(decoder.decode(data)));
  } catch (thrown) {
    throw new BerthError("actor.state_unreadable", "the record cannot be read", { cause: thrown });
  }
}

/** The fields of a record that this build does not know. Every commit writes them again, as they were. */
export function strangersIn(record: object): object {
  return Object.fromEntries(
    Object.entries(record).filter(([name]) => !Object.hasOwn(recordSchema.shape, name)),
  );
}

/**
 * `stateJson` is given ready made: it is needed anyway to see whether the state changed. Events come first, so
 * that gateways find them without reading the rest. What is empty is left out: most commits hold little but a state.
 */
export function encodeRecord(record: Omit<ActorRecord, "state">, stateJson: string): Uint8Array {
  const { cursor, effects, events, index, outbox, reminders, senders, ...always } = record;
  const head: Partial<ActorRecord> = always;
  if (hasAny(cursor)) head.cursor = cursor;
  if (remembers(senders)) head.senders = senders;
  if (outbox.length > 0) head.outbox = outbox;
  if (hasAny(effects)) head.effects = effects;
  if (hasAny(reminders)) head.reminders = reminders;
  if (index && index.length > 0) head.index = index;
  const first = events ? `"events":${JSON.stringify(events)},` : "";
  // Small ones share a slab: an array buffer of its own for each commit costs the collector more than the encoding.
  return Buffer.from(`{${first}${JSON.stringify(head).slice(1, -1)},"state":${stateJson}}`);
}

function hasAny(values: Readonly<Record<string, unknown>>): boolean {
  for (const _ in values) return true;
  return false;
}

/** What a reader of the log needs of a page. */
export interface JournalPage {
  readonly events: readonly SessionEvent[];
  readonly lastSeq: number;
  /** Ascending [first seq, revision] marks of earlier pages: where to start reading for a cursor. */
  readonly index: readonly (readonly [number, number])[];
}

const pageSchema = z.object({
  events: z.array(z.custom<SessionEvent>((value) => typeof value === "object")).default([]),
  lastSeq: z.number().default(0),
  index: z.array(z.tuple([z.number(), z.number()])).default([]),
});

/** Reads a journal record as a page of the log, without checking each event again: the writer did. */
export function decodePage(data: Uint8Array): JournalPage {
  return pageSchema.parse(JSON.parse(decoder.decode(data)));
}

/** What the record leaves open; false when nothing. */
export function openWork(
  record: Pick<ActorRecord, "epoch" | "outbox" | "effects">,
): OpenWork | false {
  const outbox = record.outbox.length > 0;
  const effects = hasAny(record.effects);
  return (outbox || effects) && { epoch: record.epoch, outbox, effects };
}

/** Marks kept in `index`; when there are more, every second one goes. */
const MAX_MARKS = 64;

/** Adds a page's first seq and revision to the sparse index: dense at the new end, thinner the older. Pure. */
export function addMark(
  index: readonly (readonly [number, number])[],
  firstSeq: number,
  revision: number,
): [number, number][] {
  const marks = [
    ...index.map(([seq, at]): [number, number] => [seq, at]),
    [firstSeq, revision] as [number, number],
  ];
  return marks.length <= MAX_MARKS ? marks : marks.filter((_, i) => i % 2 === 0);
}
