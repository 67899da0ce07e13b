/**
 * What the turns of one commit have recorded so far. Several turns may share a commit (a hot actor handles
 * what queued up while the last commit was on its way); nothing of it leaves before the commit is stored. Values
 * are copied when they are recorded: a later turn of the same commit may change what they were made of.
 */
import type { SentBy } from "../protocols/envelope.ts";
import { BerthError } from "../protocols/errors.ts";
import type { EventType, SessionEvent } from "../protocols/events.ts";
import type { ActorRef } from "../protocols/ids.ts";
import { refName } from "../protocols/ids.ts";
import type { MailLane } from "../protocols/protocol.ts";
import type { ActorState } from "./actor-state.ts";
import { type Askers, addHandled, wasHandled } from "./askers.ts";
import { type Family, NO_FAMILY } from "./family.ts";
import { freshUlid } from "./fresh-ulid.ts";
import type { ActorRecord, OutboxEntry, PendingEffect } from "./record.ts";
import { type Hearing, lastHeard, type Senders } from "./senders.ts";
import { decideStanding, type Standing, type StandingEvent } from "./standing.ts";

export interface MetricEntry {
  readonly type: "count" | "observe";
  readonly name: string;
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** More than a record holds: stops a turn that sends without end before it has filled the memory (R7). */
const MAX_OUTBOX = 5_000;

export class Stage {
  readonly self: ActorRef;
  readonly outbox: OutboxEntry[] = [];
  readonly newEffects = new Map<string, PendingEffect>();
  readonly endedEffects = new Set<string>();
  /** Those of the ended that may still run. */
  readonly cancelledEffects: string[] = [];
  readonly events: SessionEvent[] = [];
  readonly metrics: MetricEntry[] = [];
  readonly reminders: Record<string, string>;
  readonly cursor: Record<string, number>;
  /** Who was heard, by sender and lane: the last message of each. */
  readonly heard = new Map<string, Hearing>();
  nth: number;
  lastSeq: number;
  /** Whose asks were handled. */
  askers: Askers | undefined;
  standing: Standing | undefined;
  family: Family;
  /** The actor was ordered to begin again: nothing of its memory is used after the commit. */
  restarted = false;
  /** True once anything but the state has changed. */
  touched = false;
  readonly #committed: ActorState;
  /** What the turns change; there is none before the first of them asks for the state. */
  #draft: { value: unknown } | undefined;
  /** What a read-only handler between two writing turns sees of the draft. */
  #view: { readonly value: unknown } | undefined;
  readonly #senders: Senders;

  constructor(self: ActorRef, record: Omit<ActorRecord, "state">, committed: ActorState) {
    this.self = self;
    this.reminders = { ...record.reminders };
    this.cursor = { ...record.cursor };
    this.#senders = record.senders;
    this.nth = record.nth;
    this.lastSeq = record.lastSeq ?? 0;
    this.askers = record.askers;
    this.standing = record.standing;
    this.family = record.family ?? NO_FAMILY;
    this.#committed = committed;
  }

  get state(): unknown {
    this.#view = undefined;
    this.#draft ??= { value: this.#committed.draft() };
    return this.#draft.value;
  }

  set state(value: unknown) {
    this.#view = undefined;
    this.#draft = { value };
  }

  /** The state for a read-only handler: it cannot change it (S2). */
  readState(): unknown {
    if (!this.#draft) return this.#committed.read();
    this.#view ??= { value: this.#committed.view(this.stateJson()) };
    return this.#view.value;
  }

  /** `undefined` has no JSON; it becomes text that no schema takes. */
  stateJson(): string {
    return this.#draft ? (JSON.stringify(this.#draft.value) ?? "") : this.#committed.json;
  }

  /** The commit has stored `stateJson`, or there was nothing to store: the draft is the state. */
  keepState(stateJson: string): void {
    if (this.#draft) this.#committed.store(stateJson, this.#draft.value);
  }

  /** Whether this ask or tell of a client was handled before: it was sent again (R3). */
  hasHandled(by: SentBy): boolean {
    return this.askers !== undefined && wasHandled(this.askers, by);
  }

  /** `isRepeatable`: it may have been sent twice, so this must be stored even if nothing else is. */
  noteHandled(by: SentBy, now: number, isRepeatable: boolean): void {
    this.askers = addHandled(this.askers ?? {}, by, now);
    if (isRepeatable) this.touched = true;
  }

  #nextId(): string {
    this.nth += 1;
    return `${refName(this.self)}:${this.nth}`;
  }

  tell(
    to: ActorRef,
    lane: MailLane,
    type: string,
    payload: unknown,
    cause: Cause,
    now: number,
  ): void {
    const id = this.#nextId();
    this.add({
      op: "tell",
      to,
      lane,
      envelope: {
        id,
        type,
        payload,
        from: this.self,
        nth: this.nth,
        sentAt: now,
        ...(cause.id === undefined ? {} : { cause: cause.id }),
        ...(cause.traceparent === undefined ? {} : { traceparent: cause.traceparent }),
      },
    });
  }

  execute(effect: PendingEffect): string {
    const id = this.#nextId();
    this.newEffects.set(id, effect);
    this.touched = true;
    return id;
  }

  remind(name: string, type: string, payload: unknown, at: number): void {
    const id = this.#nextId();
    this.reminders[name] = id;
    this.add({ op: "remind", due: { id, name, type, payload }, at });
  }

  forget(name: string): void {
    if (this.reminders[name] === undefined) return;
    delete this.reminders[name];
    this.add({ op: "forget", name });
  }

  emit(type: EventType, jobId: string | null, data: Record<string, unknown>, at: number): number {
    this.lastSeq += 1;
    this.events.push({
      id: `evt_${this.self.key.replace(/^ses_/, "")}_${this.lastSeq}`,
      seq: this.lastSeq,
      type,
      time: new Date(at).toISOString(),
      session_id: this.self.key,
      job_id: jobId,
      data: structuredClone(data),
    });
    this.touched = true;
    return this.lastSeq;
  }

  add(entry: OutboxEntry): void {
    const last = entry.op === "put" ? this.#lastPut(entry) : undefined;
    if (last !== undefined) this.outbox[last] = entry;
    else if (this.outbox.length < MAX_OUTBOX) this.outbox.push(entry);
    else
      throw new BerthError("actor.state_too_large", `a turn sends at most ${MAX_OUTBOX} messages`);
    this.touched = true;
  }

  /** An earlier value of the same key that this one replaces, so that a busy turn group writes a projection once. */
  #lastPut(entry: OutboxEntry & { op: "put" }): number | undefined {
    if (entry.mode !== "set" && entry.mode !== "remove") return undefined;
    const at = this.outbox.findLastIndex(
      (known) => known.op === "put" && known.bucket === entry.bucket && known.key === entry.key,
    );
    const known = this.outbox[at];
    return known?.op === "put" && (known.mode === "set" || known.mode === "remove")
      ? at
      : undefined;
  }

  endEffect(id: string): void {
    this.endedEffects.add(id);
    this.touched = true;
  }

  /** Ends an effect that nobody waits for any more; a result on its way is dropped. */
  cancelEffect(id: string): void {
    this.cancelledEffects.push(id);
    this.endEffect(id);
  }

  change(family: Partial<Family>): void {
    this.family = { ...this.family, ...family };
    this.touched = true;
  }

  stand(event: StandingEvent, now: number): void {
    this.standing = decideStanding(this.standing, event, now);
    this.touched = true;
  }

  /** The lane's messages up to `seq` are handled: a redelivery of one is dropped (R3). */
  advance(lane: string, seq: number): void {
    this.cursor[lane] = Math.max(this.cursor[lane] ?? 0, seq);
    this.touched = true;
  }

  /** Lanes are counted apart: control overtakes the others, so numbers grow inside a lane only (R2). */
  hear(hearing: Hearing): void {
    this.heard.set(`${refName(hearing.from)}/${hearing.lane}`, hearing);
  }

  /** Whether the message was handled (R3); `unknown` when it was sent again and its sender may have been forgotten. */
  hasHeard({ from, lane, nth, sentAt }: Hearing, again: boolean): boolean | "unknown" {
    const last = this.heard.get(`${refName(from)}/${lane}`)?.nth;
    if (nth <= (last ?? lastHeard(this.#senders, { from, lane }))) return true;
    return again && sentAt <= this.#senders.forgotten && last === undefined ? "unknown" : false;
  }

  newId(prefix: string, now: number): string {
    return `${prefix}_${freshUlid(now)}`;
  }
}

/** What made a turn happen: passed on to what it sends. */
export interface Cause {
  readonly id: string | undefined;
  readonly traceparent: string | undefined;
}
