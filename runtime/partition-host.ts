/**
 * One partition on the node that tries to own it: takes its mail and asks, and keeps its activations.
 *
 * Invariants:
 * P1 Mail and asks are taken only between `open` and `close`. A stream that opens while the host closes is closed.
 * P2 When the mail stream ends before `close`, it is opened again, as long as the node's lease holds, and delivers
 *    everything unacknowledged; inboxes recognise what they hold (I2) and records what they have handled (R3).
 * P3 On opening, every actor whose record has an open outbox or effect is loaded and recovered, so what a dead
 *    owner had committed goes out (R2). `recovery.ts` finds them.
 * P4 A drain ends what is being handled and nothing else: what waits is the next owner's.
 * P5 Mail for a kind that another build's node serves waits here, bounded, and unacknowledged (V1).
 * P6 An actor is either an activation or a guest of the lobby, never both: what comes for a guest waits with it and
 *    goes with it into its activation, in order.
 */
import { asBerthError, BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { Inspection } from "../protocols/inspection.ts";
import { partitionOf } from "../protocols/partition.ts";
import { refOfSubject, subjects } from "../protocols/subjects.ts";
import { Activation, type ActivationParts } from "./activation.ts";
import { type Intake, takeAsk } from "./ask-intake.ts";
import { atMost } from "./at-most.ts";
import { encodeError } from "./batch.ts";
import { letterOf } from "./dead-letters.ts";
import { ForeignMail } from "./foreign-mail.ts";
import type { Gate } from "./gate.ts";
import { Guests, type Waiting } from "./guests.ts";
import { ASK_CAPACITY, Inbox } from "./inbox.ts";
import type { Lobby } from "./lobby.ts";
import { Recovery } from "./recovery.ts";
import { sharedAbort } from "./shared-abort.ts";
import type { Incoming, Mail, MailStream, Serving } from "./transport.ts";

export interface PartitionHostParts
  extends Omit<ActivationParts, "ref" | "definition" | "signal" | "recovery">,
    Intake {
  readonly partition: number;
  readonly nodeId: string;
  /** Lets the partitions of a node look at all their records one after the other. */
  readonly scans: Gate;
  readonly lobby: Lobby;
}

const encoder = new TextEncoder();
const OWNERS = "owner";
const REOPEN_PAUSE_MS = 200;
/** Longest wait for the broker to hear that we stop listening. */
const LEAVE_MS = 1_000;
const DEFAULT_PASSIVATE_AFTER_MS = 60_000;

export class PartitionHost {
  readonly #parts: PartitionHostParts;
  readonly #activations = new Map<string, Activation>();
  readonly #guests = new Guests();
  readonly #abort = sharedAbort();
  readonly #serving: Serving[] = [];
  readonly #recovery: Recovery;
  readonly #foreign: ForeignMail;
  #stream: MailStream | undefined;
  #pumping: Promise<void> = Promise.resolve();
  #closing = false;

  constructor(parts: PartitionHostParts) {
    this.#parts = parts;
    this.#recovery = new Recovery({
      ...parts,
      signal: this.#abort.signal,
      recover: (ref) => this.#recover(ref),
    });
    this.#foreign = new ForeignMail(parts.servedElsewhere);
  }

  get epoch(): number {
    return this.#parts.epoch;
  }

  get activations(): Iterable<Activation> {
    return this.#activations.values();
  }

  find(ref: ActorRef): Activation | undefined {
    return this.#activations.get(refName(ref));
  }

  get size(): number {
    return this.#activations.size;
  }

  /** Mail that waits here: messages in memory, and those of which only the sequence is. */
  get mail(): { readonly bodies: number; readonly sequences: number } {
    let { messages: all, sequences } = this.#guests.mail;
    for (const { waiting, stubs } of this.#activations.values()) {
      all += waiting;
      sequences += stubs;
    }
    return { bodies: all - sequences, sequences };
  }

  /** Resolves when asks are served and mail flows; recovery goes on in the background. Leaves nothing behind if it fails. */
  async open(): Promise<void> {
    const { partition, transport } = this.#parts;
    try {
      await this.#recovery.begin();
      this.#stream = await transport.mailboxes.open(partition);
      this.#serve(subjects.asksOfPartition(partition), (ask) => this.#onAsk(ask, false));
      this.#serve(subjects.upOfPartition(partition), (ask) => this.#onAsk(ask, true));
      this.#serve(subjects.inspectionsOfPartition(partition), (ask) => this.#onInspection(ask));
      await Promise.all(this.#serving.map((serving) => serving.ready));
    } catch (thrown) {
      await this.close();
      throw thrown;
    }
    this.#pumping = this.#pump();
    void this.#recovery.run();
  }

  /** Takes no more and lets the turns that run end, for at most `withinMs`; then closes (P4). */
  async drain(withinMs: number): Promise<void> {
    this.#closing = true;
    await this.#leave();
    this.#dismiss();
    const activations = [...this.#activations.values()];
    for (const activation of activations) activation.close();
    const ended = Promise.all(activations.map((activation) => activation.ended()));
    await atMost(this.#parts.clock, withinMs, ended);
    await atMost(this.#parts.clock, LEAVE_MS, this.#recovery.checkpoint());
    await this.close();
  }

  /** Gives the partition up at once; open work is taken up by the next owner. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#abort.abort();
    this.#dismiss();
    for (const activation of this.#activations.values()) activation.close();
    this.#activations.clear();
    await this.#leave();
    await atMost(this.#parts.clock, LEAVE_MS, this.#pumping);
  }

  /** Opens the mail stream anew: after a reconnect deliveries may have been lost (P2). */
  async reopen(): Promise<void> {
    await this.#stream?.close().catch(() => undefined);
  }

  /** Lets idle activations go, and gives up mail that nobody knows any more (P5). */
  async sweep(): Promise<void> {
    for (const mail of this.#foreign.takeHopeless()) this.#refuseMail(mail);
    for (const [name, activation] of this.#activations) {
      const behaviour = this.#parts.definitions.get(activation.ref.kind)?.behaviour;
      if (!activation.isIdle(behaviour?.passivateAfterMs ?? DEFAULT_PASSIVATE_AFTER_MS)) continue;
      await this.#passivate(name, activation);
    }
  }

  #serve(subject: string, handle: (incoming: Incoming) => void): void {
    const { bus } = this.#parts.transport;
    this.#serving.push(bus.serve(subject, OWNERS, handle));
  }

  /** Tells what one actor here waits on, without a turn of it. */
  #onInspection(incoming: Incoming): void {
    const { epoch, nodeId, partition } = this.#parts;
    const activation = this.find(refOfSubject(incoming.subject));
    const where = { node: nodeId, partition, epoch };
    const active = activation ? { ...activation.describe(), ...where } : null;
    const answer: Inspection = { ...where, active };
    incoming.reply(encoder.encode(JSON.stringify(answer)));
  }

  /** Listens no more; bounded, for the broker may be away. */
  async #leave(): Promise<void> {
    const closings = this.#serving.map((serving) => serving.close());
    if (this.#stream) closings.push(this.#stream.close());
    await atMost(this.#parts.clock, LEAVE_MS, Promise.allSettled(closings));
  }

  async #pump(): Promise<void> {
    const { clock, logger, partition } = this.#parts;
    while (!this.#closing) {
      try {
        await this.#readMail();
      } catch (thrown) {
        if (!this.#closing)
          logger.info({ err: thrown, partition }, "mail stream ended; opening it again");
      }
      await this.#stream?.close().catch(() => undefined); // P1
      this.#stream = undefined;
      if (!this.#closing) await clock.sleep(REOPEN_PAUSE_MS, this.#abort.signal);
    }
  }

  /** P2. */
  async #readMail(): Promise<void> {
    const { leaseValid, pace, partition, transport } = this.#parts;
    if (!this.#stream && leaseValid()) this.#stream = await transport.mailboxes.open(partition);
    if (!this.#stream || this.#closing) return;
    for await (const mail of this.#stream) {
      this.#onMail(mail);
      if (pace.isSpent) await pace.rest();
    }
  }

  /** P3. It waits its turn in the lobby. False when this node does not know the actor's kind, or gives it up. */
  async #recover(ref: ActorRef): Promise<boolean> {
    const live = this.#activations.get(refName(ref));
    if (live) {
      await live.recover();
      return true;
    }
    const guest = this.#closing ? undefined : this.#guest(ref);
    if (!guest) return false;
    return new Promise((resolve) => {
      guest.recoveries.push(resolve);
      this.#parts.lobby.enter(guest, false);
    });
  }

  /** The guest of that name, made if there is none; undefined when no actor of its kind is served here. */
  #guest(ref: ActorRef): Waiting | undefined {
    const name = refName(ref);
    const known = this.#guests.get(name);
    if (known || !this.#parts.definitions.has(ref.kind)) return known;
    const guest: Waiting = {
      inbox: new Inbox(ASK_CAPACITY, this.#parts.bodies),
      recoveries: [],
      start: () => this.#activate(ref, guest)?.start() ?? Promise.resolve(),
    };
    this.#guests.add(name, guest);
    return guest;
  }

  /** P6. Undefined when no actor of its kind is served here. */
  #activate(ref: ActorRef, guest: Waiting | undefined): Activation | undefined {
    const name = refName(ref);
    const definition = this.#parts.definitions.get(ref.kind);
    if (!definition) return undefined;
    this.#guests.remove(name);
    const { signal } = this.#abort;
    const parts = { ...this.#parts, ref, definition, recovery: this.#recovery, signal };
    const idle = (activation: Activation) => this.#onIdle(name, activation);
    const entrance = guest && { inbox: guest.inbox, idle };
    const activation = new Activation(parts, entrance);
    this.#activations.set(name, activation);
    if (guest && guest.recoveries.length > 0) {
      void activation.recover().then(() => {
        for (const tell of guest.recoveries) tell(true);
      });
    }
    return activation;
  }

  /** For an ask, which does not wait in the lobby. */
  #activation(ref: ActorRef): Activation | undefined {
    const name = refName(ref);
    const live = this.#activations.get(name);
    if (live) return live;
    const { lobby } = this.#parts;
    if (!lobby.hasRoom) throw new BerthError("actor.overloaded", "the node holds too many actors");
    const guest = this.#guests.get(name);
    if (guest) lobby.leave(guest);
    return this.#activate(ref, guest);
  }

  /** While others wait, who was woken by mail and has no more of it goes at once. */
  #onIdle(name: string, activation: Activation): void {
    if (this.#parts.lobby.waiting > 0) void this.#passivate(name, activation);
  }

  async #passivate(name: string, activation: Activation): Promise<void> {
    if (!(await activation.passivate(() => this.#activations.delete(name)))) return;
    this.#parts.metrics.count("berth_passivations_total", { kind: activation.ref.kind });
  }

  /** What waits is the next owner's. */
  #dismiss(): void {
    for (const guest of this.#guests.clear()) {
      this.#parts.lobby.leave(guest);
      guest.inbox.dropMail();
      for (const tell of guest.recoveries) tell(false);
    }
  }

  #onMail(mail: Mail): void {
    if (this.#closing) return;
    const live = this.#activations.get(refName(mail.ref));
    if (live) {
      live.pushMail(mail);
      return;
    }
    const guest = this.#guest(mail.ref);
    if (guest) {
      this.#guests.push(guest, mail);
      this.#parts.lobby.enter(guest, mail.lane === "system" || mail.lane === "control");
    } else if (!this.#foreign.keep(mail)) this.#refuseMail(mail);
  }

  /** No actor of this kind here: the mail stands in the dead letters, not in the way (R2). */
  #refuseMail(mail: Mail): void {
    const { clock, epoch, logger, transport } = this.#parts;
    const error = new BerthError("actor.unknown_kind", `no node serves "${mail.ref.kind}"`);
    const letter = letterOf(mail, error, { epoch, attempts: 0, at: clock.now() });
    transport.mailboxes.deadLetter(letter).then(
      () => mail.ack(),
      (thrown: unknown) =>
        logger.error(
          { err: thrown, actor: refName(mail.ref) },
          "a dead letter could not be stored",
        ),
    );
  }

  #onAsk(incoming: Incoming, fromWorker: boolean): void {
    try {
      const { ref, item } = takeAsk(this.#parts, incoming, fromWorker);
      if (this.#closing) {
        // Its first sending may be what the drain waits for: the answer of that is the answer of this.
        const live = this.#activations.get(refName(ref));
        if (item.request.again && live?.joins(item)) return;
        throw new BerthError("actor.moved");
      }
      const { partition, transport } = this.#parts;
      if (fromWorker && partitionOf(ref, transport.partitions) !== partition) {
        throw new BerthError("request.malformed", "the subject names another partition");
      }
      this.#activation(ref)?.pushAsk(item);
    } catch (thrown) {
      incoming.reply(encodeError(asBerthError(thrown)));
    }
  }
}
