/** Runs single turns of one actor and returns what each recorded; the state goes through JSON in between, as in a record. */
import type { SessionEvent } from "../../protocols/events.ts";
import { type ActorRef, refName } from "../../protocols/ids.ts";
import type { ActorDefinition } from "../../runtime/actor.ts";
import { ActorState } from "../../runtime/actor-state.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { ActorRecord } from "../../runtime/record.ts";
import { noSenders } from "../../runtime/senders.ts";
import { Stage } from "../../runtime/stage.ts";
import { readContext, type TurnInput, turnContext } from "../../runtime/turn-context.ts";

export interface Told {
  readonly to: string;
  readonly type: string;
  readonly payload: Record<string, unknown>;
}

export interface Recorded {
  readonly reply: unknown;
  readonly tells: Told[];
  readonly puts: { bucket: string; key: string; mode: string; value?: unknown }[];
  readonly reminders: { name: string; type: string; payload: unknown; at: number }[];
  readonly forgotten: string[];
  readonly effects: { id: string; tool: string; input: Record<string, unknown> }[];
  readonly events: SessionEvent[];
  readonly metrics: { name: string; labels: Readonly<Record<string, string>>; value: number }[];
  readonly logs: Logged[];
}

export interface Logged {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: object;
  readonly message: string;
}

export interface TurnRig {
  /** Handles one message at the rig's present time; throws what the handler threw and keeps the state as it was. */
  turn(type: string, input?: object, from?: ActorRef): Recorded;
  /** Fires the reminder of that name if it is still set, at its time. */
  fire(name: string): Recorded;
  readonly reminders: ReadonlyMap<string, { type: string; payload: unknown; at: number }>;
  readonly state: Record<string, unknown>;
  now: number;
}

const EPOCH = 1_700_000_000_000;

export function turnRig(definition: ActorDefinition, self: ActorRef): TurnRig {
  const { protocol, behaviour } = definition;
  let record: ActorRecord = {
    v: 1,
    epoch: 1,
    writer: "test",
    commit: 0,
    cursor: {},
    state: {},
    nth: 0,
    senders: noSenders(),
    outbox: [],
    effects: {},
    reminders: {},
    lastSeq: 0,
  };
  const reminders = new Map<string, { type: string; payload: unknown; at: number }>();
  const rig: TurnRig = {
    now: EPOCH,
    reminders,
    get state() {
      return record.state as Record<string, unknown>;
    },
    turn(type, input = {}, from) {
      const def = protocol.messages[type];
      if (!def) throw new Error(`${protocol.kind} has no message ${type}`);
      const json = JSON.stringify(record.state);
      const logs: Logged[] = [];
      const stage = new Stage(self, record, new ActorState(protocol.kind, behaviour.state, json));
      const turn: TurnInput = {
        self,
        protocol,
        exists: record.commit > 0,
        from,
        cause: { id: undefined, traceparent: undefined },
        now: rig.now,
        log: loggerInto(logs),
      };
      const readOnly = def.type === "ask" && def.readOnly;
      const context = readOnly ? readContext(turn, stage.readState()) : turnContext(turn, stage);
      const handler = behaviour.handlers[type] as (ctx: unknown, input: unknown) => unknown;
      const reply = handler(context, def.input.parse(input));
      if (def.type === "ask") def.output.parse(reply);
      const state: unknown = JSON.parse(stage.stateJson());
      record = {
        ...record,
        commit: record.commit + 1,
        state,
        nth: stage.nth,
        lastSeq: stage.lastSeq,
        reminders: { ...stage.reminders },
      };
      return collect(stage, reply, logs);
    },
    fire(name) {
      const due = reminders.get(name);
      if (!due)
        throw new Error(`no reminder ${name}; there are: ${[...reminders.keys()].join(", ")}`);
      reminders.delete(name);
      const { [name]: _, ...rest } = record.reminders;
      record = { ...record, reminders: rest };
      rig.now = Math.max(rig.now, due.at);
      return rig.turn(due.type, due.payload as object);
    },
  };

  function collect(stage: Stage, reply: unknown, logs: Logged[]): Recorded {
    const recorded: Recorded = {
      reply,
      tells: [],
      puts: [],
      reminders: [],
      forgotten: [],
      effects: [...stage.newEffects].map(([id, { tool, input }]) => ({
        id,
        tool,
        input: input as Record<string, unknown>,
      })),
      events: stage.events,
      metrics: stage.metrics,
      logs,
    };
    for (const entry of stage.outbox) {
      if (entry.op === "tell") {
        const { type, payload } = entry.envelope;
        const told = { to: refName(entry.to), type, payload: payload as Record<string, unknown> };
        recorded.tells.push(told);
      } else if (entry.op === "put") recorded.puts.push(entry);
      else if (entry.op === "remind") {
        const { name, type, payload } = entry.due;
        reminders.set(name, { type, payload, at: entry.at });
        recorded.reminders.push({ name, type, payload, at: entry.at });
      } else if (entry.op === "forget") {
        reminders.delete(entry.name);
        recorded.forgotten.push(entry.name);
      }
    }
    return recorded;
  }
  return rig;
}

function loggerInto(logs: Logged[], base: object = {}): Logger {
  const at = (level: Logged["level"]) => (fields: object, message: string) =>
    void logs.push({ level, fields: { ...base, ...fields }, message });
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => loggerInto(logs, { ...base, ...fields }),
  };
}
