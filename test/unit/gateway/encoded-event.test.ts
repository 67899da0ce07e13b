import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EncodedEvent, eventsOf, gapEvent } from "../../../gateway/reader/encoded-event.ts";
import { splitEvents } from "../../../gateway/reader/split-events.ts";
import { EVENT_TYPES, type EventType, type SessionEvent } from "../../../protocols/events.ts";
import { type ActorRecord, encodeRecord } from "../../../runtime/record.ts";
import { noSenders } from "../../../runtime/senders.ts";

const SESSION = "ses_01J00000000000000000000000";

const eventOf = (
  seq: number,
  type: EventType,
  jobId: string | null,
  data: unknown,
): SessionEvent => ({
  id: `evt_01J00000000000000000000000_${seq}`,
  seq,
  type,
  time: new Date(1_800_000_000_000 + seq).toISOString(),
  session_id: SESSION,
  job_id: jobId,
  data: data as SessionEvent["data"],
});

const recordOf = (events: SessionEvent[] | undefined, state: unknown): Uint8Array => {
  const record: Omit<ActorRecord, "state"> = {
    v: 1,
    epoch: 1,
    writer: "w",
    commit: 1,
    cursor: {},
    nth: 0,
    senders: noSenders(),
    outbox: [],
    effects: {},
    reminders: {},
    lastSeq: 3,
    index: [[1, 1]],
    ...(events ? { events } : {}),
  };
  return encodeRecord(record, JSON.stringify(state));
};

const headOf = ({ seq, type, time, job_id }: EncodedEvent | SessionEvent) => ({
  seq,
  type,
  time,
  job_id,
});

const events = fc
  .array(
    fc.tuple(
      fc.constantFrom(...(EVENT_TYPES as [EventType, ...EventType[]])),
      fc.constantFrom(null, "job_01J00000000000000000000000"),
      fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()),
    ),
    { maxLength: 6 },
  )
  .map((all) => all.map(([type, job, data], n) => eventOf(n + 1, type, job, data)));

describe("events in a record's bytes", () => {
  it("are, whatever they and the state hold, those that parsing finds", () => {
    fc.assert(
      fc.property(events, fc.jsonValue(), (all, state) => {
        const found = eventsOf(recordOf(all, { state, events: [{ data: "]}" }] }));
        expect(found.map(headOf)).toEqual(all.map(headOf));
        const round = (event: SessionEvent) => JSON.parse(JSON.stringify(event)) as unknown;
        expect(found.map(({ json }) => JSON.parse(json.toString()) as unknown)).toEqual(
          all.map(round),
        );
        for (const [n, event] of found.entries()) {
          expect(JSON.parse(event.frame.toString())).toEqual({
            type: "event",
            event: round(all[n]!),
          });
        }
      }),
    );
  });

  it("are found, too, when the record was written in another order, or has none", () => {
    const event = eventOf(7, "agent.output", null, { text: 'a "quoted\\" ]}' });
    const { id, ...rest } = event;
    for (const text of [
      JSON.stringify({ state: {}, events: [event] }),
      JSON.stringify({ events: [{ ...rest, id }], state: {} }),
      JSON.stringify({ events: [event], state: {} }, undefined, 1),
    ]) {
      const [found] = eventsOf(Buffer.from(text));
      expect(found && headOf(found)).toEqual(headOf(event));
      expect(JSON.parse(found?.json.toString() ?? "")).toEqual(event);
    }
    expect(eventsOf(recordOf(undefined, {}))).toEqual([]);
    expect(eventsOf(recordOf([], {}))).toEqual([]);
  });

  it("make bytes that are no record an error, not an endless search or half an event", () => {
    for (const text of [
      "",
      "{",
      '{"events":[',
      '{"events":[{"a":"',
      '{"events":[1]',
      '{"events":[{}',
    ]) {
      expect(() => eventsOf(Buffer.from(text))).toThrow();
      expect(splitEvents(Buffer.from(text))).toBeUndefined();
    }
  });

  it("are kept when the bytes that they came in are used again", () => {
    const bytes = recordOf([eventOf(1, "job.queued", null, {})], {});
    const [event] = eventsOf(bytes);
    bytes.fill(0);
    expect(JSON.parse(event?.json.toString() ?? "")).toMatchObject({ seq: 1, type: "job.queued" });
  });
});

it("a gap has no id to resume from, an event has", () => {
  const [event] = eventsOf(recordOf([eventOf(4, "job.queued", null, {})], {}));
  expect(event?.sse.toString()).toMatch(/^id: 4\nevent: job\.queued\ndata: \{.*\}\n\n$/);
  expect(gapEvent(SESSION, 9, "t").sse.toString()).toMatch(/^event: session\.gap\ndata: /);
});
