/** R7 at a start with much mail, and between actors of one node: who starts when, and who computes how long. */
import { describe, expect, test } from "vitest";
import { actorClient } from "../../../runtime/actor-client.ts";
import { type Clock, systemClock } from "../../../runtime/clock.ts";
import { type Guest, Lobby } from "../../../runtime/lobby.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import type { Transport } from "../../../runtime/transport.ts";
import { startCluster } from "../../support/cluster.ts";
import { deferred } from "../../support/deferred.ts";
import { eventually } from "../../support/eventually.ts";
import { partitionHost } from "../../support/host.ts";
import { flood, floodMany } from "../../support/mail-flood.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { Meter, meter } from "../../support/meter.ts";

describe("a lobby", () => {
  class Rig {
    readonly clock = new ManualClock();
    readonly started: string[] = [];
    readonly ends = new Map<string, () => void>();
    hasRoom = true;
    readonly lobby = new Lobby({ clock: this.clock, width: 2, hasRoom: () => this.hasRoom });

    guest(name: string, urgent = false): Guest {
      const end = deferred();
      const guest: Guest = {
        start: () => {
          this.started.push(name);
          this.ends.set(name, () => end.resolve());
          return end.promise;
        },
      };
      this.lobby.enter(guest, urgent);
      return guest;
    }

    async end(name: string): Promise<void> {
      this.ends.get(name)!();
      await this.clock.advance(0);
    }
  }

  test("starts so many at once, in order, those with urgent mail first (W1, W2)", async () => {
    const rig = new Rig();
    for (const name of ["a", "b", "c", "d", "e"]) rig.guest(name);
    rig.guest("urgent", true);
    expect(rig.started).toEqual(["a", "b"]);
    await rig.end("b");
    await rig.end("a");
    await rig.end("urgent");
    await rig.end("c");
    expect(rig.started).toEqual(["a", "b", "urgent", "c", "d", "e"]);
    expect(rig.lobby.waiting).toBe(0);
  });

  test("lets one move forward whose urgent mail comes later, and forgets one that leaves", async () => {
    const rig = new Rig();
    const [, , , d] = ["a", "b", "c", "d"].map((name) => rig.guest(name));
    const gone = rig.guest("gone");
    rig.lobby.enter(d!, true);
    rig.lobby.leave(gone);
    await rig.end("a");
    await rig.end("b");
    await rig.end("c");
    expect(rig.started).toEqual(["a", "b", "d", "c"]);
  });

  test("waits for one that does not get going no longer than a second (W2)", async () => {
    const rig = new Rig();
    for (const name of ["a", "b", "c"]) rig.guest(name);
    await rig.clock.advance(999);
    expect(rig.started).toEqual(["a", "b"]);
    await rig.clock.advance(1);
    expect(rig.started).toEqual(["a", "b", "c"]);
    await rig.end("c");
    expect(rig.clock.pending).toBe(0);
  });

  test("starts nobody while the node has no room for another (R7)", () => {
    const rig = new Rig();
    rig.hasRoom = false;
    rig.guest("a");
    expect(rig.started).toEqual([]);
    rig.hasRoom = true;
    rig.lobby.admit();
    expect(rig.started).toEqual(["a"]);
  });
});

describe("a node that finds many actors with mail", () => {
  test("handles each, holds few at a time, and lets an ask for one that waits go first", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    await floodMany(transport, 1_000);
    const gate = deferred();
    let held = true;
    const slow: Transport = {
      ...transport,
      records: {
        ...transport.records,
        async load(ref, journaled) {
          // The first that start stand still in their loading; the one that is asked does not.
          if (held && ref.key !== "many-999") await gate.promise;
          return transport.records.load(ref, journaled);
        },
      },
    };
    const host = partitionHost({ transport: slow, definitions: [meter()], epoch: 1 });
    await host.open();
    await eventually(() => host.size >= 32, { name: "the width of the lobby has started" });
    await eventually(() => host.mail.bodies === 1_000 - 32, {
      name: "what waits with guests is counted",
    });
    const client = actorClient({ transport, clock: systemClock });
    const asked = client.actor(Meter, "acme", "many-999");
    expect(await asked.add({})).toEqual({ count: 1 });
    await eventually(async () => (await asked.read({})).hits === 1, {
      name: "its mail came along",
    });
    expect(host.size).toBeLessThan(200);
    held = false;
    gate.resolve();
    let most = 0;
    await eventually(
      () => {
        most = Math.max(most, host.size);
        return broker.mail[0]!.length === 0;
      },
      { name: "all mail is handled" },
    );
    expect(most).toBeLessThan(300);
    expect(host.mail).toEqual({ bodies: 0, sequences: 0 });
    expect((await client.actor(Meter, "acme", "many-500").read({})).hits).toBe(1);
    await host.close();
  });

  test("keeps sequences alone when their bodies would take too much, and loses nothing (R2, R4, R7)", async () => {
    const broker = new MemoryBroker({ clock: systemClock, partitions: 1 });
    const transport = connectMemory(broker);
    for (const key of ["a", "b"]) await flood(transport, key, 2_000);
    const host = partitionHost({
      transport,
      definitions: [meter()],
      epoch: 1,
      bodyBytes: 10_000,
    });
    await host.open();
    const client = actorClient({ transport, clock: systemClock });
    for (const key of ["a", "b"]) {
      await eventually(
        async () => (await client.actor(Meter, "acme", key).read({})).hits === 2_000,
        { name: `${key} has handled all` },
      );
      const seen = await client.actor(Meter, "acme", key).read({});
      expect(seen).toMatchObject({ last: 1_999, disorder: 0 });
    }
    expect(host.mail).toEqual({ bodies: 0, sequences: 0 });
    await host.close();
  });
});

describe("an actor that computes", () => {
  test("gives the others their share after a few milliseconds, whatever waits for it", async () => {
    // Every reading of the clock is a millisecond later: a turn seems to take some.
    let now = 0;
    const clock: Clock = {
      ...systemClock,
      monotonic() {
        now += 1;
        return now;
      },
    };
    let commits = 0;
    const all = deferred();
    await using cluster = await startCluster({ definitions: [meter()], nodes: 0 });
    const inner = cluster.transport;
    const counted: Transport = {
      ...inner,
      records: {
        ...inner.records,
        async load(ref, journaled) {
          await all.promise;
          return inner.records.load(ref, journaled);
        },
        commit(...args) {
          commits += 1;
          return inner.records.commit(...args);
        },
      },
    };
    await flood(inner, "busy", 64);
    const host = partitionHost({
      transport: counted,
      definitions: [meter()],
      epoch: 1,
      clock,
      partition: cluster.broker.partitionOf({ kind: "meter", tenant: "acme", key: "busy" }),
    });
    await host.open();
    // One of them is being handled: it waits for its record.
    await eventually(() => host.mail.bodies >= 63, { name: "all of it waits" });
    all.resolve();
    const busy = cluster.client.actor(Meter, "acme", "busy");
    await eventually(async () => (await busy.read({})).hits === 64, { name: "all is handled" });
    expect(commits).toBeGreaterThanOrEqual(64 / 5);
    await host.close();
  });
});
