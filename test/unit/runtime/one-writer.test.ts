/** R1: two activations of one actor never both commit. */
import { describe, expect, test } from "vitest";
import { actorClient } from "../../../runtime/actor-client.ts";
import { pack } from "../../../runtime/ask-codec.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const definitions = [probe()];
const A = { kind: "probe", tenant: "acme", key: "a" };

function oneBroker() {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  return { broker, connect: () => connectMemory(broker) };
}

/** An asker that was told only to go elsewhere says so, or that its time is up. */
const notHere = { code: expect.stringMatching(/^(actor\.moved|ask\.timeout)$/) as string };

async function record(transport: Transport) {
  const found = await transport.records.load(A, false);
  return found && { revision: found.revision, ...decodeRecord(found.data) };
}

describe("an owner with an older epoch (R1)", () => {
  test("has its commit refused after a new owner has touched the actor, and stops", async () => {
    const { connect } = oneBroker();
    const [x, y] = [connect(), connect()];
    const fences: number[] = [];
    const stale = partitionHost({
      transport: x,
      definitions,
      epoch: 1,
      fenced: (e) => fences.push(e),
    });
    await stale.open();
    const client = actorClient({ transport: connect(), clock: systemClock });
    expect(await client.actor(Probe, "acme", "a").add({ n: 1 })).toEqual({ total: 1 });

    const fresh = partitionHost({ transport: y, definitions, epoch: 2 });
    await fresh.open();
    const other = actorClient({ transport: connect(), clock: systemClock });
    await other.actor(Probe, "acme", "a").hear({ text: "to the new owner" });
    await eventually(async () => (await record(y))?.epoch === 2, { name: "the new owner writes" });

    // The memory broker gives asks to whoever listened first: the stale owner.
    const late = client.actor(Probe, "acme", "a").add({ n: 10 }, { timeoutMs: 300 });
    await expect(late).rejects.toMatchObject(notHere);
    expect(fences).toContain(2);
    expect(await record(y)).toMatchObject({ epoch: 2, state: { total: 1 } });
    await stale.close();
    expect(await client.actor(Probe, "acme", "a").add({ n: 10 })).toEqual({ total: 11 });
    await fresh.close();
  });

  test("cannot commit once its record was written again by an owner that changed nothing", async () => {
    const { connect } = oneBroker();
    const stale = partitionHost({ transport: connect(), definitions, epoch: 1 });
    await stale.open();
    const client = actorClient({ transport: connect(), clock: systemClock });
    const handle = client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    const before = await record(connect());
    const fresh = partitionHost({ transport: connect(), definitions, epoch: 2 });
    await fresh.open();
    // A read in another process, straight to the new owner.
    await handle.hear({ text: "wakes it" });
    await eventually(async () => (await record(connect()))?.epoch === 2, { name: "claimed" });
    expect((await record(connect()))!.revision).toBeGreaterThan(before!.revision);
    await expect(handle.add({ n: 1 }, { timeoutMs: 200 })).rejects.toMatchObject(notHere);
    await Promise.all([stale.close(), fresh.close()]);
  });
});

describe("a node without a valid lease (R1)", () => {
  test("answers nothing from memory: not a read, not a write that changes nothing, not a refusal", async () => {
    const { connect } = oneBroker();
    let valid = true;
    const transport = connect();
    const host = partitionHost({ transport, definitions, epoch: 1, leaseValid: () => valid });
    await host.open();
    const client = actorClient({ transport: connect(), clock: systemClock });
    const handle = client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    valid = false;
    await expect(handle.read({}, { timeoutMs: 150 })).rejects.toMatchObject(notHere);
    await expect(handle.add({ n: 0 }, { timeoutMs: 150 })).rejects.toMatchObject(notHere);
    const refused = handle.refuseAsk({ code: "job.superseded" }, { timeoutMs: 150 });
    await expect(refused).rejects.toMatchObject(notHere);
    valid = true;
    await handle.park({ code: "test", message: "for a while" });
    await expect(handle.add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" });
    valid = false;
    await expect(handle.add({ n: 1 }, { timeoutMs: 150 })).rejects.toMatchObject(notHere);
    await handle.unpark({});
    // What it writes is fenced by the broker, not by the clock.
    expect(await handle.add({ n: 1 })).toEqual({ total: 2 });
    valid = true;
    expect(await handle.read({})).toMatchObject({ total: 2 });
    const told = handle.refuseAsk({ code: "job.superseded" });
    await expect(told).rejects.toMatchObject({ code: "job.superseded" });
    await host.close();
  });
});

describe("a commit whose answer is lost (R1, R3)", () => {
  /** Loses the answer of every commit, storing it or not. */
  function lossy(inner: Transport, stores: () => boolean): Transport {
    return {
      ...inner,
      records: {
        ...inner.records,
        async commit(ref, data, options) {
          if (stores()) await inner.records.commit(ref, data, options);
          throw Object.assign(new Error("no answer"), {});
        },
      },
    };
  }

  test("is applied once when it had been stored", async () => {
    const { connect } = oneBroker();
    const transport = lossy(connect(), () => true);
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const handle = actorClient({ transport: connect(), clock: systemClock }).actor(
      Probe,
      "acme",
      "a",
    );
    expect(await handle.add({ n: 1 })).toEqual({ total: 1 });
    expect(await handle.add({ n: 1 })).toEqual({ total: 2 });
    await host.close();
  });

  test("is written again when it had not been stored", async () => {
    const { connect } = oneBroker();
    let failures = 3;
    const inner = connect();
    const transport: Transport = {
      ...inner,
      records: {
        ...inner.records,
        async commit(ref, data, options) {
          if (failures > 0) {
            failures -= 1;
            throw new Error("not stored, not answered");
          }
          return inner.records.commit(ref, data, options);
        },
      },
    };
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const handle = actorClient({ transport: connect(), clock: systemClock }).actor(
      Probe,
      "acme",
      "a",
    );
    expect(await handle.add({ n: 1 })).toEqual({ total: 1 });
    await host.close();
  });

  test("and that another owner has overwritten tells its asker that nobody knows, not to ask again", async () => {
    const { connect } = oneBroker();
    const inner = connect();
    const other = connect();
    let armed = false;
    const transport: Transport = {
      ...inner,
      records: {
        ...inner.records,
        async commit(ref, data, options) {
          const revision = await inner.records.commit(ref, data, options);
          if (!armed) return revision;
          armed = false;
          const theirs = { ...decodeRecord(data), epoch: 2, writer: "other", commit: 99 };
          const bytes = new TextEncoder().encode(JSON.stringify(theirs));
          await other.records.commit(ref, bytes, { ...options, expected: revision });
          throw new Error("the answer is lost");
        },
      },
    };
    const host = partitionHost({ transport, definitions, epoch: 1 });
    await host.open();
    const bus = connect().bus;
    const ask = (n: number) => {
      const deadline = Date.now() + 2_000;
      const request = pack({ id: `ask-${n}`, type: "add", payload: { n }, deadline });
      return bus.request("berth.ask.0.acme.probe.a", request, 2_000);
    };
    await ask(1);
    armed = true;
    const client = actorClient({ transport: connect(), clock: systemClock });
    await expect(client.actor(Probe, "acme", "a").add({ n: 5 })).rejects.toMatchObject({
      code: "ask.timeout",
    });
    expect(await record(connect())).toMatchObject({ epoch: 2, state: { total: 6 } });
    await host.close();
  });
});
