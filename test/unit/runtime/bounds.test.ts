/** R7: every mailbox, queue and record has a limit, with a typed error at it. */
import { describe, expect, test } from "vitest";
import { BerthError } from "../../../protocols/errors.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const definitions = [probe()];

describe("a mailbox", () => {
  test("that is full refuses a client's tell with its own error, and takes it again later", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1, mailboxCapacity: 3 });
    const transport = connectMemory(broker);
    const handle = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
    for (const text of ["1", "2", "3"]) await handle.hear({ text });
    await expect(handle.hear({ text: "4" })).rejects.toMatchObject({ code: "actor.mailbox_full" });
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    await eventually(() => handle.hear({ text: "5" }), { name: "there is room" });
    await eventually(async () => (await handle.read({})).heard.length === 4, { name: "heard" });
    expect((await handle.read({})).heard).toEqual(["1", "2", "3", "5"]);
    await host.close();
  });
});

describe("an actor that stands still", () => {
  test("holds so many asks and refuses the rest at once", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    const gate = deferred();
    const host = partitionHost({ transport, definitions, epoch: 1, onStep: () => gate.promise });
    await host.open();
    const handle = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
    const asks = Array.from({ length: 1_100 }, () => handle.add({ n: 1 }, { timeoutMs: 20_000 }));
    const outcomes = Promise.allSettled(asks);
    const refused = await Promise.any(
      asks.map((ask) =>
        ask.then(
          () => Promise.reject(new Error()),
          (thrown: unknown) => thrown,
        ),
      ),
    );
    expect(refused).toMatchObject({ code: "actor.overloaded" });
    gate.resolve();
    const settled = await outcomes;
    const answered = settled.filter(({ status }) => status === "fulfilled");
    expect(answered.length).toBeGreaterThanOrEqual(1_000);
    expect(await handle.read({})).toMatchObject({ total: answered.length });
    await host.close();
  });
});

describe("a record that is larger than the broker takes", () => {
  /** Refuses commits over a size, as a server's `max_payload` does. */
  function small(inner: Transport): Transport {
    return {
      ...inner,
      records: {
        ...inner.records,
        async commit(ref, data, options) {
          if (data.byteLength > 5_000) throw new BerthError("actor.state_too_large");
          return inner.records.commit(ref, data, options);
        },
      },
    };
  }

  test("is refused for the message that made it so; what shared its commit is handled", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = small(connectMemory(broker));
    const handle = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
    await handle.hear({ text: "before" });
    await handle.grow({ size: 100_000 });
    await handle.hear({ text: "after" });
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    await eventually(async () => (await handle.read({})).heard.length === 2, { name: "handled" });
    expect((await handle.read({})).heard).toEqual(["before", "after"]);
    expect(broker.deadLetters).toMatchObject([
      { envelope: { type: "grow" }, reason: { code: "actor.state_too_large" } },
    ]);
    await host.close();
  });
});

describe("an outgoing entry that the broker will never take", () => {
  test("becomes a dead letter and does not hold its actor for ever (R2)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const inner = connectMemory(broker);
    const transport: Transport = {
      ...inner,
      mailboxes: {
        ...inner.mailboxes,
        send(ref, lane, envelope) {
          if (ref.key === "unreachable") return Promise.reject(new BerthError("request.too_large"));
          return inner.mailboxes.send(ref, lane, envelope);
        },
      },
    };
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const handle = actorClient({ transport, clock: systemClock }).actor(Probe, "acme", "a");
    await handle.relay({ to: "unreachable", texts: ["lost?"] });
    await handle.hear({ text: "goes on" });
    await eventually(async () => (await handle.read({})).heard.length === 2, { name: "goes on" });
    expect(broker.deadLetters).toMatchObject([
      { actor: { key: "unreachable" }, reason: { code: "request.too_large" } },
    ]);
    await host.close();
  });
});

describe("a turn that sends without end", () => {
  test("is stopped by a typed error at a bound, and leaves no trace", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const client = actorClient({ transport, clock: systemClock });
    const texts = Array.from({ length: 100_000 }, (_, n) => `${n}`);
    await client.actor(Probe, "acme", "flood").relay({ to: "target", texts });
    await eventually(() => broker.deadLetters.length === 1, { name: "the letter" });
    expect(broker.deadLetters[0]).toMatchObject({ reason: { code: "actor.state_too_large" } });
    expect(await client.actor(Probe, "acme", "target").read({})).toMatchObject({ exists: false });
    expect((await client.actor(Probe, "acme", "flood").read({})).heard).toEqual([]);
    await host.close();
  });
});
