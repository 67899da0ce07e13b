/** R2, R8: two builds side by side lose nothing of each other's. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol, tell } from "../../../protocols/protocol.ts";
import { type ActorDefinition, actor } from "../../../runtime/actor.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { skewed } from "../../support/skewed-transport.ts";

const KEYS = Array.from({ length: 8 }, (_, n) => `k${n}`);

describe("a build that adds fields to everything on the wire", () => {
  const skewedNames = (names: readonly string[]) => (inner: Transport, name: string) =>
    names.includes(name) ? skewed(inner) : inner;

  test.each([
    ["the clients'", ["client"]],
    ["one node's", ["n2"]],
    ["everyone's", ["client", "n1", "n2"]],
  ])("being %s, works with the others as they work with it", async (_, names) => {
    await using cluster = await startCluster({
      definitions: [probe()],
      tools: probeTools(),
      nodes: 2,
      wrap: skewedNames(names),
    });
    const at = (key: string) => cluster.client.actor(Probe, "acme", key);
    for (const key of KEYS) {
      expect(await at(key).add({ n: 1 })).toMatchObject({ total: 1 });
      await at(key).hear({ text: "told" });
      await at(key).relay({ to: "target", texts: [key] });
      await at(key).run({ n: 2 });
      await at(key).remind({ name: "soon", text: "rang", afterMs: 20 });
      await at(key).publish({ key: `acme.u1.${key}`, text: "seen" });
      await at(key).hear({ text: "poison" });
    }
    for (const key of KEYS) {
      await eventually(
        async () => {
          const { alarms, heard, results, total } = await at(key).read({});
          expect({ alarms, heard, results, total }).toEqual({
            ...{ alarms: ["rang"], results: ["4"], total: 1 },
            heard: ["told", "relayed 1"],
          });
        },
        { within: 4_000, name: `${key} has done all` },
      );
      const found = await cluster.transport.buckets.get("jobs", `acme.u1.${key}`);
      expect(JSON.parse(new TextDecoder().decode(found?.value))).toMatchObject({ text: "seen" });
    }
    await eventually(() => cluster.broker.deadLetters.length === KEYS.length, { name: "letters" });
    // Over a hand-over, too: each build loads what the other has committed.
    await cluster.stop("n2");
    for (const key of KEYS) expect(await at(key).add({ n: 1 })).toMatchObject({ total: 2 });
    expect((await at("target").read({})).heard.toSorted()).toEqual(KEYS);
  });
});

/** One actor in two builds: the newer one has another field, another message, and another kind beside it. */
const messages = { add: ask({}, { total: z.number() }), read: ask({}, { colour: z.string() }) };
const OldTally = protocol("tally", { add: messages.add });
const NewTally = protocol("tally", { ...messages, paint: tell({ colour: z.string() }) });
const Novel = protocol("novel", {
  write: tell({ text: z.string() }),
  read: ask({}, { n: z.number() }),
});
const oldTally = actor(OldTally, {
  state: z.object({ total: z.number().default(0) }),
  handlers: {
    add(ctx) {
      ctx.state.total += 1;
      return { total: ctx.state.total };
    },
  },
});
const newTally = actor(NewTally, {
  state: z.object({ total: z.number().default(0), colour: z.string().default("none") }),
  handlers: {
    add(ctx) {
      ctx.state.total += 1;
      return { total: ctx.state.total };
    },
    read: (ctx) => ({ colour: ctx.state.colour }),
    paint(ctx, { colour }) {
      ctx.state.colour = colour;
    },
  },
});
const novel = actor(Novel, {
  state: z.object({ n: z.number().default(0) }),
  handlers: {
    write(ctx) {
      ctx.state.n += 1;
    },
    read: (ctx) => ({ n: ctx.state.n }),
  },
});
/** `n1`, `n2` and so on run these builds. */
const builds =
  (...order: readonly (readonly ActorDefinition[])[]) =>
  (id: string) => ({ definitions: order[Number(id.slice(1)) - 1] ?? [] });
const older = [oldTally];
const newer = [newTally, novel];

describe("an actor of a newer build on a node of an older one", () => {
  test("keeps the fields of its state and of its record that the older build does not know", async () => {
    const perNode = builds(newer, older, newer);
    await using cluster = await startCluster({ definitions: [], nodes: 1, perNode });
    const tally = cluster.client.actor(NewTally, "acme", "a");
    await tally.paint({ colour: "red" });
    await tally.add({});
    const ref = { kind: "tally", tenant: "acme", key: "a" };
    const read = async () => {
      const found = await cluster.transport.records.load(ref, false);
      return {
        revision: found!.revision,
        value: JSON.parse(new TextDecoder().decode(found!.data)),
      };
    };
    await cluster.stop("n1");
    const before = await read();
    const data = new TextEncoder().encode(JSON.stringify({ ...before.value, future: { deep: 1 } }));
    const options = { expected: before.revision, journaled: false, pending: false } as const;
    await cluster.transport.records.commit(ref, data, options);

    await cluster.start("n2");
    await cluster.settled();
    expect(await cluster.client.actor(OldTally, "acme", "a").add({})).toEqual({ total: 2 });
    await cluster.stop("n2");
    expect((await read()).value).toMatchObject({ future: { deep: 1 }, state: { colour: "red" } });
    await cluster.start("n3");
    await cluster.settled();
    expect(await tally.read({})).toEqual({ colour: "red" });
  });

  test("is not given up while a newer node lives: its mail waits, its asks are told to come later", async () => {
    const perNode = builds(older, newer);
    await using cluster = await startCluster({ definitions: [], nodes: 2, perNode });
    const at = (key: string) => cluster.client.actor(Novel, "acme", key);
    const tallyAt = (key: string) => cluster.client.actor(NewTally, "acme", key);
    const other = actorClient({ transport: cluster.transport, clock: systemClock });
    const answers = new Set<string>();
    for (const key of KEYS) {
      await at(key).write({ text: "one" });
      await at(key).write({ text: "two" });
      await tallyAt(key).paint({ colour: "red" });
      for (const asked of [at(key).read({}), tallyAt(key).read({})]) {
        answers.add(
          await asked.then(
            () => "answered",
            ({ code }: { code: string }) => code,
          ),
        );
      }
      // What both know goes on beside it, for senders whose mail does not wait there.
      expect(await other.actor(NewTally, "acme", key).add({})).toEqual({ total: 1 });
    }
    expect(answers).toEqual(new Set(["answered", "node.outdated"]));
    expect(cluster.broker.deadLetters).toEqual([]);
    await cluster.stop("n1");
    for (const key of KEYS) {
      await eventually(async () => (await at(key).read({})).n === 2, {
        name: `${key} has its mail`,
      });
      await eventually(async () => (await tallyAt(key).read({})).colour === "red", {
        name: `${key} is painted`,
      });
    }
    expect(cluster.broker.deadLetters).toEqual([]);
  });

  test("is given up when no node has known it for half a minute, not before", async () => {
    const clock = new ManualClock();
    const perNode = builds(older, newer);
    const cluster = await startCluster({ definitions: [], nodes: 2, perNode, clock });
    await clock.advance(3_000);
    await cluster.crash("n2");
    await clock.advance(3_000);
    for (const key of KEYS) {
      await cluster.client.actor(Novel, "acme", key).write({ text: "one" });
      await cluster.client.actor(NewTally, "acme", key).paint({ colour: "red" });
    }
    await clock.advance(20_000);
    expect(cluster.broker.deadLetters).toEqual([]);
    await clock.advance(15_000);
    const codes = cluster.broker.deadLetters.map(({ reason }) => reason.code);
    expect(codes.filter((code) => code === "actor.unknown_kind")).toHaveLength(KEYS.length);
    expect(codes.filter((code) => code === "actor.unknown_message")).toHaveLength(KEYS.length);
    const refused = cluster.client.actor(Novel, "acme", "a").read({});
    await expect(refused).rejects.toMatchObject({ code: "actor.unknown_kind" });
    await cluster.crash("n1");
  });
});
