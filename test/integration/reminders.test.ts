/**
 * R6 on a real nats-server with 100,000 reminders pending: those that fall due while node and server are killed fire
 * once, none is lost, none comes that was cancelled or replaced; and all that were pending are so afterwards.
 * `BERTH_TEST_REMINDERS` sets how many are pending.
 */
import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { z } from "zod";
import { ask, protocol, tell } from "../../protocols/protocol.ts";
import { STREAMS } from "../../protocols/subjects.ts";
import { actor } from "../../runtime/actor.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { Transport } from "../../runtime/transport.ts";
import { Pace } from "../chaos/pace.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

const PENDING = Number(process.env["BERTH_TEST_REMINDERS"] ?? 100_000);
const ACTORS = 2_000;
/** Of these the first are replaced by a later one, the next are cancelled. */
const REPLACED = 200;
const CANCELLED = 200;
const DAY_MS = 86_400_000;

const Bell = protocol("bell", {
  set: tell({ name: z.string(), at: z.number(), label: z.string() }),
  unset: tell({ name: z.string() }),
  ring: tell({ at: z.number(), label: z.string() }),
  read: ask(
    {},
    { rings: z.array(z.object({ at: z.number(), label: z.string(), lateMs: z.number() })) },
    { readOnly: true },
  ),
});

const bell = actor(Bell, {
  state: z.object({
    rings: z.array(z.object({ at: z.number(), label: z.string(), lateMs: z.number() })).default([]),
  }),
  handlers: {
    set(ctx, { name, at, label }) {
      ctx.remind("ring", { at, label }, { at }, name);
    },
    unset(ctx, { name }) {
      ctx.forget(name);
    },
    ring(ctx, { at, label }) {
      ctx.state.rings.push({ at, label, lateMs: ctx.now - at });
    },
    read: (ctx) => ({ rings: ctx.state.rings }),
  },
});

async function inBatches(count: number, work: (n: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += 500) {
    const size = Math.min(500, count - from);
    await Promise.all(Array.from({ length: size }, (_, i) => work(from + i)));
  }
}

/** Reminders of actors that nobody looks at, due tomorrow. */
function pend(transport: Transport): Promise<void> {
  const at = systemClock.now() + DAY_MS;
  return inBatches(PENDING, (n) => {
    const ref = { kind: "bell", tenant: "acme", key: `pending-${n}` };
    return transport.mailboxes.schedule(
      ref,
      { id: `p${n}`, name: "r", type: "ring", payload: {} },
      at,
    );
  });
}

/** The subjects of those that nobody looks at, as the broker stores them. */
async function stored(cluster: Cluster): Promise<Set<string>> {
  const connection = await connect({ servers: cluster.nats.url });
  try {
    const jsm = await jetstreamManager(connection);
    const { state } = await jsm.streams.info(STREAMS.reminders, { subjects_filter: ">" });
    const found = Object.keys(state.subjects ?? {});
    return new Set(found.filter((subject) => subject.includes(".pending-")));
  } finally {
    await connection.close();
  }
}

function residentMiB(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

const at = (cluster: Cluster, n: number) => cluster.client.actor(Bell, "acme", `b${n}`);

/** Sets one for each actor, between `from` and `from + spreadMs`; replaces some and cancels some. */
async function setAll(cluster: Cluster, from: number, spreadMs: number): Promise<void> {
  const dueOf = (n: number) => from + Math.floor((n / ACTORS) * spreadMs);
  const options = { timeoutMs: 30_000 };
  await inBatches(ACTORS, (n) =>
    at(cluster, n).set({ name: "r", at: dueOf(n), label: "first" }, options),
  );
  await inBatches(REPLACED, (n) =>
    at(cluster, n).set({ name: "r", at: dueOf(n) + 2_000, label: "second" }, options),
  );
  await inBatches(CANCELLED, (n) => at(cluster, REPLACED + n).unset({ name: "r" }, options));
}

test(`of ${PENDING} reminders those due fire once, at their time, over kills of node and server (R6)`, {
  timeout: 300_000,
}, async () => {
  await using cluster = await startCluster({ definitions: [bell], partitions: 8, on: "nats" });
  const startedAt = performance.now();
  await pend(cluster.transport);
  const seconds = (performance.now() - startedAt) / 1_000;
  process.stdout.write(
    `${PENDING} schedules stored in ${seconds.toFixed(1)} s (${Math.round(PENDING / seconds)}/s); ` +
      `nats-server has ${residentMiB(cluster.nats.pid)} MiB\n`,
  );

  const pending = await stored(cluster);
  expect(pending.size).toBe(PENDING);

  // Time enough to set them all, also on a machine on which those took long.
  const from = Math.ceil(systemClock.now() + Math.max(20_000, 2_000 * seconds));
  await setAll(cluster, from, 20_000);
  expect(systemClock.now(), "set before the first is due").toBeLessThan(from);
  const over = new AbortController();
  const pace = new Pace();
  const pacing = pace.run(over.signal);
  await systemClock.sleep(from + 6_000 - systemClock.now());
  const outage = { from: systemClock.now(), to: 0 };
  await cluster.crash("n1");
  await cluster.nats.kill();
  await cluster.nats.restart();
  await cluster.start("n2");
  await cluster.settled();
  outage.to = systemClock.now();

  const ringsOf = async (n: number) => (await at(cluster, n).read({}, { timeoutMs: 20_000 })).rings;
  const isCancelled = (n: number) => n >= REPLACED && n < REPLACED + CANCELLED;
  await systemClock.sleep(from + 22_000 - systemClock.now());
  await eventually(async () => (await ringsOf(ACTORS - 1)).length > 0, {
    name: "the last one rings",
    within: 30_000,
  });
  const late: number[] = [];
  await inBatches(ACTORS, async (n) => {
    const labels = [n < REPLACED ? "second" : "first"];
    const expected = isCancelled(n) ? [] : labels;
    const rings = await eventually(
      async () => {
        const found = await ringsOf(n);
        return found.length >= expected.length && found;
      },
      { name: `b${n} has rung`, within: 20_000 },
    );
    expect(
      rings.map(({ label }) => label),
      `b${n}`,
    ).toEqual(expected);
    for (const ring of rings) {
      const isInOutage = ring.at > outage.from - 1_000 && ring.at < outage.to + 1_000;
      expect(ring.lateMs, `b${n}`).toBeGreaterThanOrEqual(0);
      if (!isInOutage) late.push(ring.lateMs);
      else expect(ring.at + ring.lateMs, `b${n}`).toBeLessThan(outage.to + 10_000);
    }
  });
  over.abort();
  await pacing;
  late.sort((a, b) => a - b);
  const p99 = late[Math.floor(late.length * 0.99)] ?? Number.NaN;
  const p50 = late[Math.floor(late.length / 2)];
  process.stdout.write(
    `outage of ${outage.to - outage.from} ms; ${late.length} reminders outside it, late by p50 ${p50} ms, ` +
      `p99 ${p99} ms, at most ${late.at(-1)} ms; timers of this process by p99 ${Math.round(pace.lateMs)} ms\n`,
  );
  // A machine that runs nothing in time delays what is due, too.
  expect(p99).toBeLessThan(1_000 + pace.lateMs);
  const left = await stored(cluster);
  const lost = [...pending].filter((subject) => !left.has(subject));
  expect(lost.slice(0, 9), `${lost.length} of those due tomorrow are gone`).toEqual([]);
  expect(left.size).toBe(PENDING);
});
