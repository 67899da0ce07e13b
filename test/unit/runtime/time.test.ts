/** R6: reminders and passivation, on a clock that the test moves. */
import { describe, expect, test } from "vitest";
import { Probe, probe, probeTools } from "../../support/actors.ts";
import { type Cluster, startCluster } from "../../support/cluster.ts";
import { ManualClock } from "../../support/manual-clock.ts";

async function withClock(): Promise<{ cluster: Cluster; clock: ManualClock }> {
  const clock = new ManualClock();
  const definitions = [probe({ passivateAfterMs: 10_000 })];
  const options = { definitions, clock, tools: probeTools(), sweepMs: 1_000, leaseTtlMs: 4_000 };
  const cluster = await startCluster(options);
  await clock.advance(100);
  return { cluster, clock };
}

/** An answer needs the loop to turn, not the clock to move. */
async function alarms(cluster: Cluster): Promise<string[]> {
  return (await cluster.client.actor(Probe, "acme", "a").read({}, { timeoutMs: 60_000 })).alarms;
}

async function end(cluster: Cluster, clock: ManualClock): Promise<void> {
  const state = { ended: false };
  const done = (async () => {
    await cluster[Symbol.asyncDispose]();
    state.ended = true;
  })();
  while (!state.ended) await clock.advance(100);
  await done;
}

describe("a reminder", () => {
  test("fires once, at its time and not before", async () => {
    const { cluster, clock } = await withClock();
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.remind({ name: "r", text: "ring", afterMs: 5_000 });
    expect(await alarms(cluster)).toEqual([]);
    await clock.advance(4_900);
    expect(await alarms(cluster)).toEqual([]);
    await clock.advance(200);
    expect(await alarms(cluster)).toEqual(["ring"]);
    await clock.advance(60_000);
    expect(await alarms(cluster)).toEqual(["ring"]);
    await end(cluster, clock);
  });

  test("set again replaces the one of its name; another name stays", async () => {
    const { cluster, clock } = await withClock();
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.remind({ name: "r", text: "old", afterMs: 3_000 });
    await handle.remind({ name: "other", text: "other", afterMs: 3_000 });
    await handle.remind({ name: "r", text: "new", afterMs: 6_000 });
    await clock.advance(5_000);
    expect(await alarms(cluster)).toEqual(["other"]);
    await clock.advance(2_000);
    expect(await alarms(cluster)).toEqual(["other", "new"]);
    await end(cluster, clock);
  });

  test("cancelled does not fire, even when it was due already and waits in the mailbox", async () => {
    const { cluster, clock } = await withClock();
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.remind({ name: "r", text: "ring", afterMs: 3_000 });
    await clock.advance(100);
    await handle.forget({ name: "r" });
    await clock.advance(10_000);
    expect(await alarms(cluster)).toEqual([]);

    await handle.remind({ name: "r", text: "stale", afterMs: 3_000 });
    await clock.advance(100);
    const id = Object.values(await reminderIds(cluster))[0]!;
    await handle.remind({ name: "r", text: "fresh", afterMs: 3_000 });
    await clock.advance(100);
    // The first one fired all the same, as from a broker that had sent it when it was replaced.
    const ref = { kind: "probe", tenant: "acme", key: "a" };
    const due = { id, name: "r", type: "alarm", payload: { text: "stale" } };
    await cluster.transport.mailboxes.schedule(ref, { ...due, name: "again" }, clock.now());
    await clock.advance(5_000);
    expect(await alarms(cluster)).toEqual(["fresh"]);
    await end(cluster, clock);
  });

  test("outlives its node", async () => {
    const { cluster, clock } = await withClock();
    await cluster.client
      .actor(Probe, "acme", "a")
      .remind({ name: "r", text: "ring", afterMs: 20_000 });
    await clock.advance(100);
    await cluster.crash("n1");
    await clock.advance(30_000);
    await cluster.start("n1");
    await clock.advance(1_000);
    expect(await alarms(cluster)).toEqual(["ring"]);
    await end(cluster, clock);
  });
});

async function reminderIds(cluster: Cluster): Promise<Record<string, string>> {
  const ref = { kind: "probe", tenant: "acme", key: "a" };
  const found = await cluster.transport.records.load(ref, false);
  const text = new TextDecoder().decode(found!.data);
  return (JSON.parse(text) as { reminders: Record<string, string> }).reminders;
}

describe("an idle actor", () => {
  test("leaves memory after its time, and comes back with its state (R9)", async () => {
    const { cluster, clock } = await withClock();
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.add({ n: 3 }, { timeoutMs: 60_000 });
    expect(cluster.node("n1").actors(9)).toHaveLength(1);
    await clock.advance(8_000);
    expect(cluster.node("n1").actors(9)).toHaveLength(1);
    await clock.advance(4_000);
    expect(cluster.node("n1").actors(9)).toHaveLength(0);
    expect(await handle.add({ n: 1 }, { timeoutMs: 60_000 })).toEqual({ total: 4 });
    await end(cluster, clock);
  });

  test("leaves no timer behind (R9)", async () => {
    const { cluster, clock } = await withClock();
    const before = clock.pending;
    for (let n = 0; n < 50; n += 1) {
      await cluster.client.actor(Probe, "acme", `k${n}`).add({ n }, { timeoutMs: 60_000 });
    }
    await clock.advance(15_000);
    expect(cluster.node("n1").actors(99)).toHaveLength(0);
    expect(clock.pending).toBeLessThanOrEqual(before);
    await end(cluster, clock);
  });
});
