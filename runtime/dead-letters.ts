/** What could not be handled: how a letter is written, and the port through which people read and replay them. */
import type { Due, Envelope } from "../protocols/envelope.ts";
import type { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { MailLane } from "../protocols/protocol.ts";
import type { DeadLetter } from "../protocols/records.ts";
import type { Mail } from "./transport.ts";

/** Letters as the broker holds them. An id names a letter's place there, whatever was written into it. */
export interface DeadLetters {
  /** Newest first, of one tenant or of all; `after` is the id of the last one had. */
  list(query: {
    readonly tenant?: string;
    readonly after?: string;
    readonly limit: number;
  }): Promise<{ readonly letters: readonly DeadLetter[]; readonly next: string | null }>;
  get(id: string): Promise<DeadLetter | undefined>;
  /** Sends the letter's message again and takes the letter away. Rejects with `request.not_found`. */
  replay(id: string): Promise<void>;
  /** Drops one letter, or those of a tenant, or all; resolves with how many. */
  purge(query: { readonly id?: string; readonly tenant?: string }): Promise<number>;
}

/** The letter of mail that was given up. Its id is the same at every try, so that the broker keeps one. */
export function letterOf(
  mail: Pick<Mail, "ref" | "lane" | "seq" | "envelope">,
  error: BerthError,
  by: { readonly epoch: number; readonly attempts: number; readonly at: number },
): DeadLetter {
  return {
    id: `${mail.lane === "due" ? "due" : "mail"}-${mail.seq}`,
    actor: mail.ref,
    lane: mail.lane === "due" ? "user" : mail.lane,
    envelope: "due" in mail.envelope ? mail.envelope.due : mail.envelope,
    reason: { code: error.code, message: error.message },
    ...by,
  };
}

/** The letter of a message that could not even be stored in its receiver's mailbox. */
export function unsentLetter(
  to: ActorRef,
  lane: MailLane,
  envelope: Envelope,
  error: BerthError,
  at: number,
): DeadLetter {
  return {
    id: envelope.id,
    actor: to,
    lane,
    envelope,
    reason: { code: error.code, message: error.message },
    epoch: 0,
    attempts: 0,
    at,
  };
}

/**
 * The message of a letter as it is sent again. Its number and effect are left out: the receiver has counted
 * both as over and would drop it.
 */
export function replayEnvelope(letter: DeadLetter, id: string, now: number): Envelope {
  const {
    nth: _nth,
    effect: _effect,
    ...envelope
  } = letter.envelope as Partial<Envelope> & Partial<Due>;
  return {
    type: "malformed",
    payload: undefined,
    ...("name" in envelope ? { type: envelope.type, payload: envelope.payload } : envelope),
    id,
    sentAt: now,
  } as Envelope;
}
