/**
 * What surrounds a message on the wire. Mail is JSON (people read it with the `nats` CLI); asks are
 * msgpack (only our processes read them). Readers ignore fields they do not know.
 */
import { z } from "zod";
import { wireErrorSchema } from "./protocol.ts";

export const refSchema = z.object({ kind: z.string(), tenant: z.string(), key: z.string() });

/**
 * Who sent something that a client numbers: the client, the number of this ask or tell to this actor, up to which all
 * are over for it, and when it was first sent (ms).
 */
export const sentBySchema = z.tuple([z.string(), z.number(), z.number(), z.number()]);
export type SentBy = z.infer<typeof sentBySchema>;

export const envelopeSchema = z.object({
  /** Unique for ever; the broker drops a second one inside its duplicate window (R3). */
  id: z.string(),
  type: z.string(),
  payload: z.unknown(),
  /** The sending actor; absent when a client sent it. */
  from: refSchema.optional(),
  /** Of actor senders: a number that only grows, so the receiver drops what it has had (R3). */
  nth: z.number().int().optional(),
  /** Of clients: numbered apart for each lane, so that one stored twice is handled once (R3). */
  by: sentBySchema.optional(),
  /** It may have been stored before: sent again after a crash or a lost answer. */
  again: z.boolean().optional(),
  /** Of a dead letter that was replayed: its id. The receiver takes one message of it (R3). */
  letter: z.string().optional(),
  /** Of tool results: the effect they end. */
  effect: z.string().optional(),
  /** The id of the message whose turn sent this one. */
  cause: z.string().optional(),
  /** Milliseconds since the epoch after which nobody waits for the outcome. */
  deadline: z.number().optional(),
  traceparent: z.string().optional(),
  sentAt: z.number(),
});
export type Envelope = z.infer<typeof envelopeSchema>;

/** A reminder as it fires: its id must still stand in the actor's record, or it was cancelled. */
export const dueSchema = z.object({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  payload: z.unknown(),
});
export type Due = z.infer<typeof dueSchema>;

export const askRequestSchema = z.object({
  id: z.string(),
  type: z.string(),
  payload: z.unknown(),
  from: refSchema.optional(),
  deadline: z.number(),
  /** Of asks that may write: what makes one that is sent again be handled once (R3). */
  by: sentBySchema.optional(),
  /** Sent before under the same id, without an answer. */
  again: z.boolean().optional(),
  traceparent: z.string().optional(),
  /** The highest mailbox sequence, by lane, of this sender's tells to this actor: they are handled first (R4). */
  after: z.record(z.string(), z.number()).optional(),
  /** This sender waits for no other ask to this actor: a read may be answered before what others sent (R4). */
  alone: z.boolean().optional(),
});
export type AskRequest = z.infer<typeof askRequestSchema>;

export const askReplySchema = z.union([
  z.object({ ok: z.literal(true), payload: z.unknown() }),
  z.object({
    ok: z.literal(false),
    error: wireErrorSchema,
    /** Of a refusal: who says it has the actor's record at hand, and so speaks for every sending of the ask. */
    sure: z.literal(true).optional(),
  }),
]);
export type AskReply =
  | { readonly ok: true; readonly payload: unknown }
  | {
      readonly ok: false;
      readonly error: z.infer<typeof wireErrorSchema>;
      readonly sure?: true | undefined;
    };
