/** State in memory: what a reader sees, that it changes nothing, and what a turn costs the broker (R1, R3). */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol, tell } from "../../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../../runtime/actor.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { decodeRecord } from "../../../runtime/record.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, probe } from "../../support/actors.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const Shelf = protocol("shelf", {
  put: ask({ name: z.string() }, { size: z.number() }),
  /** Says that it only reads, and writes. */
  cheat: ask({ how: z.string() }, {}, { readOnly: true }),
  names: ask({}, { names: z.array(z.string()), opened: z.string() }, { readOnly: true }),
  wake: tell({}),
});

const EPOCH = "2026-01-01T00:00:00.000Z";

/** `dated` puts something into the state that no freezing protects. */
function shelf(options: { readonly dated?: boolean } = {}): ActorDefinition {
  const opened = options.dated
    ? z.coerce.date().default(new Date(EPOCH))
    : z.string().default(EPOCH);
  return actor(Shelf, {
    state: z.object({
      box: z.object({ names: z.array(z.string()) }).default({ names: [] }),
      opened,
    }),
    handlers: {
      put(ctx, { name }) {
        ctx.state.box.names.push(name);
        return { size: ctx.state.box.names.length };
      },
      cheat(ctx, { how }) {
        const state = ctx.state as unknown as { box: { names: string[] }; opened: Date };
        if (how === "push") state.box.names.push("smuggled");
        else if (how === "assign") state.box = { names: ["smuggled"] };
        else state.opened.setTime(0);
        return {};
      },
      names: ({ state }) => ({
        names: state.box.names,
        opened: state.opened instanceof Date ? state.opened.toISOString() : state.opened,
      }),
      wake() {},
    },
  });
}

async function open(definition: ActorDefinition, wrap = (transport: Transport) => transport) {
  const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
  const transport = wrap(connectMemory(broker));
  const host = partitionHost({ transport, definitions: [definition], epoch: 1 });
  await host.open();
  const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
  return { broker, transport, host, client };
}

/** Counts what the runtime asks of the broker; a commit of an actor named `slow` waits for `release`. */
function watched(transport: Transport) {
  const held = deferred();
  const seen = { loads: 0, commits: 0, inFlight: 0, most: 0, slow: 0 };
  const records: Transport["records"] = {
    ...transport.records,
    load(ref, journaled) {
      seen.loads += 1;
      return transport.records.load(ref, journaled);
    },
    async commit(ref, data, options) {
      seen.commits += 1;
      seen.inFlight += 1;
      seen.most = Math.max(seen.most, seen.inFlight);
      if (ref.key === "slow") {
        seen.slow += 1;
        if (seen.slow > 1) await held.promise;
      }
      // As a network would: the answer is not there in the same instant.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      return transport.records.commit(ref, data, options).finally(() => {
        seen.inFlight -= 1;
      });
    },
  };
  return { transport: { ...transport, records }, seen, release: () => held.resolve() };
}

describe("a read-only handler that changes its state", () => {
  test.each(["push", "assign"])(
    "fails, and neither memory nor the record changes: %s",
    async (how) => {
      const { transport, host, client } = await open(shelf());
      const handle = client.actor(Shelf, "acme", "a");
      await handle.put({ name: "one" });
      const ref = { kind: "shelf", tenant: "acme", key: "a" };
      const before = await transport.records.load(ref, false);
      await expect(handle.cheat({ how })).rejects.toMatchObject({ code: "actor.failed" });
      expect(await handle.names({})).toEqual({ names: ["one"], opened: EPOCH });
      expect((await transport.records.load(ref, false))!.revision).toBe(before!.revision);
      expect(await handle.put({ name: "two" })).toEqual({ size: 2 });
      expect(await handle.names({})).toMatchObject({ names: ["one", "two"] });
      await host.close();
    },
  );

  test("fails too when it shares a commit with turns that write", async () => {
    const { host, client } = await open(shelf());
    const handle = client.actor(Shelf, "acme", "a");
    await handle.put({ name: "one" });
    const [two, cheated, three] = await Promise.allSettled([
      handle.put({ name: "two" }),
      handle.cheat({ how: "push" }),
      handle.put({ name: "three" }),
    ]);
    expect(two).toMatchObject({ value: { size: 2 } });
    expect(cheated).toMatchObject({ reason: { code: "actor.failed" } });
    expect(three).toMatchObject({ value: { size: 3 } });
    expect(await handle.names({})).toMatchObject({ names: ["one", "two", "three"] });
    await host.close();
  });

  test("reaches only a copy of what cannot be frozen", async () => {
    const { host, client } = await open(shelf({ dated: true }));
    const handle = client.actor(Shelf, "acme", "a");
    await handle.put({ name: "one" });
    await handle.cheat({ how: "date" });
    expect(await handle.names({})).toEqual({ names: ["one"], opened: EPOCH });
    await handle.put({ name: "two" });
    expect(await handle.names({})).toEqual({ names: ["one", "two"], opened: EPOCH });
    await host.close();
  });
});

describe("a read while a commit is under way", () => {
  test("is answered at once with what the last commit stored (S1)", async () => {
    const own = { watch: undefined as ReturnType<typeof watched> | undefined };
    const { host, client } = await open(shelf(), (transport) => {
      own.watch = watched(transport);
      return own.watch.transport;
    });
    const { seen, release } = own.watch!;
    const handle = client.actor(Shelf, "acme", "slow");
    await handle.put({ name: "stored" });
    const writing = handle.put({ name: "on its way" });
    await eventually(() => seen.slow === 2, { name: "the commit is under way" });
    const reader = actorClient({ transport: own.watch!.transport, clock: systemClock });
    const other = reader.actor(Shelf, "acme", "slow");
    expect(await other.names({})).toMatchObject({ names: ["stored"] });
    release();
    expect(await writing).toEqual({ size: 2 });
    expect(await other.names({})).toMatchObject({ names: ["stored", "on its way"] });
    await host.close();
  });

  test("by the sender of the write waits for it: its messages keep their order (R4)", async () => {
    const own = { watch: undefined as ReturnType<typeof watched> | undefined };
    const { host, client } = await open(shelf(), (transport) => {
      own.watch = watched(transport);
      return own.watch.transport;
    });
    const { seen, release } = own.watch!;
    const handle = client.actor(Shelf, "acme", "slow");
    await handle.put({ name: "one" });
    const writing = handle.put({ name: "two" });
    const reading = handle.names({});
    await eventually(() => seen.slow === 2, { name: "the commit is under way" });
    release();
    await writing;
    expect(await reading).toMatchObject({ names: ["one", "two"] });
    await host.close();
  });
});

describe("an owner", () => {
  test("loads an actor once, however many turns follow", async () => {
    const own = { watch: undefined as ReturnType<typeof watched> | undefined };
    const { host, client } = await open(probe(), (transport) => {
      own.watch = watched(transport);
      return own.watch.transport;
    });
    const handle = client.actor(Probe, "acme", "a");
    await handle.add({ n: 1 });
    for (let n = 0; n < 500; n += 1) {
      await handle.add({ n: 1 });
      await handle.read({});
    }
    expect(await handle.read({})).toMatchObject({ total: 501 });
    expect(own.watch!.seen.loads).toBe(1);
    await host.close();
  });

  test("has commits of many actors under way at once, and a slow one holds up no other", async () => {
    const own = { watch: undefined as ReturnType<typeof watched> | undefined };
    const { host, client } = await open(probe(), (transport) => {
      own.watch = watched(transport);
      return own.watch.transport;
    });
    const { seen, release } = own.watch!;
    const at = (key: string) => client.actor(Probe, "acme", key);
    await at("slow").add({ n: 1 });
    let answered = false;
    const slow = at("slow")
      .add({ n: 1 })
      .then((reply) => {
        answered = true;
        return reply;
      });
    await eventually(() => seen.slow === 2, { name: "the slow commit is under way" });
    await Promise.all(Array.from({ length: 50 }, (_, n) => at(`k${n}`).add({ n: 1 })));
    expect(seen.most).toBeGreaterThan(10);
    expect(answered).toBe(false);
    release();
    expect(await slow).toEqual({ total: 2 });
    await host.close();
  });

  test("writes nothing for a turn that changes nothing", async () => {
    const { broker, host, client } = await open(shelf());
    const handle = client.actor(Shelf, "acme", "a");
    await handle.put({ name: "one" });
    const pages = () => broker.pages.get("record:acme/shelf/a")!.at(-1)!;
    const { revision } = pages();
    await handle.names({});
    expect(pages().revision).toBe(revision);
    expect(decodeRecord(pages().data).state).toEqual({ box: { names: ["one"] }, opened: EPOCH });
    await host.close();
  });

  test("gives no answer to a write before its commit is stored (B1)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    const reached = deferred();
    const host = partitionHost({
      transport,
      definitions: [probe()],
      epoch: 1,
      onStep(step) {
        if (step !== "handled") return undefined;
        reached.resolve();
        return new Promise(() => {});
      },
    });
    await host.open();
    const client = actorClient({ transport, clock: systemClock });
    const asked = client.actor(Probe, "acme", "a").add({ n: 1 }, { timeoutMs: 200 });
    const outcome = asked.catch((thrown: unknown) => thrown);
    await reached.promise;
    expect(await outcome).toMatchObject({ code: "ask.timeout" });
    expect(broker.pages.size).toBe(0);
    await host.close();
  });
});
