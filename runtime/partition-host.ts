/**
 * One partition on the node that tries to own it: takes its mail and asks, and keeps its activations.
 *
 * Invariants:
 * P1 Mail and asks are taken only between `open` and `close`; after `close` no turn of it commits.
 * P2 When the mail stream ends before `close`, it is opened again and delivers everything unacknowledged;
 *    inboxes recognise what they hold (I2) and records what they have handled (R3).
 * P3 On opening, every actor whose record has an open outbox or effect is loaded and recovered, so what a
 *    dead owner had committed goes out (R2).
 */

import type { AskReply } from "../protocols/envelope.ts";
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import { refOfSubject, subjects, workerOfUp } from "../protocols/subjects.ts";
import { Activation, type ActivationParts } from "./activation.ts";
import type { ActorDefinition } from "./actor.ts";
import { decodeAsk, encodeReply } from "./ask-codec.ts";
import type { Incoming, Mail, MailStream, Serving } from "./transport.ts";

export interface PartitionHostParts extends Omit<ActivationParts, "ref" | "definition" | "signal"> {
  readonly partition: number;
  readonly definitions: ReadonlyMap<string, ActorDefinition>;
  /** Whether a worker may send this message to this actor; by default none may send any. */
  readonly admitUplink: (worker: string, ref: ActorRef, type: string, input: unknown) => boolean;
}

const OWNERS = "owner";
const REOPEN_PAUSE_MS = 200;
const DEFAULT_PASSIVATE_AFTER_MS = 60_000;

export class PartitionHost {
  readonly #parts: PartitionHostParts;
  readonly #activations = new Map<string, Activation>();
  readonly #abort = new AbortController();
  readonly #serving: Serving[] = [];
  #stream: MailStream | undefined;
  #pumping: Promise<void> = Promise.resolve();
  #closing = false;

  constructor(parts: PartitionHostParts) {
    this.#parts = parts;
  }

  get epoch(): number {
    return this.#parts.epoch;
  }

  get activations(): Iterable<Activation> {
    return this.#activations.values();
  }

  get size(): number {
    return this.#activations.size;
  }

  /** Resolves when asks are served and mail flows; recovery goes on in the background. */
  async open(): Promise<void> {
    const { partition, transport } = this.#parts;
    this.#stream = await transport.mailboxes.open(partition);
    this.#serving.push(
      transport.bus.serve(subjects.asksOfPartition(partition), OWNERS, (request) =>
        this.#onAsk(request, undefined),
      ),
      transport.bus.serve(subjects.upOfPartition(partition), OWNERS, (request) =>
        this.#onAsk(request, workerOfUp(request.subject)),
      ),
    );
    await Promise.all(this.#serving.map((serving) => serving.ready));
    this.#pumping = this.#pump();
    this.#recover().catch((thrown: unknown) => {
      if (!this.#closing)
        this.#parts.logger.error({ err: thrown, partition }, "recovering a partition failed");
    });
  }

  /** Takes no more, lets turns finish for at most `withinMs`, then closes. */
  async drain(withinMs: number): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#serving.map((serving) => serving.close()));
    await this.#stream?.close();
    const quiet = Promise.all(
      [...this.#activations.values()].map((activation) => activation.quiesced()),
    );
    const limit = new AbortController();
    await Promise.race([quiet, this.#parts.clock.sleep(withinMs, limit.signal)]);
    limit.abort();
    await this.close();
  }

  /** Gives the partition up at once; open work is taken up by the next owner. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#abort.abort();
    for (const activation of this.#activations.values()) activation.close();
    this.#activations.clear();
    await Promise.all(this.#serving.map((serving) => serving.close().catch(() => undefined)));
    await this.#stream?.close().catch(() => undefined);
    await this.#pumping;
  }

  /** Opens the mail stream anew: after a reconnect deliveries may have been lost (P2). */
  async reopen(): Promise<void> {
    await this.#stream?.close().catch(() => undefined);
  }

  /** Keeps held mail alive and lets idle activations go. */
  async sweep(): Promise<void> {
    for (const [name, activation] of this.#activations) {
      activation.touch();
      const behaviour = this.#parts.definitions.get(activation.ref.kind)?.behaviour;
      if (!activation.isIdle(behaviour?.passivateAfterMs ?? DEFAULT_PASSIVATE_AFTER_MS)) continue;
      if (
        (await activation.passivate()) &&
        this.#activations.get(name) === activation &&
        activation.waiting === 0
      ) {
        this.#activations.delete(name);
        activation.close();
        this.#parts.metrics.count("berth_passivations_total", { kind: activation.ref.kind });
      }
    }
  }

  async #pump(): Promise<void> {
    const { clock, logger, partition, transport } = this.#parts;
    while (!this.#closing) {
      try {
        if (!this.#stream) this.#stream = await transport.mailboxes.open(partition);
        for await (const mail of this.#stream) this.#onMail(mail);
      } catch (thrown) {
        if (!this.#closing)
          logger.info({ err: thrown, partition }, "mail stream ended; opening it again");
      }
      await this.#stream?.close().catch(() => undefined);
      this.#stream = undefined;
      if (!this.#closing) await clock.sleep(REOPEN_PAUSE_MS, this.#abort.signal);
    }
  }

  async #recover(): Promise<void> {
    const { partition, transport } = this.#parts;
    let found = 0;
    for await (const ref of transport.records.pending(partition)) {
      if (this.#closing) return;
      this.#activation(ref)?.recover();
      found += 1;
    }
    if (found > 0) this.#parts.logger.info({ partition, actors: found }, "recovered open work");
  }

  #activation(ref: ActorRef): Activation | undefined {
    const name = refName(ref);
    const live = this.#activations.get(name);
    if (live) return live;
    const definition = this.#parts.definitions.get(ref.kind);
    if (!definition) return undefined;
    const activation = new Activation({
      ...this.#parts,
      ref,
      definition,
      signal: this.#abort.signal,
    });
    this.#activations.set(name, activation);
    return activation;
  }

  #onMail(mail: Mail): void {
    const activation = this.#activation(mail.ref);
    if (activation) activation.pushMail(mail);
    else this.#refuseMail(mail);
  }

  /** No actor of this kind here: the mail stands in the dead letters, not in the way (R2). */
  #refuseMail(mail: Mail): void {
    const { clock, epoch, logger, transport } = this.#parts;
    const error = new BerthError("actor.unknown_kind", `no node serves "${mail.ref.kind}"`);
    const letter = {
      id: `unknown@${mail.lane}:${mail.seq}`,
      actor: mail.ref,
      lane: mail.lane === "due" ? ("user" as const) : mail.lane,
      envelope: mail.envelope,
      reason: { code: error.code, message: error.message },
      epoch,
      attempts: 0,
      at: clock.now(),
    };
    transport.mailboxes.deadLetter(letter).then(
      () => mail.ack(),
      (thrown: unknown) =>
        logger.error(
          { err: thrown, actor: refName(mail.ref) },
          "a dead letter could not be stored",
        ),
    );
  }

  #onAsk(incoming: Incoming, worker: string | undefined): void {
    const respond = (reply: AskReply) => incoming.reply(encodeReply(reply));
    try {
      if (this.#closing) throw new BerthError("actor.moved");
      const ref = refOfSubject(incoming.subject);
      const request = decodeAsk(incoming.data);
      const definition = this.#parts.definitions.get(ref.kind);
      if (!definition) throw new BerthError("actor.unknown_kind", `no node serves "${ref.kind}"`);
      const def = definition.protocol.messages[request.type];
      if (def?.type !== "ask") {
        throw new BerthError("actor.unknown_message", `${ref.kind} takes no ask "${request.type}"`);
      }
      const parsed = def.input.safeParse(request.payload);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        throw new BerthError("request.invalid", issue?.message, { field: issue?.path.join(".") });
      }
      if (
        worker !== undefined &&
        !this.#parts.admitUplink(worker, ref, request.type, parsed.data)
      ) {
        throw new BerthError("auth.forbidden", "a worker may not send this");
      }
      this.#activation(ref)?.pushAsk({ type: "ask", request, def, input: parsed.data, respond });
    } catch (thrown) {
      respond({ ok: false, error: asBerthError(thrown).toWire() });
    }
  }
}
