import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { admitUplink } from "../../../actors/admit-uplink.ts";
import type { ActorSettings } from "../../../actors/options.ts";
import { actorDefinitions } from "../../../actors/registry.ts";
import { actorTools } from "../../../actors/tools/tools.ts";
import {
  DedicatedFleet,
  POOL_KEY,
  SharedPool,
  UserWorker,
} from "../../../protocols/actors/place.ts";
import {
  CAPACITY_KEY,
  Capacity,
  SUPERVISOR_KEY,
  Supervisor,
} from "../../../protocols/actors/supervisor.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { type TierOverrides, type TierTable, tierTable } from "../../../protocols/tiers.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { noMetrics } from "../../../runtime/metrics.ts";
import { type RunningNode, startNode } from "../../../runtime/node.ts";
import { eventually } from "../../support/eventually.ts";
import { JobRig } from "../../support/job-rig.ts";
import { FakeWorkers } from "./fake-workers.ts";

const NODE = "node-1";
const overrides: TierOverrides = {
  free: { minWorkers: 1, maxWorkers: 2, jobsPerHour: 50 },
  pro: { concurrentJobs: 2, slotsPerWorker: 2 },
  enterprise: { minWorkers: 1, maxWorkers: 2, slotsPerWorker: 2 },
};

/** A node with all actors over the memory broker; workers are played. */
class Rig extends JobRig {
  readonly node: RunningNode;
  readonly workers: FakeWorkers;

  constructor(node: RunningNode, workers: FakeWorkers, broker: MemoryBroker, tiers: TierTable) {
    super(node.client, broker, tiers);
    this.node = node;
    this.workers = workers;
  }

  override async close(): Promise<void> {
    await this.workers.close();
    await this.node.stop();
    await super.close();
  }
}

async function startRig(
  settings: Omit<ActorSettings, "tiers"> & { readonly overrides?: TierOverrides } = {},
): Promise<Rig> {
  const broker = new MemoryBroker({ clock: systemClock });
  const transport = connectMemory(broker);
  const tiers = tierTable({
    free: { ...overrides.free, ...settings.overrides?.free },
    pro: { ...overrides.pro, ...settings.overrides?.pro },
    enterprise: { ...overrides.enterprise, ...settings.overrides?.enterprise },
  });
  const fast = { initialMs: 20, maxMs: 100 };
  let node: RunningNode | undefined;
  const tools = actorTools({
    bus: transport.bus,
    buckets: transport.buckets,
    hosts: () => node?.nodes().filter(({ drivers }) => drivers.length > 0) ?? [],
    clock: systemClock,
    logger: silentLogger,
    orderWindowMs: 300,
  });
  node = await startNode({
    transport,
    tools,
    admitUplink,
    definitions: actorDefinitions({
      ...settings,
      tiers,
      place: {
        tickMs: 100,
        reportMs: 50,
        attachedForMs: 10,
        replaceBackoff: fast,
        ...settings.place,
      },
      supervisor: { startBackoff: fast, sweepMs: 100, ...settings.supervisor },
    }),
    clock: systemClock,
    logger: silentLogger,
    metrics: noMetrics,
    random: Math.random,
    nodeId: NODE,
    version: "test",
    drivers: [{ name: "fake", max_workers: 10 }],
  });
  const workers = new FakeWorkers(transport, node.client, NODE);
  const started = node;
  await eventually(() => started.isReady(), { name: "the node is ready" });
  return new Rig(started, workers, broker, tiers);
}

describe("a job, from its user to its end", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  it.each(["free", "pro", "enterprise"] as const)(
    "runs on the %s tier and leaves nothing behind",
    async (tier) => {
      const job = await rig.submit("hello", { tier });
      const record = await rig.ended(job);
      expect(record).toMatchObject({
        state: "succeeded",
        prompt: "hello",
        attempt: 1,
        exit_code: 0,
      });
      expect(await rig.types(job.session)).toEqual([
        "job.queued",
        "job.starting",
        "job.started",
        "agent.output",
        "job.succeeded",
      ]);
      await rig.settled(tier);
      expect((await rig.user().usage({})).usage.jobs).toEqual({ succeeded: 1 });
    },
  );

  it("runs many jobs of many users exactly once each", async () => {
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        rig.submit(`n${n}`, { tier: "free", user: `user-${n % 8}` }),
      ),
    );
    const records = await Promise.all(all.map((job) => rig.ended(job)));
    expect(records.map((record) => record.state)).toEqual(all.map(() => "succeeded"));
    expect(rig.workers.ran.map(({ job }) => job).toSorted()).toEqual(
      all.map(({ job }) => job).toSorted(),
    );
    expect(rig.workers.starts).toBeLessThanOrEqual(2 + 1);
  });

  it("runs jobs of one session one after the other, in order", async () => {
    const first = await rig.submit("one");
    const { session } = first;
    const jobs = [
      first,
      await rig.submit("two", { session }),
      await rig.submit("three", { session }),
    ];
    await Promise.all(jobs.map((job) => rig.ended(job)));
    expect(rig.workers.ran.map(({ job }) => job)).toEqual(jobs.map(({ job }) => job));
  });

  it("lets no more jobs of a user run than the tier allows", async () => {
    const held = [await rig.submit("hold"), await rig.submit("hold")];
    await Promise.all(held.map((job) => rig.reaches(job, "running")));
    const third = await rig.submit("third");
    expect((await rig.user().limits({ tier: "pro" })).limits).toMatchObject({
      concurrent: { running: 2 },
      queued: { waiting: 1 },
    });
    await eventually(async () => expect(await rig.types(third.session)).toEqual(["job.queued"]), {
      name: "the third is journaled",
    });
    await rig.cancel(held[0] ?? third);
    expect(await rig.ended(third)).toMatchObject({ state: "succeeded" });
  });

  it("counts a job submitted twice once", async () => {
    const job = await rig.submit("once");
    await rig.submit("once", { session: job.session, id: job.job });
    await rig.ended(job);
    await rig.submit("once", { session: job.session, id: job.job });
    await rig.settled("pro");
    expect(rig.workers.ran).toHaveLength(1);
  });

  it.each(["pro", "enterprise"] as const)(
    "of a suspended %s tenant is cancelled with the tenant's code, and its workers go",
    async (tier) => {
      const supervisor = rig.client.actor(Supervisor, "acme", SUPERVISOR_KEY);
      const put = (suspended: boolean) =>
        supervisor.configure({ tenant: { name: "A", tier, suspended } });
      await put(false);
      const running = await rig.submit("hold", { tier });
      await rig.reaches(running, "running");
      await put(true);
      expect(await rig.ended(running)).toMatchObject({ state: "cancelled" });
      expect((await rig.events(running.session)).at(-1)).toMatchObject({
        type: "job.cancelled",
        data: { by: "tenant.suspended" },
      });
      await eventually(async () => (await supervisor.view({})).workers.length === 0, {
        name: "no worker is left",
      });
      await expect(rig.submit("more", { tier })).rejects.toMatchObject({
        code: "tenant.suspended",
      });
      await put(false);
      const later = await eventually(() => rig.submit("again", { tier }), {
        name: "the user has heard",
      });
      expect(await rig.ended(later)).toMatchObject({ state: "succeeded" });
    },
  );

  it("cancels a waiting job, a starting one and a running one, each once", async () => {
    const running = await rig.submit("hold");
    const starting = await rig.submit("mute");
    await rig.reaches(running, "running");
    await rig.reaches(starting, "starting");
    const waiting = await rig.submit("never");
    const jobs = [waiting, starting, running];
    for (const job of jobs) expect(await rig.cancel(job)).toEqual({ found: true });
    for (const job of jobs) {
      expect(await rig.ended(job)).toMatchObject({ state: "cancelled" });
      const types = await rig.types(job.session);
      expect(types.filter((type) => type === "job.cancelled")).toHaveLength(1);
      expect(types.at(-1)).toBe("job.cancelled");
    }
    await rig.settled("pro");
    expect(rig.workers.ran.map(({ job }) => job)).not.toContain(waiting.job);
  });

  it("runs a job again whose worker died before its agent started", async () => {
    const job = await rig.submit("mute");
    const { worker } = await rig.reaches(job, "starting");
    await eventually(() => rig.workers.ran.length === 1, { name: "the order has arrived" });
    await rig.workers.kill(worker ?? "");
    await eventually(() => rig.workers.ran.length === 2, { name: "the second attempt" });
    expect(rig.workers.ran[1]).toMatchObject({ job: job.job, attempt: 2 });
    await rig.cancel(job);
    await rig.ended(job);
    await rig.settled("pro");
  });

  it("interrupts a job whose worker died while it ran, and runs the next one on a new worker", async () => {
    const job = await rig.submit("hold");
    const { worker } = await rig.reaches(job, "running");
    await rig.workers.kill(worker ?? "");
    expect(await rig.ended(job)).toMatchObject({
      state: "interrupted",
      error: { code: "job.executor_lost" },
    });
    expect((await rig.events(job.session)).at(-1)?.data).toMatchObject({ will_retry: false });
    expect(await rig.ended(await rig.submit("next"))).toMatchObject({ state: "succeeded" });
  });

  it("finds out that a worker vanished without a word", async () => {
    const job = await rig.submit("hold");
    const { worker } = await rig.reaches(job, "running");
    rig.workers.vanish(worker ?? "");
    expect(await rig.ended(job)).toMatchObject({ state: "interrupted" });
  });

  it("reports a cancelled job as cancelled when its worker dies first", async () => {
    const job = await rig.submit("hold");
    const { worker } = await rig.reaches(job, "running");
    rig.workers.vanish(worker ?? "");
    await rig.cancel(job);
    expect(await rig.ended(job)).toMatchObject({ state: "cancelled" });
  });

  it("starts a worker again whose start failed, and the job does not notice", async () => {
    rig.workers.failStarts = 4;
    const job = await rig.submit("patient");
    expect(await rig.ended(job)).toMatchObject({ state: "succeeded", attempt: 1 });
    expect(rig.workers.starts).toBe(5);
  });

  it("keeps a fleet's minimum alive and replaces what dies", async () => {
    const tenant = { name: "Acme", tier: "enterprise" as const, suspended: false };
    await rig.node.client.actor(Supervisor, "acme", SUPERVISOR_KEY).configure({ tenant });
    const fleet = rig.node.client.actor(DedicatedFleet, "acme", "shell");
    const worker = () =>
      eventually(
        async () => {
          const { workers } = (await fleet.view({})).place;
          return workers[0]?.phase === "idle" ? workers[0].worker : (false as const);
        },
        { name: "the fleet is up" },
      );
    const first = await worker();
    await rig.workers.kill(first);
    await eventually(async () => (await worker()) !== first, { name: "a new worker" });
  });

  it("drops every job of a session that is removed", async () => {
    const running = await rig.submit("hold");
    const { session } = running;
    const waiting = await rig.submit("later", { session });
    await rig.reaches(running, "running");
    await rig.session(session).remove({ by: "ann" });
    expect(await rig.ended(running)).toMatchObject({ state: "cancelled" });
    expect(await rig.ended(waiting)).toMatchObject({ state: "cancelled" });
    await rig.settled("pro");
  });
});

describe("rules in time, shortened", () => {
  let rig: Rig;
  afterEach(() => rig.close());

  it("goes to zero when idle, keeps the workspace, and comes back for the next job", async () => {
    rig = await startRig({ overrides: { pro: { idleTimeoutMs: 200, workspaceKeptMs: 60_000 } } });
    await rig.ended(await rig.submit("first"));
    await eventually(async () => (await rig.view("pro")).workers.length === 0, {
      name: "the worker went",
    });
    await eventually(async () => (await capacity(rig)).running === 0, {
      name: "its capacity is free",
    });
    const shown = await rig.transport.buckets.list("workers", "");
    expect(shown).toEqual([]);
    expect(rig.workers.removed).toEqual([]);
    expect(await rig.ended(await rig.submit("second"))).toMatchObject({ state: "succeeded" });
    expect(rig.workers.starts).toBe(2);
  });

  it("does not go while a client is attached", async () => {
    rig = await startRig({
      overrides: { pro: { idleTimeoutMs: 100 } },
      place: { attachedForMs: 600 },
    });
    await rig.ended(await rig.submit("first"));
    const attachedAt = performance.now();
    await rig.node.client.actor(UserWorker, "acme", "ann").attached({ user: "ann" });
    await eventually(async () => (await rig.view("pro")).workers.length === 0, {
      name: "the worker went",
    });
    expect(performance.now() - attachedAt).toBeGreaterThan(550);
  });

  it("does not go while an agent's process uses CPU, though no job runs and no client is attached", async () => {
    // Several readings before the time-out: of a first one alone nobody can tell what was used since when.
    rig = await startRig({
      overrides: { pro: { idleTimeoutMs: 500 } },
      supervisor: { sweepMs: 50 },
    });
    await rig.ended(await rig.submit("first"));
    const [worker = ""] = rig.workers.live.keys();
    const startedAt = performance.now();
    rig.workers.cpuMs.set(worker, () => Math.min(1_500, performance.now() - startedAt));
    await eventually(async () => (await rig.view("pro")).workers.length === 0, {
      name: "the worker went",
    });
    expect(performance.now() - startedAt).toBeGreaterThan(1_500);
  });

  it("removes a workspace after the tier's time", async () => {
    rig = await startRig({ overrides: { pro: { idleTimeoutMs: 100, workspaceKeptMs: 150 } } });
    await rig.ended(await rig.submit("first"));
    await eventually(() => rig.workers.removed.length === 1, { name: "the workspace is removed" });
    expect(rig.workers.removed).toEqual(["u-ann"]);
  });

  it("refuses past the hourly limit and accepts again when the window is over", async () => {
    rig = await startRig({ quotaWindowMs: 400, overrides: { pro: { jobsPerHour: 2 } } });
    const jobs = [await rig.submit("a"), await rig.submit("b")];
    await expect(rig.submit("c")).rejects.toMatchObject({ code: "quota.hourly" });
    const again = await eventually(() => rig.submit("d"), { name: "the window is over" });
    await Promise.all([...jobs, again].map((job) => rig.ended(job)));
  });

  it("gives an attempt up that never reports, and tries again elsewhere", async () => {
    rig = await startRig({ session: { startTimeoutMs: 300 } });
    const job = await rig.submit("mute");
    expect(await rig.ended(job)).toMatchObject({ state: "interrupted", attempt: 2 });
    expect(rig.workers.ran.map(({ attempt }) => attempt)).toEqual([1, 2]);
    await rig.settled("pro");
  });

  it("fails jobs of a session that expired while they were on their way", async () => {
    rig = await startRig({ overrides: { pro: { sessionResumeMs: 50 } } });
    const first = await rig.submit("a");
    await rig.ended(first);
    await eventually(
      async () => {
        const { session } = await rig.session(first.session).describe({});
        return Date.now() > session.expires_at + 5;
      },
      { name: "the session has expired" },
    );
    const late = await rig.submit("b", { session: first.session });
    expect(await rig.ended(late)).toMatchObject({
      state: "failed",
      error: { code: "session.expired" },
    });
    await rig.settled("pro");
  });

  it("grows the pool for a burst and shrinks it to the minimum after", async () => {
    rig = await startRig({ overrides: { free: { maxWorkers: 4 } } });
    const pool = rig.node.client.actor(SharedPool, PLATFORM_TENANT, POOL_KEY);
    const workers = async () => (await pool.view({})).place.workers.length;
    const holds = await Promise.all(
      Array.from({ length: 6 }, (_, n) => rig.submit("hold", { tier: "free", user: `u${n}` })),
    );
    await eventually(async () => (await workers()) === 4, { name: "the pool is at its maximum" });
    await eventually(() => rig.workers.ran.length === 4, { name: "four jobs run" });
    for (const job of holds) await rig.cancel(job);
    await Promise.all(holds.map((job) => rig.ended(job)));
    await eventually(async () => (await workers()) === 1, { name: "the pool is at its minimum" });
    await eventually(() => rig.workers.live.size === 1, { name: "the others have stopped" });
  });
});

async function capacity(rig: Rig) {
  return rig.node.client.actor(Capacity, PLATFORM_TENANT, CAPACITY_KEY).view({});
}
