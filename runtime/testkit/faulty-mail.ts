/**
 * A partition's mail over a link that has faults.
 *
 * Invariants:
 * F1 Deliveries are numbered; a missing number ends the stream before anything behind the hole is handed out, as on
 *    the real broker.
 * F2 What is not acknowledged for the acknowledgement time comes again, in its turn.
 */
import { BerthError } from "../../protocols/errors.ts";
import { refName } from "../../protocols/ids.ts";
import { MailQueue } from "../mail-queue.ts";
import type { Mail, MailStream } from "../transport.ts";
import type { Cargo, Link } from "./link.ts";

const OPEN_TIMEOUT_MS = 5_000;

export async function openFaultyMail(
  parts: { readonly link: Link; readonly ackWaitMs: number },
  partition: number,
  open: () => Promise<MailStream>,
): Promise<MailStream> {
  const cargo = { what: "mailboxes.open", subject: String(partition), lane: `mail ${partition}` };
  const delivery = await parts.link.call(cargo, OPEN_TIMEOUT_MS, async () => {
    const inner = await open();
    return new Delivery(parts, cargo.lane, inner);
  });
  return delivery.stream;
}

/** Both ends of one opened stream. */
class Delivery {
  readonly stream: MailStream;
  readonly #link: Link;
  readonly #ackWaitMs: number;
  readonly #lane: string;
  readonly #inner: MailStream;
  readonly #queue = new MailQueue();
  /** At the broker: what was delivered and not acknowledged, with the timer of its redelivery. */
  readonly #unacked = new Map<Mail, () => void>();
  #sent = 0;
  #received = 0;

  constructor(
    { link, ackWaitMs }: { readonly link: Link; readonly ackWaitMs: number },
    lane: string,
    inner: MailStream,
  ) {
    this.#link = link;
    this.#ackWaitMs = ackWaitMs;
    this.#lane = lane;
    this.#inner = inner;
    this.stream = {
      [Symbol.asyncIterator]: () => this.#queue[Symbol.asyncIterator](),
      close: () => {
        this.#queue.end();
        link.send(this.#cargo("mailboxes.close", ""), () => void inner.close());
        return Promise.resolve();
      },
    };
    void this.#pump();
  }

  #cargo(what: string, subject: string): Cargo {
    return { what, subject, lane: this.#lane };
  }

  /** The broker's end. */
  async #pump(): Promise<void> {
    let reason: unknown;
    try {
      for await (const mail of this.#inner) this.#forward(mail);
      reason = new BerthError("broker.unavailable", "the mail stream ended");
    } catch (thrown) {
      reason = thrown;
    }
    for (const cancel of this.#unacked.values()) cancel();
    this.#unacked.clear();
    const fail = () => this.#queue.fail(reason as Error);
    this.#link.deliver(this.#cargo("mail.end", ""), fail);
  }

  #forward(mail: Mail): void {
    this.#sent += 1;
    const number = this.#sent;
    this.#await(mail);
    const cargo = this.#cargo("mail", refName(mail.ref));
    const again = () => {
      if (this.#unacked.has(mail)) this.#forward(mail);
    };
    this.#link.deliver(cargo, () => this.#receive(number, mail), again);
  }

  /** F2. */
  #await(mail: Mail): void {
    this.#unacked.get(mail)?.();
    this.#unacked.set(
      mail,
      this.#link.clock.after(this.#ackWaitMs, () => this.#forward(mail)),
    );
  }

  /** The process's end. */
  #receive(number: number, mail: Mail): void {
    this.#received += 1;
    if (number !== this.#received) {
      this.#queue.fail(new BerthError("broker.unavailable", "a delivery was lost")); // F1
      return;
    }
    this.#queue.push(throughLink(this.#link, mail, () => this.#acked(mail)));
  }

  #acked(mail: Mail): void {
    this.#unacked.get(mail)?.();
    this.#unacked.delete(mail);
    mail.ack();
  }
}

/** The mail as the process has it: its acknowledgement goes through the link. The envelope stays as lazy as it was. */
export function throughLink(link: Link, mail: Mail, acked: () => void): Mail {
  const { ref, seq, lane, size, storedAt } = mail;
  return {
    ref,
    seq,
    lane,
    size,
    storedAt,
    get envelope() {
      return mail.envelope;
    },
    ack: () => link.send({ what: "mail.ack", subject: refName(ref) }, acked),
  };
}
