/** The record of an actor in memory, and how the next one is made from it. */
import type { ActorRef } from "../protocols/ids.ts";
import type { ActorDefinition } from "./actor.ts";
import { ActorState } from "./actor-state.ts";
import { isAlone } from "./family.ts";
import { type ActorRecord, addMark, decodeRecord, strangersIn } from "./record.ts";
import { addHeard, noSenders } from "./senders.ts";
import type { Stage } from "./stage.ts";
import { standingAt } from "./standing.ts";
import type { Transport } from "./transport.ts";

const emptyRecord = (): ActorRecord => ({
  v: 1,
  epoch: 0,
  writer: "",
  commit: 0,
  cursor: {},
  state: undefined,
  nth: 0,
  senders: noSenders(),
  outbox: [],
  effects: {},
  reminders: {},
});

export type RecordHead = Omit<ActorRecord, "state">;

export class Loaded {
  record: RecordHead;
  /** 0: there is no record. */
  revision: number;
  /** The record's outbox has been stored by its receivers. */
  published: boolean;
  readonly state: ActorState;
  /** What a newer build has written into the record beside what we know. */
  readonly strangers: object;

  constructor(definition: ActorDefinition, record: ActorRecord, revision: number) {
    const { behaviour, protocol } = definition;
    this.record = withMark(record, revision);
    this.revision = revision;
    this.state = new ActorState(protocol.kind, behaviour.state, JSON.stringify(record.state ?? {}));
    this.published = record.outbox.length === 0;
    this.strangers = strangersIn(record);
  }

  /** Takes over what a commit has stored. */
  stored(record: RecordHead, revision: number): void {
    this.record = withMark(record, revision);
    this.revision = revision;
    this.published = record.outbox.length === 0;
  }
}

/** Once a page has its revision, it can be found again by its first seq. */
function withMark(record: RecordHead, revision: number): RecordHead {
  const first = record.events?.[0];
  if (!first) return record;
  return { ...record, index: addMark(record.index ?? [], first.seq, revision) };
}

/** Reads an actor's record from the leader; an actor without one starts empty. */
export async function loadRecord(parts: {
  readonly ref: ActorRef;
  readonly definition: ActorDefinition;
  readonly transport: Transport;
}): Promise<Loaded> {
  const { ref, definition, transport } = parts;
  const found = await transport.records.load(ref, definition.behaviour.journaled ?? false);
  if (!found) return new Loaded(definition, emptyRecord(), 0);
  return new Loaded(definition, decodeRecord(found.data), found.revision);
}

/**
 * The record that commits a stage on top of what is loaded; if that fails, what is loaded must be forgotten (K2).
 * `ended` are effects that end without a message.
 */
export function nextRecord(
  loaded: Loaded,
  stage: Stage,
  by: {
    readonly epoch: number;
    readonly writer: string;
    readonly journaled: boolean;
    readonly now: number;
    readonly ended: Iterable<string>;
    readonly activeForMs: number;
  },
): RecordHead {
  const effects = { ...loaded.record.effects };
  for (const id of by.ended) delete effects[id];
  for (const id of stage.endedEffects) delete effects[id];
  for (const [id, effect] of stage.newEffects) effects[id] = effect;
  const standing = standingAt(stage.standing, by.now);
  return {
    ...loaded.strangers,
    v: 1,
    epoch: by.epoch,
    writer: by.writer,
    commit: loaded.record.commit + 1,
    cursor: stage.cursor,
    nth: stage.nth,
    senders: addHeard(loaded.record.senders, stage.heard.values(), by),
    ...(stage.askers ? { askers: stage.askers } : {}),
    outbox: stage.outbox,
    effects,
    reminders: stage.reminders,
    ...(standing ? { standing } : {}),
    ...(isAlone(stage.family) ? {} : { family: stage.family }),
    ...(by.journaled
      ? { lastSeq: stage.lastSeq, index: loaded.record.index ?? [], events: stage.events }
      : {}),
  };
}
