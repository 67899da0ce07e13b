/** What could not be handled: how a letter is written, and the port through which people read and replay them. */
import type { Due, Envelope } from "../protocols/envelope.ts";
import type { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { MailLane } from "../protocols/protocol.ts";
import type { DeadLetter } from "../protocols/records.ts";
import type { Mail } from "./transport.ts";

/** Which letters are meant: all that fit every field given. */
export interface LetterFilter {
  readonly tenant?: string | undefined;
  readonly kind?: string | undefined;
  readonly key?: string | undefined;
  /** Of the reason. */
  readonly code?: string | undefined;
}

export interface Replayed {
  readonly replayed: number;
  /** Those that stay, each with why. */
  readonly failed: readonly {
    readonly id: string;
    readonly code: string;
    readonly message: string;
  }[];
}

/** Letters as the broker holds them. An id names a letter's place there, whatever was written into it. */
export interface DeadLetters {
  /** Newest first; `after` is the id of the last one had. Read from a copy that may lag: what was stored a moment ago may be missing. */
  list(
    query: LetterFilter & { readonly after?: string | undefined; readonly limit: number },
  ): Promise<{ readonly letters: readonly DeadLetter[]; readonly next: string | null }>;
  get(id: string): Promise<DeadLetter | undefined>;
  /**
   * Sends the letter's message again and takes the letter away; tried again after a failure, it is still one message.
   * Rejects with `request.not_found` or `actor.mailbox_full`.
   */
  replay(id: string): Promise<void>;
  /** The same for up to 10,000 letters that stand there now, oldest first: the newest of them when there are more. */
  replayAll(filter: LetterFilter): Promise<Replayed>;
  /** Drops one letter, or those that a filter takes; resolves with how many. */
  purge(query: LetterFilter & { readonly id?: string | undefined }): Promise<number>;
}

export function takesLetter(filter: LetterFilter, { actor, reason }: DeadLetter): boolean {
  const { code, key, kind, tenant } = filter;
  return (
    (tenant ?? actor.tenant) === actor.tenant &&
    (kind ?? actor.kind) === actor.kind &&
    (key ?? actor.key) === actor.key &&
    (code ?? reason.code) === reason.code
  );
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
 * The message of a letter as it is sent again. What it was known by is left out: the receiver has
 * counted its number and its effect as over and would drop it, and its deadline is past.
 */
export function replayEnvelope(letter: DeadLetter, id: string, now: number): Envelope {
  const {
    nth: _nth,
    effect: _effect,
    again: _again,
    letter: _letter,
    deadline: _deadline,
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
