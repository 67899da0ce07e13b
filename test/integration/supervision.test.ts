/** R5 on a real nats-server: parking, children and dead letters over crashes of nodes and of the broker. */
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { describe, expect, test } from "vitest";
import { STREAMS, subjects } from "../../protocols/subjects.ts";
import { actorClient } from "../../runtime/actor-client.ts";
import { systemClock } from "../../runtime/clock.ts";
import { decodeRecord } from "../../runtime/record.ts";
import { DEFAULT_SUPERVISION } from "../../runtime/supervision.ts";
import { sendSystem } from "../../runtime/system-mail.ts";
import { Probe, probe, probeTools } from "../support/actors.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { Member, member, Squad, squad } from "../support/family.ts";

const ref = (kind: string, key: string) => ({ kind, tenant: "acme", key });

async function recordOf(cluster: Cluster, kind: string, key: string) {
  const found = await cluster.transport.records.load(ref(kind, key), false);
  if (!found) throw new Error(`${key} has no record`);
  return decodeRecord(found.data);
}

describe("a parked actor", () => {
  test("keeps its mail and its standing over the death of its node and of the broker, and is unparked with the nats CLI's means (R2, R5)", async () => {
    await using cluster = await startCluster({ definitions: [probe()], on: "nats", nodes: 2 });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.park({ code: "auth.expired", message: "log in" });
    await handle.remind({ name: "soon", text: "due", afterMs: 1_000 });
    for (const text of ["1", "2", "3"]) await handle.hear({ text });
    await eventually(
      () => expect(handle.add({ n: 1 })).rejects.toMatchObject({ code: "actor.parked" }),
      { name: "parked" },
    );
    await cluster.crash("n1");
    await cluster.nats.restart();
    await cluster.settled();
    const reader = actorClient({ transport: cluster.transport, clock: systemClock });
    await eventually(
      async () =>
        expect((await reader.actor(Probe, "acme", "a").read({})).heard).toEqual(["parked"]),
      { name: "reads are answered", within: 20_000 },
    );
    const plain = await connect({ servers: cluster.nats.url });
    // What `nats pub` sends: the documented wire form.
    const order = { id: "by-hand", type: "$unpark", payload: {}, sentAt: 0 };
    plain.publish(subjects.mail(ref("probe", "a"), "system"), JSON.stringify(order));
    await plain.flush();
    await eventually(
      async () =>
        expect(await handle.read({})).toMatchObject({
          heard: ["parked", "1", "2", "3"],
          alarms: [],
        }),
      { name: "its mail is handled in order" },
    );
    await plain.close();
    expect((await recordOf(cluster, "probe", "a")).standing).toBeUndefined();
  });
});

describe("a parent", () => {
  test("does not wait for ever for a child that no node serves", async () => {
    await using cluster = await startCluster({
      definitions: [member(), squad({ strategy: "one-for-all", stopMs: 1_100 })],
      on: "nats",
    });
    const handle = cluster.client.actor(Squad, "acme", "s");
    await handle.hire({ keys: ["c1"] });
    await handle.haunt({ key: "g" });
    await handle.hire({ keys: ["c2"] });
    const members = ["c1", "c2"].map((key) => cluster.client.actor(Member, "acme", key));
    await eventually(
      async () => expect((await recordOf(cluster, "member", "c2")).family?.parent).toBeDefined(),
      { name: "adopted" },
    );
    await members[0]!.fail({ text: "boom" });
    await eventually(
      async () => {
        const all = await Promise.all(members.map((each) => each.read({})));
        expect(all.map(({ restarts }) => restarts)).toEqual([1, 1]);
      },
      { name: "both are back" },
    );
    await eventually(
      async () => expect((await recordOf(cluster, "squad", "s")).family?.plan).toBeUndefined(),
      { name: "the plan is over" },
    );
  });

  test("that gives up stops its children for good, until an operator restarts it", async () => {
    await using cluster = await startCluster({
      definitions: [member(), squad({ intensity: { failures: 0, withinMs: 1 } })],
      on: "nats",
    });
    await cluster.client.actor(Squad, "acme", "s").hire({ keys: ["c1", "c2"] });
    const [c1, c2] = ["c1", "c2"].map((key) => cluster.client.actor(Member, "acme", key));
    await eventually(
      async () => expect((await recordOf(cluster, "member", "c2")).family?.parent).toBeDefined(),
      { name: "adopted" },
    );
    await c2!.fail({ text: "boom" });
    await eventually(
      async () =>
        expect((await recordOf(cluster, "squad", "s")).standing).toMatchObject({
          state: "stopped",
          code: "actor.children_failed",
        }),
      { name: "it has given up" },
    );
    await expect(c1!.read({})).rejects.toMatchObject({ code: "actor.stopped" });
    const found = await cluster.transport.deadLetters.list({ kind: "squad", limit: 9 });
    expect(found.letters).toMatchObject([{ reason: { code: "actor.children_failed" } }]);
    const parts = { transport: cluster.transport, clock: systemClock };
    await sendSystem(parts, ref("squad", "s"), { type: "$restart" });
    await eventually(async () => expect((await c1!.read({})).restarts).toBe(1), { name: "back" });
  });
});

describe("a dead letter", () => {
  test("replayed twice, with the broker's memory of ids gone in between, is handled once (R2, R3)", async () => {
    let isCured = false;
    await using cluster = await startCluster({
      definitions: [
        probe({
          supervision: { ...DEFAULT_SUPERVISION, maxAttempts: 1 },
          bearsPoison: () => isCured,
        }),
      ],
      tools: probeTools(),
      on: "nats",
    });
    const handle = cluster.client.actor(Probe, "acme", "a");
    await handle.hear({ text: "poison" });
    const { deadLetters } = cluster.transport;
    const letter = await eventually(
      async () => (await deadLetters.list({ limit: 1 })).letters[0] ?? false,
      { name: "the letter" },
    );
    const before = await connect({ servers: cluster.nats.url });
    const jsm = await jetstreamManager(before);
    const seq = Number(letter.id.replace("dl-", ""));
    const stored = await jsm.streams.getMessage(STREAMS.deadLetters, { seq });
    isCured = true;
    await deadLetters.replay(letter.id);
    await eventually(async () => expect((await handle.read({})).heard).toEqual(["poison"]), {
      name: "handled",
    });
    await before.close();
    await cluster.nats.restart();
    await cluster.settled();
    // The letter as a replay leaves it that was cut short before it took the letter away.
    const plain = await connect({ servers: cluster.nats.url });
    plain.publish(subjects.deadLetter(ref("probe", "a")), stored!.data);
    const outcome = await eventually(
      async () => {
        const replayed = await deadLetters.replayAll({ kind: "probe" });
        return replayed.replayed > 0 && replayed;
      },
      { name: "replayed again" },
    );
    expect(outcome).toEqual({ replayed: 1, failed: [] });
    await handle.hear({ text: "last" });
    await eventually(async () => expect((await handle.read({})).heard).toContain("last"), {
      name: "the last",
    });
    expect((await handle.read({})).heard).toEqual(["poison", "last"]);
    expect((await deadLetters.list({ limit: 9 })).letters).toEqual([]);
    await plain.close();
  });
});
