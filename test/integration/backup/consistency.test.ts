/** What a backup under load holds belongs together: restored elsewhere, every actor goes on from one moment (R2, R3, R4, R6). */

import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { STREAMS } from "../../../protocols/subjects.ts";
import type { Client } from "../../../runtime/client.ts";
import { systemClock } from "../../../runtime/clock.ts";
import type { Snapshots } from "../../../runtime/nats/snapshots.ts";
import { decodePage } from "../../../runtime/record.ts";
import { startTestCluster, type TestCluster } from "../../../runtime/testkit/cluster.ts";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { type BackupRig, backupRig } from "../../support/backup-rig.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { eventually } from "../../support/eventually.ts";
import { startNats, type TestNats } from "../../support/nats.ts";
import { startNatsCluster, type TestNatsCluster } from "../../support/nats-cluster.ts";
import { probeLoad } from "../../support/probe-load.ts";

const PAIRS = Array.from({ length: 8 }, (_, n) => n);
const definitions = [probe()];
const tools = probeTools();

/** Clients that have senders tell receivers numbered texts, without pause. */
function relays(client: Client) {
  const stopping = new AbortController();
  const accepted = new Map(PAIRS.map((pair) => [pair, 0]));
  const run = async (pair: number) => {
    for (let n = 0; !stopping.signal.aborted; n += 1) {
      await client
        .actor(Probe, "acme", `from-${pair}`)
        .relay(
          { to: `to-${pair}`, texts: [`${n}`] },
          { timeoutMs: 30_000, id: `relay-${pair}-${n}` },
        );
      accepted.set(pair, n + 1);
      await systemClock.sleep(2);
    }
  };
  const running = Promise.all(PAIRS.map(run));
  return {
    accepted: () => new Map(accepted),
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

/** Pages and not texts: an actor that has little time writes many in one. */
async function lastOfJournal({ url }: TestNats): Promise<number> {
  const connection = await connect({ servers: new URL(url).host });
  try {
    const jsm = await jetstreamManager(connection);
    return (await jsm.streams.info(STREAMS.journal)).state.last_seq;
  } finally {
    await connection.close();
  }
}

const read = (client: Client, key: string) =>
  client.actor(Probe, "acme", key).read({}, { timeoutMs: 20_000 });

/** Each relay that is in its sender's state reached its receiver, once and in order; none that was accepted before is missing. */
async function expectWhole(client: Client, before: ReadonlyMap<number, number>): Promise<void> {
  for (const pair of PAIRS) {
    await eventually(
      async () => {
        const sent = (await read(client, `from-${pair}`)).heard.length;
        const heard = (await read(client, `to-${pair}`)).heard;
        expect(heard).toEqual(Array.from({ length: sent }, (_, n) => `${n}`));
        expect(sent).toBeGreaterThanOrEqual(before.get(pair) ?? 0);
      },
      { name: `pair ${pair} is whole`, within: 20_000 },
    );
  }
}

describe("a backup that is made under load", () => {
  let rig: BackupRig;
  let cluster: Cluster;
  const before = { relayed: new Map<number, number>(), added: new Map<string, number>() };
  const texts = { last: 0 };

  beforeAll(async () => {
    rig = await backupRig();
    cluster = await startCluster({ definitions, tools, nodes: 2, on: "nats" });
    await using _ = cluster;
    const { client, nats } = cluster;
    const load = probeLoad(client, { runEvery: 5, keys: 6 });
    const relayed = relays(client);
    await load.answered();
    await client
      .actor(Probe, "acme", "sleeper")
      .remind({ name: "r", text: "wake", afterMs: 8_000 });
    await client
      .actor(Probe, "acme", "sleeper")
      .remind({ name: "far", text: "far", afterMs: 3_600_000 });
    await eventually(async () => (await read(client, "sleeper")).exists, { name: "it is set" });
    for (let n = 0; n < 3; n += 1) {
      await load.answered();
      before.relayed = relayed.accepted();
      before.added = new Map(load.added);
      texts.last = n;
      await rig.create(nats, `backup-${n}`);
    }
    await load.answered();
    await load.stop();
    await relayed.stop();
    // Those whom the backup kept waiting have lost nothing either.
    await load.expectKept();
    await expectWhole(client, relayed.accepted());
  });
  afterAll(() => rig[Symbol.asyncDispose]());

  const check = async (restored: TestCluster) => {
    const { client } = restored;
    await restored.settled();
    await expectWhole(client, before.relayed);
    for (const [key, added] of before.added)
      expect((await read(client, key)).total).toBeGreaterThanOrEqual(added);
    await eventually(async () => (await read(client, "sleeper")).alarms.length > 0, {
      name: "a reminder of before fires",
      within: 20_000,
    });
    expect((await read(client, "sleeper")).alarms).toEqual(["wake"]);
    // Nothing is stuck, and nothing was taken for doubtful.
    const again = await client.actor(Probe, "acme", "load-0").add({ n: 1 });
    expect(again.total).toBeGreaterThan(0);
    expect(await restored.transport.deadLetters.list({ limit: 10 })).toMatchObject({ letters: [] });
    const late = relays(client);
    await eventually(() => [...late.accepted().values()].every((n) => n > 5), {
      name: "it goes on",
    });
    await late.stop();
  };

  test("is whole on one server: nothing lost, doubled or stuck, reminders included", async () => {
    await using nats: TestNats = await startNats();
    await rig.restore(`backup-${texts.last}`, nats);
    await using restored = await startTestCluster({ definitions, tools, nodes: 2, url: nats.url });
    await check(restored);
  });

  test("is whole on three servers, with every stream three times", async () => {
    await using nats: TestNatsCluster = await startNatsCluster();
    await rig.restore(`backup-${texts.last}`, nats, { replicas: 3 });
    const nc = await connect({ servers: nats.url.split(",").map((one) => new URL(one).host) });
    const { config } = await (await jetstreamManager(nc)).streams.info(STREAMS.mail);
    expect(config.num_replicas).toBe(3);
    await nc.close();
    await using restored = await startTestCluster({ definitions, tools, nodes: 2, url: nats.url });
    await check(restored);
    // And back: three copies to one.
    await rig.create(nats, "of-three");
    await using single: TestNats = await startNats();
    await rig.restore("of-three", single);
    await using third = await startTestCluster({ definitions, tools, nodes: 1, url: single.url });
    expect((await read(third.client, "sleeper")).alarms).toEqual(["wake"]);
  });
});

describe("a backup of journaled actors that go on while their journal is copied", () => {
  const journaled = [probe({ journaled: true })];

  test("ends where the cut was: what came later is not in it, events have no gap, and actors go on", async () => {
    await using rig: BackupRig = await backupRig();
    const before = new Map<number, number>();
    await using nats: TestNats = await startNats();
    await (async () => {
      await using cluster: Cluster = await startCluster({
        ...{ definitions: journaled, tools, nodes: 2, on: "nats" },
      });
      const relayed = relays(cluster.client);
      await eventually(() => [...relayed.accepted().values()].every((n) => n > 5), {
        name: "load",
      });
      for (const [pair, n] of relayed.accepted()) before.set(pair, n);
      // Much is written between the cut and the copy of the journal.
      const wrap = (inner: Snapshots): Snapshots => ({
        ...inner,
        async save(stream, options) {
          if (stream !== STREAMS.journal) return await inner.save(stream, options);
          const at = await lastOfJournal(cluster.nats);
          await eventually(async () => (await lastOfJournal(cluster.nats)) > at + 20, {
            name: "more load",
          });
          return await inner.save(stream, options);
        },
      });
      const { streams } = await rig.create(cluster.nats, "cut", { wrap });
      const journal = streams.find(({ name }) => name === STREAMS.journal);
      expect(journal?.state.last_seq).toBeGreaterThan((journal?.up_to ?? 0) + 20);
      await relayed.stop();
    })();
    await rig.restore("cut", nats);
    await using restored = await startTestCluster({
      ...{ definitions: journaled, tools, nodes: 2, url: nats.url },
    });
    const { client, transport } = restored;
    await expectWhole(client, before);
    for (const pair of PAIRS) {
      const ref = { tenant: "acme", kind: "probe", key: `to-${pair}` };
      const pages = await transport.records.journal(ref, 0, 10_000);
      const seqs = pages.flatMap(({ data }) => decodePage(data).events.map(({ seq }) => seq));
      expect(seqs).toEqual(seqs.map((_, n) => n + 1));
      expect(seqs).toHaveLength((await read(client, `to-${pair}`)).heard.length);
    }
    const late = relays(client);
    await eventually(() => [...late.accepted().values()].every((n) => n > 5), {
      name: "it goes on",
    });
    await late.stop();
  });
});
