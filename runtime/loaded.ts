/** The record of an actor in memory, and how the next one is made from it. */
import { ZodError } from "zod";
import { BerthError } from "../protocols/errors.ts";
import type { ActorRef } from "../protocols/ids.ts";
import type { ActorDefinition } from "./actor.ts";
import { type ActorRecord, addMark, decodeRecord } from "./record.ts";
import type { Stage } from "./stage.ts";
import type { Transport } from "./transport.ts";

const EMPTY: ActorRecord = {
  v: 1,
  epoch: 0,
  writer: "",
  commit: 0,
  cursor: {},
  state: undefined,
  nth: 0,
  heard: {},
  outbox: [],
  effects: {},
  reminders: {},
};

type Record_ = Omit<ActorRecord, "state">;

export class Loaded {
  record: Record_;
  /** 0: there is no record. */
  revision: number;
  stateJson: string;
  state: unknown;
  /** The record's outbox has been stored by its receivers. */
  published: boolean;
  /** Effects of the record that are over and need no message. */
  readonly ended = new Set<string>();
  readonly #definition: ActorDefinition;

  constructor(definition: ActorDefinition, record: ActorRecord, revision: number) {
    this.#definition = definition;
    this.record = withMark(record, revision);
    this.revision = revision;
    this.stateJson = JSON.stringify(record.state ?? {});
    this.state = this.parseState();
    if (revision === 0) this.stateJson = JSON.stringify(this.state);
    this.published = record.outbox.length === 0;
  }

  /** A fresh copy of the stored state; throws `internal.unexpected` when the schema does not take it. */
  parseState(): unknown {
    try {
      return this.#definition.behaviour.state.parse(JSON.parse(this.stateJson));
    } catch (thrown) {
      const why = thrown instanceof ZodError ? thrown.issues[0]?.message : String(thrown);
      throw new BerthError(
        "internal.unexpected",
        `a stored state does not fit its schema: ${why}`,
        { cause: thrown },
      );
    }
  }

  /** Takes over what a commit has stored. */
  stored(record: Record_, revision: number, stateJson: string, state: unknown): void {
    this.record = withMark(record, revision);
    this.revision = revision;
    this.stateJson = stateJson;
    this.state = state;
    this.published = record.outbox.length === 0;
    for (const id of this.ended) if (!(id in record.effects)) this.ended.delete(id);
  }
}

/** Once a page has its revision, it can be found again by its first seq. */
function withMark(record: Record_, revision: number): Record_ {
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
  if (!found) return new Loaded(definition, EMPTY, 0);
  return new Loaded(definition, decodeRecord(found.data), found.revision);
}

/** The record that commits a stage on top of what is loaded. */
export function nextRecord(
  loaded: Loaded,
  stage: Stage,
  by: { readonly epoch: number; readonly writer: string; readonly journaled: boolean },
): Record_ {
  const effects = { ...loaded.record.effects };
  for (const id of [...loaded.ended, ...stage.endedEffects]) delete effects[id];
  for (const [id, effect] of stage.newEffects) effects[id] = effect;
  return {
    v: 1,
    epoch: by.epoch,
    writer: by.writer,
    commit: loaded.record.commit + 1,
    cursor: stage.cursor,
    nth: stage.nth,
    heard: stage.heard,
    outbox: stage.outbox,
    effects,
    reminders: stage.reminders,
    ...(by.journaled
      ? { lastSeq: stage.lastSeq, index: loaded.record.index ?? [], events: stage.events }
      : {}),
  };
}
