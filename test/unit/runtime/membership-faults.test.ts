/** R1, R8: whatever happens to nodes and their connections, afterwards every partition has exactly one owner. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { partitionOf } from "../../../protocols/partition.ts";
import { actorClient } from "../../../runtime/actor-client.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../../runtime/node.ts";
import { Probe, probe } from "../../support/actors.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type SeverableTransport, severable } from "../../support/severable-transport.ts";

const PARTITIONS = 8;
const IDS = ["a", "b", "c", "d"] as const;
/** Leases, graces, restarts and hand-overs are all over by then. */
const CALM_MS = 60_000;

const step = fc.record({
  what: fc.constantFrom("start", "crash", "stop", "cut", "mend", "outage", "evict"),
  id: fc.constantFrom(...IDS),
  thenMs: fc.integer({ min: 0, max: 6_000 }),
});

interface Member {
  readonly node: RunningNode;
  readonly transport: SeverableTransport;
}

class World {
  readonly clock = new ManualClock();
  readonly broker = new MemoryBroker({ clock: this.clock, partitions: PARTITIONS });
  readonly outside = connectMemory(this.broker);
  readonly members = new Map<string, Member>();

  /** Runs `work` while time goes on. */
  async during(work: Promise<unknown>): Promise<void> {
    const state = { isOver: false };
    const over = () => {
      state.isOver = true;
    };
    const ended = work.then(over, over);
    for (let turn = 0; turn < 1_000 && !state.isOver; turn += 1) await this.clock.advance(100);
    await ended;
  }

  async start(id: string): Promise<void> {
    if (this.members.has(id)) return;
    const transport = severable(connectMemory(this.broker));
    const starting = startNode({
      ...{ transport, definitions: [probe()], tools: {}, clock: this.clock },
      ...{ logger: silentLogger, metrics: noMetrics, random: () => 0.5 },
      ...{ nodeId: id, version: "0", drivers: [] },
    });
    await this.during(starting);
    this.members.set(id, { node: await starting, transport });
  }

  async end(id: string, how: "crash" | "stop"): Promise<void> {
    const member = this.members.get(id);
    if (!member) return;
    this.members.delete(id);
    if (how === "crash") member.transport.cut();
    await this.during(member.node[how]());
    await member.transport.close();
  }

  async apply({ what, id }: { readonly what: string; readonly id: string }): Promise<void> {
    if (what === "start") await this.start(id);
    else if (what === "crash" || what === "stop") await this.end(id, what);
    else if (what === "cut") this.members.get(id)?.transport.cut();
    else if (what === "mend") await this.members.get(id)?.transport.mend();
    else if (what === "outage") for (const { transport } of this.members.values()) transport.cut();
    else await this.outside.buckets.remove("nodes", id);
  }

  async calm(): Promise<void> {
    for (const { transport } of this.members.values()) await transport.mend();
    await this.clock.advance(CALM_MS);
  }
}

test("after any sequence of joins, deaths, cuts, outages and wrong evictions", async () => {
  const sequences = fc.array(step, { minLength: 1, maxLength: 14 });
  await fc.assert(
    fc.asyncProperty(sequences, async (steps) => {
      const world = new World();
      await world.start("a");
      for (const next of steps) {
        await world.apply(next);
        await world.clock.advance(next.thenMs);
      }
      if (world.members.size === 0) await world.start("a");
      await world.calm();

      const nodes = [...world.members.values()].map(({ node }) => node);
      const held = nodes.flatMap((node) => node.partitions());
      expect(held.toSorted((x, y) => x - y)).toEqual(
        Array.from({ length: PARTITIONS }, (_, n) => n),
      );
      for (const node of nodes) {
        expect(node.isReady()).toBe(true);
        expect(node.partitions().length).toBeLessThanOrEqual(Math.ceil(PARTITIONS / nodes.length));
      }
      const client = actorClient({ transport: world.outside, clock: world.clock });
      const answered = new Set<number>();
      for (let n = 0; answered.size < PARTITIONS; n += 1) {
        const ref = { kind: "probe", tenant: "acme", key: `k${n}` };
        const asked = client.actor(Probe, "acme", ref.key).add({ n: 1 });
        await world.during(asked);
        expect(await asked).toEqual({ total: 1 });
        answered.add(partitionOf(ref, PARTITIONS));
      }
      for (const id of [...world.members.keys()]) await world.end(id, "stop");
    }),
    { numRuns: 40 },
  );
}, 120_000);
