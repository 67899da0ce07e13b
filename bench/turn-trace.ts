/**
 * When each step of a turn happens on a node, seen from outside of the runtime: the transport it is given and the
 * handlers it calls note the time. Nothing of it is in a node that serves. Messages of one actor are taken to be
 * handled in the order in which they came, as they are when all are of one kind.
 */
import { type ActorRef, refName } from "../protocols/ids.ts";
import type { ActorDefinition } from "../runtime/actor.ts";
import type { Mail, MailStream, Transport } from "../runtime/transport.ts";
import { preciseNow } from "./lines.ts";

/** Milliseconds that a step took, added up; divided by `turns` they are means, and means of steps in a row add up. */
export interface TurnSteps {
  turns: number;
  /** Sum of the times of arrival, counted from `since`. */
  arrived: number;
  /** From the arrival until the ask is in its inbox, or the mail in its own. */
  decode: number;
  /** From there until its handler runs: behind other turns, or for its record. */
  wait: number;
  handler: number;
  /** From the end of the handler until its commit is sent; until the answer is, when it writes nothing. */
  encode: number;
  /** Until the broker has confirmed the commit. */
  commit: number;
  /** From there until the answer or the acknowledgement is sent: the outbox, other answers of the batch. */
  answer: number;
}

interface Marks {
  arrivedAt: number;
  routedAt: number;
  startedAt: number;
  endedAt: number;
  commitAt: number;
  committedAt: number;
}

const NONE: TurnSteps = {
  turns: 0,
  arrived: 0,
  decode: 0,
  wait: 0,
  handler: 0,
  encode: 0,
  commit: 0,
  answer: 0,
};

export class TurnTrace {
  /** By actor, those that came first in front. */
  readonly #open = new Map<string, Marks[]>();
  #steps: TurnSteps = { ...NONE };
  #since = 0;

  /** Begins anew; times of arrival count from `since`. */
  start(since: number): void {
    this.#open.clear();
    this.#steps = { ...NONE };
    this.#since = since;
  }

  get steps(): TurnSteps {
    return this.#steps;
  }

  arrived(name: string): Marks {
    const arrivedAt = preciseNow();
    const marks = { arrivedAt, routedAt: 0, startedAt: 0, endedAt: 0, commitAt: 0, committedAt: 0 };
    const waiting = this.#open.get(name);
    if (waiting) waiting.push(marks);
    else this.#open.set(name, [marks]);
    return marks;
  }

  /** The handler of the next message begins or ends. */
  handled(ref: ActorRef, step: "startedAt" | "endedAt"): void {
    const marks = this.#open.get(refName(ref))?.find((each) => each[step] === 0);
    if (marks) marks[step] = preciseNow();
  }

  /** One commit holds all that were handled since the last. */
  stored(ref: ActorRef, step: "commitAt" | "committedAt"): void {
    const now = preciseNow();
    for (const marks of this.#open.get(refName(ref)) ?? []) {
      if (marks.endedAt > 0 && marks[step] === 0) marks[step] = now;
    }
  }

  /** The answer is sent, or the mail acknowledged. */
  left(name: string): void {
    const waiting = this.#open.get(name);
    const [marks] = waiting ?? [];
    if (!waiting || !marks || marks.endedAt === 0) return;
    waiting.shift();
    if (waiting.length === 0) this.#open.delete(name);
    const leftAt = preciseNow();
    const { arrivedAt, startedAt, endedAt, commitAt, committedAt } = marks;
    // A read is answered before its routing ends.
    const routedAt = marks.routedAt === 0 ? startedAt : Math.min(marks.routedAt, startedAt);
    const writes = committedAt > 0;
    const steps = this.#steps;
    steps.turns += 1;
    steps.arrived += arrivedAt - this.#since;
    steps.decode += routedAt - arrivedAt;
    steps.wait += startedAt - routedAt;
    steps.handler += endedAt - startedAt;
    steps.encode += (writes ? commitAt : leftAt) - endedAt;
    steps.commit += writes ? committedAt - commitAt : 0;
    steps.answer += writes ? leftAt - committedAt : 0;
  }
}

/** The name of the actor that an ask's subject ends with. */
const nameOfSubject = (subject: string) => {
  const [tenant = "", kind = "", key = ""] = subject.split(".").slice(-3);
  return refName({ tenant, kind, key });
};

export function tracedTransport(transport: Transport, trace: TurnTrace): Transport {
  const { bus, mailboxes, records } = transport;
  return {
    ...transport,
    get partitions() {
      return transport.partitions;
    },
    onReconnect: (listener) => transport.onReconnect(listener),
    close: () => transport.close(),
    bus: {
      ...bus,
      serve: (subject, queue, handle) =>
        bus.serve(subject, queue, (incoming) => {
          const name = nameOfSubject(incoming.subject);
          const marks = trace.arrived(name);
          const reply = (data: Uint8Array) => {
            incoming.reply(data);
            trace.left(name);
          };
          handle({ ...incoming, reply });
          marks.routedAt = preciseNow();
        }),
    },
    mailboxes: {
      ...mailboxes,
      open: async (partition) => tracedMail(await mailboxes.open(partition), trace),
    },
    records: {
      ...records,
      async commit(ref, data, options) {
        trace.stored(ref, "commitAt");
        const revision = await records.commit(ref, data, options);
        trace.stored(ref, "committedAt");
        return revision;
      },
    },
  };
}

function tracedMail(stream: MailStream, trace: TurnTrace): MailStream {
  return {
    close: () => stream.close(),
    async *[Symbol.asyncIterator]() {
      for await (const mail of stream) {
        const name = refName(mail.ref);
        const marks = trace.arrived(name);
        const ack = mail.ack.bind(mail);
        // In place: what a mail holds may be taken apart at the first use.
        Object.assign(mail as { -readonly [K in keyof Mail]: Mail[K] }, {
          ack: () => {
            ack();
            trace.left(name);
          },
        });
        yield mail;
        marks.routedAt = preciseNow();
      }
    },
  };
}

export function tracedDefinition<D extends ActorDefinition>(definition: D, trace: TurnTrace): D {
  const { behaviour } = definition;
  const handlers = Object.fromEntries(
    Object.entries(behaviour.handlers as Record<string, (...given: unknown[]) => unknown>).map(
      ([type, handler]) => [
        type,
        (context: { readonly self: ActorRef }, input: unknown) => {
          trace.handled(context.self, "startedAt");
          const answer = handler(context, input);
          trace.handled(context.self, "endedAt");
          return answer;
        },
      ],
    ),
  );
  return { ...definition, behaviour: { ...behaviour, handlers } };
}
