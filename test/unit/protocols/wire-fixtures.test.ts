/**
 * What version 0.1 wrote is readable for ever, and a reader takes fields that it does not know (R2, R8). The fixtures
 * are never changed: a version that writes something else gets a file of its own beside them.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { z } from "zod";
import { contactReplySchema, driverReplySchema } from "../../../protocols/driver.ts";
import {
  askReplySchema,
  askRequestSchema,
  dueSchema,
  envelopeSchema,
} from "../../../protocols/envelope.ts";
import {
  downReplySchema,
  downRequestSchema,
  frameSchema,
  workerRecordSchema,
} from "../../../protocols/executor.ts";
import { jobRecordSchema, jobTicketSchema } from "../../../protocols/job.ts";
import {
  apiKeyRecordSchema,
  deadLetterSchema,
  nodeRecordSchema,
  partitionRecordSchema,
  queueRecordSchema,
  sessionRecordSchema,
  tenantRecordSchema,
} from "../../../protocols/records.ts";
import { SYSTEM_MESSAGES } from "../../../protocols/system.ts";
import { unpack } from "../../../runtime/ask-codec.ts";
import { decodeRecord, recordSchema } from "../../../runtime/record.ts";
import { withStrangers } from "../../support/skewed-transport.ts";

interface Fixtures {
  readonly json: Readonly<Record<string, unknown>>;
  readonly msgpack: Readonly<Record<string, { readonly says: unknown; readonly base64: string }>>;
}

const file = new URL("../../fixtures/wire-0.1.json", import.meta.url);
const fixtures = JSON.parse(readFileSync(file, "utf8")) as Fixtures;

const READERS: Readonly<Record<string, z.ZodType>> = {
  envelope: envelopeSchema,
  due: dueSchema,
  partition: partitionRecordSchema,
  node: nodeRecordSchema,
  tenant: tenantRecordSchema,
  api_key: apiKeyRecordSchema,
  session: sessionRecordSchema,
  queue: queueRecordSchema,
  dead_letter: deadLetterSchema,
  job: jobRecordSchema,
  ticket: jobTicketSchema,
  worker: workerRecordSchema,
  record: recordSchema,
  journal_record: recordSchema,
  supervised_record: recordSchema,
  replayed_envelope: envelopeSchema,
  stop_order: SYSTEM_MESSAGES.$stop,
  failed_report: SYSTEM_MESSAGES.$failed,
  ask: askRequestSchema,
  answer: askReplySchema,
  refusal: askReplySchema,
  run: downRequestSchema,
  cancel: downRequestSchema,
  input: downRequestSchema,
  status_request: downRequestSchema,
  stop: downRequestSchema,
  status: downReplySchema,
  busy: downReplySchema,
  frame: frameSchema,
  driver_answer: driverReplySchema,
  contact_answer: contactReplySchema,
};

/** Values of the application's own, of which the wire knows no fields. */
const FREE = ["payload", "state", "input", "output", "value", "data", "env", "metadata"];

const packed = Object.entries(fixtures.msgpack).map(([name, { base64 }]): [string, unknown] => [
  name,
  unpack(Buffer.from(base64, "base64")),
]);
const all: [string, unknown][] = [...Object.entries(fixtures.json), ...packed];

describe("what 0.1 wrote", () => {
  test("is here for every reader", () => {
    expect(all.map(([name]) => name).toSorted()).toEqual(Object.keys(READERS).toSorted());
  });

  test.each(Object.entries(fixtures.msgpack))("%s: its bytes say what they said", (_, fixture) => {
    expect(unpack(Buffer.from(fixture.base64, "base64"))).toEqual(fixture.says);
  });

  test.each(all)("%s: is read with every field", (name, value) => {
    // And with what later builds added, by its defaults.
    expect(READERS[name]?.parse(value)).toMatchObject(value as object);
  });

  test.each(all)("%s: is read with fields that nobody knows", (name, value) => {
    const newer = withStrangers(value, [...FREE, ...(name === "dead_letter" ? ["envelope"] : [])]);
    expect(newer).not.toEqual(value);
    // A letter in an outbox keeps what it holds; all else is read as if there had been nothing new.
    expect(READERS[name]?.parse(newer)).toMatchObject(value as object);
  });

  test("a record of it is loaded as it stands", () => {
    for (const name of ["record", "journal_record", "supervised_record"]) {
      const value = fixtures.json[name];
      expect(decodeRecord(new TextEncoder().encode(JSON.stringify(value)))).toEqual(value);
    }
  });
});
