/** Recovery, commits of unknown fate and hot state on real servers: what only a broker that is killed can show (R1, R2, R3). */
import { jetstreamManager } from "@nats-io/jetstream";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol } from "../../protocols/protocol.ts";
import { actor } from "../../runtime/actor.ts";
import { systemClock } from "../../runtime/clock.ts";
import { commitRecord } from "../../runtime/commit.ts";
import { silentLogger } from "../../runtime/logger.ts";
import { connectNats } from "../../runtime/nats/transport.ts";
import { decodeRecord, encodeRecord } from "../../runtime/record.ts";
import { noSenders } from "../../runtime/senders.ts";
import { Probe, probe } from "../support/actors.ts";
import { startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { SERVERS, startNatsCluster } from "../support/nats-cluster.ts";

const RECORDS = "KV_berth-actors";
const SENDERS = 1_000;

describe("a power-off of node and nats-server", () => {
  test("while 1,000 senders write to one receiver doubles nothing and loses nothing (R2, R3)", async () => {
    await using cluster = await startCluster({
      definitions: [probe()],
      on: "nats",
      leaseTtlMs: 2_000,
    });
    const at = (key: string) => cluster.client.actor(Probe, "acme", key);
    const heard = async () => (await at("target").read({}, { timeoutMs: 20_000 })).heard;
    const tell = (n: number) =>
      at(`s${n}`).relay({ to: "target", texts: [`${n}`] }, { timeoutMs: 30_000 });
    await Promise.all(Array.from({ length: SENDERS }, (_, n) => tell(n)));
    await eventually(async () => (await heard()).length >= SENDERS / 4, {
      name: "a part is heard",
      within: 20_000,
    });
    // Nothing is tidied: the outboxes of those senders still stand in their records, and the ids are forgotten.
    await Promise.all([cluster.crash("n1"), cluster.nats.kill()]);
    await cluster.nats.restart();
    await cluster.start("n1");
    await cluster.settled();
    await eventually(async () => (await heard()).length >= SENDERS, {
      name: "all are heard",
      within: 30_000,
    });
    // Mail of one sender to one actor keeps its order: what was sent again came before this.
    await Promise.all(Array.from({ length: SENDERS }, (_, n) => tell(n + SENDERS)));
    await eventually(async () => (await heard()).length >= 2 * SENDERS, {
      name: "the next round is heard",
      within: 30_000,
    });
    const texts = (await heard()).map(Number).toSorted((a, b) => a - b);
    expect(texts).toEqual(Array.from({ length: 2 * SENDERS }, (_, n) => n));
    expect((await cluster.transport.deadLetters.list({ limit: 5 })).letters).toEqual([]);
  }, 120_000);
});

describe("a read-only handler on a real server", () => {
  const Shelf = protocol("shelf", {
    put: ask({ name: z.string() }, { size: z.number() }),
    cheat: ask({}, {}, { readOnly: true }),
    names: ask({}, { names: z.array(z.string()) }, { readOnly: true }),
  });
  const shelf = actor(Shelf, {
    state: z.object({ names: z.array(z.string()).default([]) }),
    handlers: {
      put(ctx, { name }) {
        ctx.state.names.push(name);
        return { size: ctx.state.names.length };
      },
      cheat(ctx) {
        (ctx.state.names as string[]).push("smuggled");
        return {};
      },
      names: ({ state }) => ({ names: state.names }),
    },
  });

  test("that changes its state fails and writes nothing", async () => {
    await using cluster = await startCluster({ definitions: [shelf], on: "nats" });
    const handle = cluster.client.actor(Shelf, "acme", "a");
    const ref = { kind: "shelf", tenant: "acme", key: "a" };
    await handle.put({ name: "one" });
    const before = await cluster.transport.records.load(ref, false);
    await expect(handle.cheat({})).rejects.toMatchObject({ code: "actor.failed" });
    expect(await handle.names({})).toEqual({ names: ["one"] });
    expect((await cluster.transport.records.load(ref, false))!.revision).toBe(before!.revision);
    expect(await handle.put({ name: "two" })).toEqual({ size: 2 });
  });
});

describe("a commit on three servers", () => {
  test("is stored once and read at once, whichever server leads and whatever answer is lost (R1, R3)", async () => {
    await using servers = await startNatsCluster();
    await using link = await servers.link();
    const connect = (url: string) =>
      connectNats({
        url,
        name: "test",
        topology: {
          replicas: 3,
          partitions: 1,
          mailboxCapacity: 1_000,
          journalRetentionMs: 3_600_000,
        },
        logger: silentLogger,
        clock: systemClock,
      });
    const writer = await connect(link.url);
    const reader = await connect(servers.url);
    const jsm = await jetstreamManager(reader.connection);
    const leader = async () => (await jsm.streams.info(RECORDS)).cluster?.leader;
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const { signal } = new AbortController();
    let revision = 0;
    const disturb: Record<number, () => Promise<unknown>> = {
      5: () => reader.connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.${RECORDS}`),
      10: async () => link.cut("reset"),
      15: async () => {
        const name = SERVERS.find((server) => server === leading);
        if (name) await servers.kill(name);
      },
      20: async () => link.cut("silent"),
    };
    let leading = await leader();
    for (let n = 1; n <= 25; n += 1) {
      if (n === 15) leading = await leader();
      const data = encodeRecord(
        {
          v: 1,
          epoch: 1,
          writer: "w",
          commit: n,
          cursor: {},
          nth: 0,
          senders: noSenders(),
          outbox: [],
          effects: {},
          reminders: {},
        },
        "{}",
      );
      const request = { ref, data, expected: revision, journaled: false, pending: false as const };
      const committing = commitRecord(
        { records: writer.records, clock: systemClock, signal },
        { ...request, writer: "w", commit: n },
      );
      await disturb[n]?.().catch(() => undefined);
      const healing = systemClock.sleep(n === 20 ? 4_000 : 500).then(() => link.heal());
      const stored = await committing;
      await (disturb[n] ? healing : undefined);
      expect(stored).toBeGreaterThan(revision);
      revision = stored;
      const found = await eventually(async () => (await reader.records.load(ref, false))!, {
        name: "a leader answers",
        within: 20_000,
      });
      expect(found.revision).toBe(revision);
      expect(decodeRecord(found.data).commit).toBe(n);
    }
    // Each was stored once: as many revisions as commits, for nobody else wrote.
    expect((await jsm.streams.info(RECORDS)).state.last_seq).toBe(25);
    await Promise.all([writer.close(), reader.close()]);
  }, 120_000);
});
