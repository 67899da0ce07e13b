/** Batches of stored messages on a real broker (F1, F2): what they leave behind, and how those end whose rest never comes. */
import { jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/transport-node";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemActor } from "../../protocols/audit.ts";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import { auditOf } from "../../runtime/audit.ts";
import { systemClock } from "../../runtime/clock.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { readDirectBatch } from "../../runtime/nats/direct-batch.ts";
import { InFlight } from "../../runtime/nats/in-flight.ts";
import { connectNats, type NatsTransport } from "../../runtime/nats/transport.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { startNats, type TestNats } from "../support/nats.ts";

const REF = { kind: "probe", tenant: "acme", key: "a" };
const NAME = "direct-batch";

let nats: TestNats;
let monitorPort: number;
let transport: NatsTransport;
beforeEach(async () => {
  monitorPort = await freePort("monitor");
  nats = await startNats({ monitorPort });
  transport = await connectNats({
    url: nats.url,
    name: NAME,
    clock: systemClock,
    logger: silentLogger,
    topology: {
      replicas: 1,
      partitions: 1,
      mailboxCapacity: 10,
      journalRetentionMs: 3_600_000,
      auditRetentionMs: 3_600_000,
    },
  });
});
afterEach(async () => {
  await transport.close();
  await nats[Symbol.asyncDispose]();
});

/** Subscriptions of the transport's connection, as the server counts them. */
async function subscriptions(): Promise<number> {
  await transport.connection.flush();
  const answer = await fetch(`http://127.0.0.1:${monitorPort}/connz`);
  const { connections } = (await answer.json()) as {
    readonly connections: readonly { readonly name: string; readonly subscriptions: number }[];
  };
  return connections.find(({ name }) => name === NAME)?.subscriptions ?? Number.NaN;
}

const reads: Readonly<Record<string, () => Promise<unknown>>> = {
  "the audit trail": () => transport.audit.read("acme", 1, 100),
  "the whole audit trail": () => transport.audit.read(undefined, 1, 100),
  "a journal": () => transport.records.journal(REF, 1, 100),
  "held mail": () => transport.mailboxes.read(REF, "user", [1]),
  "dead letters": () => transport.deadLetters.list({ tenant: "acme", limit: 10 }),
};

/** One of everything that is read by batches. */
async function fill(): Promise<void> {
  const act = { act: "node.drain", target: "a", outcome: "allowed" } as const;
  const audit = auditOf({ store: transport.audit, clock: systemClock, random: Math.random });
  await audit.record({ ...act, tenant: "acme", actor: systemActor("test") });
  const data = new TextEncoder().encode("{}");
  await transport.records.commit(REF, data, { expected: 0, journaled: true, pending: false });
  const envelope = { id: "m1", type: "hear", payload: {}, sentAt: 1 };
  await transport.mailboxes.send(REF, "user", envelope);
  const reason = { code: "internal", message: "" };
  const letter = { id: "l1", actor: REF, lane: "user", envelope, reason } as const;
  await transport.mailboxes.deadLetter({ ...letter, epoch: 1, attempts: 1, at: 1 });
}

/** Takes the place of the stream's copies: answers with the first message of two, and never with the rest. */
async function answerByHalf(stream: string): Promise<{ readonly asked: () => number }> {
  const jsm = await jetstreamManager(transport.connection);
  const { config } = await jsm.streams.info(stream);
  await jsm.streams.update(stream, { ...config, allow_direct: false });
  let asked = 0;
  const answer = headers();
  const own = { Stream: stream, Sequence: "1", "Num-Pending": "1", "Last-Sequence": "0" };
  for (const [key, value] of Object.entries(own)) answer.set(`Nats-${key}`, value);
  answer.set("Nats-Subject", "any");
  answer.set("Nats-Time-Stamp", new Date(systemClock.now()).toISOString());
  transport.connection.subscribe(`$JS.API.DIRECT.GET.${stream}`, {
    callback: (_error, message) => {
      message.respond("{}", { headers: answer });
      asked += 1;
    },
  });
  await transport.connection.flush();
  return { asked: () => asked };
}

describe("a batch of stored messages", () => {
  it.each(Object.entries(reads))(
    "leaves no subscription behind, however often %s is read (F1)",
    async (_name, read) => {
      await fill();
      await read();
      const before = await subscriptions();
      for (let n = 0; n < 50; n += 1) await read();
      expect(await subscriptions()).toBe(before);
    },
  );

  it.each([
    ["the whole audit trail", STREAMS.audit],
    ["a journal", STREAMS.journal],
    ["held mail", STREAMS.mail],
    ["dead letters", STREAMS.deadLetters],
  ])(
    "of %s ends with an error at once, and not at its bound, when its server dies in its middle (F2)",
    async (name, stream) => {
      await fill();
      const half = await answerByHalf(stream);
      let ended: string | undefined;
      void reads[name]!().then(
        () => {
          ended = "whole";
        },
        ({ code }: { readonly code: string }) => {
          ended = code;
        },
      );
      await eventually(() => half.asked() > 0, { within: 5_000, name: "half a batch was sent" });
      await transport.connection.flush();
      await nats.kill();
      await eventually(() => ended !== undefined, { within: 3_000, name: "the reading ends" });
      expect(ended).toBe("broker.unavailable");
    },
  );

  it("ends within its bound when its rest never comes, and leaves no subscription behind (F1, F2)", async () => {
    await fill();
    const half = await answerByHalf(STREAMS.audit);
    const before = await subscriptions();
    const clock = new ManualClock();
    const parts = {
      jsm: await jetstreamManager(transport.connection),
      inFlight: new InFlight(),
      clock,
    };
    const query = { seq: 1, next_by_subj: subjects.audit("*"), batch: 10 };
    const reading = readDirectBatch(parts, STREAMS.audit, query);
    const refused = expect(reading).rejects.toMatchObject({ code: "broker.unavailable" });
    await eventually(() => half.asked() > 0, { within: 5_000, name: "half a batch was sent" });
    expect(await subscriptions()).toBe(before + 1);
    await clock.advance(5_000);
    await refused;
    expect(await subscriptions()).toBe(before);
  });
});
