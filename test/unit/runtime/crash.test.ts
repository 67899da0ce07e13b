/** R2 and R3: a node that ends at any step of a turn loses nothing and doubles nothing. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol, tell } from "../../../protocols/protocol.ts";
import { actor } from "../../../runtime/actor.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { EffectRunner } from "../../../runtime/effects.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { Step } from "../../../runtime/steps.ts";
import { DEFAULT_SUPERVISION } from "../../../runtime/supervision.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";

const definitions = [probe()];

/** A host that stands still for ever at the nth time it reaches `step`, as a process that was killed there. */
function mortal(broker: MemoryBroker, step: Step, key: string, defined = definitions) {
  const reached = deferred();
  const host = partitionHost({
    transport: connectMemory(broker),
    definitions: defined,
    epoch: 1,
    tools: probeTools(),
    onStep(at, ref) {
      if (at !== step || ref.key !== key) return undefined;
      reached.resolve();
      return new Promise(() => {});
    },
  });
  return { host, dead: reached.promise };
}

describe.each(["handled", "committed", "published"] as const)("a node killed when %s", (step) => {
  test("leaves a relay whose every tell arrives once, and in order (R2, R3, R4)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const { host, dead } = mortal(broker, step, "sender");
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    await client.actor(Probe, "acme", "sender").relay({ to: "target", texts: ["1", "2", "3"] });
    await dead;
    await host.close();

    const heir = partitionHost({ transport: connectMemory(broker), definitions, epoch: 2 });
    await heir.open();
    const heard = async (key: string) => (await client.actor(Probe, "acme", key).read({})).heard;
    await eventually(async () => (await heard("target")).length >= 3, { name: "the tells arrive" });
    await client.actor(Probe, "acme", "sender").hear({ text: "last" });
    await client.actor(Probe, "acme", "target").hear({ text: "last" });
    await eventually(async () => (await heard("target")).includes("last"), { name: "target" });
    await eventually(async () => (await heard("sender")).includes("last"), { name: "sender" });
    expect(await heard("target")).toEqual(["1", "2", "3", "last"]);
    expect(await heard("sender")).toEqual(["relayed 3", "last"]);
    await eventually(() => broker.mail.every((mail) => mail.length === 0), {
      name: "all is acked",
    });
    await heir.close();
  });

  test("leaves a tool whose result arrives once (R2, R3)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const { host, dead } = mortal(broker, step, "a");
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    await client.actor(Probe, "acme", "a").run({ n: 21 });
    await dead;
    await host.close();

    const transport = connectMemory(broker);
    const heir = partitionHost({ transport, definitions, epoch: 2, tools: probeTools() });
    await heir.open();
    const results = async () => (await client.actor(Probe, "acme", "a").read({})).results;
    await eventually(async () => (await results()).length > 0, { name: "the result arrives" });
    await eventually(() => broker.mail.every((mail) => mail.length === 0), {
      name: "all is acked",
    });
    expect(await results()).toEqual(["42"]);
    await heir.close();
  });
});

describe.each(["committed", "published"] as const)("a node killed when %s", (step) => {
  test("leaves a record that can be read whose turn removed a value from a bucket, and it is removed", async () => {
    const Shelf = protocol("shelf", { clear: tell({}), count: ask({}, { cleared: z.number() }) });
    const shelf = actor(Shelf, {
      state: z.object({ cleared: z.number().default(0) }),
      handlers: {
        clear(ctx) {
          ctx.state.cleared += 1;
          ctx.put("jobs", ctx.self.key, undefined);
        },
        count: ({ state }) => ({ cleared: state.cleared }),
      },
    });
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    await transport.buckets.put("jobs", "a", new Uint8Array([1]));
    const { host, dead } = mortal(broker, step, "a", [shelf]);
    await host.open();
    const client = actorClient({ transport, clock: systemClock });
    await client.actor(Shelf, "acme", "a").clear({});
    await dead;
    await host.close();

    const heir = partitionHost({ transport, definitions: [shelf], epoch: 2 });
    await heir.open();
    expect(await client.actor(Shelf, "acme", "a").count({})).toEqual({ cleared: 1 });
    await eventually(async () => (await transport.buckets.get("jobs", "a")) === undefined, {
      name: "the value is gone",
    });
    expect(broker.deadLetters).toEqual([]);
    await heir.close();
  });
});

describe.each(["handled", "committed", "published"] as const)(
  "a node killed when a turn is %s",
  (step) => {
    const supervision = {
      ...DEFAULT_SUPERVISION,
      on: { default: "dead-letter", "quota.*": "park" },
    } as const;

    test("that handles a replayed letter handles it once (D1, D2, R2, R3)", async () => {
      const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
      const transport = connectMemory(broker);
      const ref = { kind: "probe", tenant: "acme", key: "a" };
      const envelope = { id: "m", type: "hear", payload: { text: "once" }, nth: 4, sentAt: 1 };
      const reason = { code: "actor.failed", message: "why" };
      const from = { kind: "probe", tenant: "acme", key: "b" };
      await transport.mailboxes.deadLetter({
        id: "mail-4",
        actor: ref,
        lane: "user",
        envelope: { ...envelope, from },
        reason,
        epoch: 1,
        attempts: 1,
        at: 1,
      });
      const { host, dead } = mortal(broker, step, "a");
      await host.open();
      const [letter] = (await transport.deadLetters.list({ limit: 1 })).letters;
      await transport.deadLetters.replay(letter!.id);
      await dead;
      await host.close();
      const heir = partitionHost({ transport: connectMemory(broker), definitions, epoch: 2 });
      await heir.open();
      const client = actorClient({ transport, clock: systemClock });
      await client.actor(Probe, "acme", "a").hear({ text: "last" });
      await eventually(() => broker.mail.every((mail) => mail.length === 0), {
        name: "all is acked",
      });
      expect((await client.actor(Probe, "acme", "a").read({})).heard).toEqual(["once", "last"]);
      await heir.close();
    });

    test("that gives a message up leaves one letter (F1, R2, R3)", async () => {
      const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
      const parts = [probe({ supervision })];
      const { host, dead } = mortal(broker, step, "a", parts);
      await host.open();
      const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
      await client.actor(Probe, "acme", "a").hear({ text: "poison" });
      await dead;
      await host.close();
      const heir = partitionHost({
        transport: connectMemory(broker),
        definitions: parts,
        epoch: 2,
      });
      await heir.open();
      await client.actor(Probe, "acme", "a").hear({ text: "last" });
      const read = () => client.actor(Probe, "acme", "a").read({});
      expect((await read()).heard).toEqual(["last"]);
      await eventually(() => broker.mail.every((mail) => mail.length === 0), {
        name: "all is acked",
      });
      expect(broker.deadLetters.map(({ reason }) => reason.message)).toEqual([
        "cannot bear poison",
      ]);
      await heir.close();
    });

    test("that parks its actor leaves it parked with its message waiting (R2, R5)", async () => {
      const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
      const parts = [probe({ supervision })];
      const { host, dead } = mortal(broker, step, "a", parts);
      await host.open();
      const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
      await client.actor(Probe, "acme", "a").refuse({ code: "quota.hourly" });
      await dead;
      await host.close();
      const heir = partitionHost({
        transport: connectMemory(broker),
        definitions: parts,
        epoch: 2,
      });
      await heir.open();
      await eventually(
        () =>
          expect(client.actor(Probe, "acme", "a").add({ n: 1 })).rejects.toMatchObject({
            code: "actor.parked",
          }),
        { name: "parked" },
      );
      expect(broker.mail.flat().map((mail) => (mail.envelope as { type: string }).type)).toEqual([
        "refuse",
      ]);
      expect(broker.deadLetters).toEqual([]);
      await heir.close();
    });
  },
);

describe("an ask whose node was killed", () => {
  test("is never handled twice by being sent again (R3)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const { host, dead } = mortal(broker, "committed", "a");
    await host.open();
    const client = actorClient({ transport: connectMemory(broker), clock: systemClock });
    const asked = client.actor(Probe, "acme", "a").add({ n: 1 }, { timeoutMs: 300 });
    const outcome = asked.catch((thrown: unknown) => thrown);
    await dead;
    await host.close();
    const heir = partitionHost({ transport: connectMemory(broker), definitions, epoch: 2 });
    await heir.open();
    expect(await outcome).toMatchObject({ code: "ask.timeout" });
    expect(await client.actor(Probe, "acme", "a").read({})).toMatchObject({ total: 1 });
    await heir.close();
  });
});

describe("a tool of a partition that went away and came back", () => {
  test("runs again though its first run has not ended yet (R2)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    let runs = 0;
    const first = deferred<object>();
    const tools = {
      "test.double": () => {
        runs += 1;
        return runs === 1 ? first.promise : Promise.resolve({ twice: 4 });
      },
    };
    const transport = connectMemory(broker);
    const runner = new EffectRunner({ tools, transport, clock: systemClock, logger: silentLogger });
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const effect = { tool: "test.double", input: { n: 2 }, reply: "ran" };
    const [one, two] = [new AbortController(), new AbortController()];
    runner.start(Probe, ref, "e1", effect, { signal: one.signal, ended: () => {} });
    one.abort();
    runner.start(Probe, ref, "e1", effect, { signal: two.signal, ended: () => {} });
    expect(runs).toBe(1);
    first.resolve({ twice: 0 });
    await eventually(() => broker.mail[0]!.length === 1, { name: "the second run's result" });
    expect(broker.mail[0]![0]!.envelope).toMatchObject({ payload: { output: { twice: 4 } } });
  });
});
