/** Workers from intent to removal, with real driver hosts and reconcilers, whatever their drivers and nodes do. */
import { afterEach, describe, expect, it } from "vitest";
import { DedicatedFleet } from "../../../protocols/actors/place.ts";
import { SUPERVISOR_KEY, Supervisor } from "../../../protocols/actors/supervisor.ts";
import { BerthError } from "../../../protocols/errors.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { type Random, seededRandom } from "../../../runtime/testkit/random.ts";
import { deferred } from "../../support/deferred.ts";
import { failing } from "../../support/driver-double.ts";
import { eventually } from "../../support/eventually.ts";
import { HostedRig } from "../../support/hosted-rig.ts";

const HOST = "one";

describe("a worker", () => {
  let rig: HostedRig;
  afterEach(() => rig.close());

  it("is one, though its node died between its start and the answer, and its start was asked for again", async () => {
    rig = await HostedRig.open([HOST]);
    const driver = rig.driver(HOST);
    const hello = deferred();
    driver.onLife = (spec, isUp) => {
      if (!isUp) return rig.executors.drop(spec.worker);
      rig.executors.boot(spec);
      void hello.promise.then(() => rig.executors.sayHello(spec.worker));
    };
    const job = await rig.submit("patient");
    await eventually(() => driver.made.length === 1, { name: "its process is there" });
    await rig.crash(HOST);
    hello.resolve();
    await rig.start(HOST);
    expect(await rig.ended(job)).toMatchObject({ state: "succeeded", attempt: 1 });
    expect(driver.made).toHaveLength(1);
    await rig.converged();
  });

  it("that was starting on a node that died is replaced elsewhere, and ends when that node is back", async () => {
    rig = await HostedRig.open(["one", "two"]);
    const hold = deferred();
    for (const node of ["one", "two"]) {
      rig.driver(node).fault = (operation) =>
        operation === "start" && made() === 0 ? undefined : hold.promise;
      rig.driver(node).onLife = (spec, isUp) => {
        if (isUp) rig.executors.boot(spec);
        else rig.executors.drop(spec.worker);
        if (isUp && made() > 1) void rig.executors.sayHello(spec.worker);
      };
    }
    const made = () => rig.driver("one").made.length + rig.driver("two").made.length;
    const job = await rig.submit("patient");
    await eventually(() => made() === 1, { name: "its process is there" });
    const host = rig.driver("one").made.length === 1 ? "one" : "two";
    const [first] = rig.driver(host).made;
    await rig.crash(host);
    hold.resolve();
    const record = await eventually(() => rig.ended(job), { within: 20_000, name: "the job ends" });
    expect(record).toMatchObject({ state: "succeeded", attempt: 1 });
    expect(rig.driver(host).live.has(first ?? "")).toBe(true);
    await rig.start(host);
    await rig.converged();
    expect(rig.driver(host).stopped).toContain(first);
  }, 30_000);

  it("that cannot be stopped is given up by its supervisor, and ended by its host later on", async () => {
    rig = await HostedRig.open([HOST], {
      overrides: { pro: { idleTimeoutMs: 100 } },
      supervisor: { maxStops: 2 },
      place: { attachedForMs: 10 },
    });
    const driver = rig.driver(HOST);
    driver.fault = failing("stop", 3);
    await rig.ended(await rig.submit("first"));
    await eventually(async () => (await rig.records()).length === 0, { name: "it is given up" });
    expect(driver.live.size).toBe(1);
    await rig.converged();
    expect(driver.live.size).toBe(0);
  });

  it("that nobody owns is ended; one that vanished without a word is replaced", async () => {
    rig = await HostedRig.open([HOST], {
      overrides: { enterprise: { minWorkers: 1, maxWorkers: 2 } },
      supervisor: { sweepMs: 600_000 },
    });
    const tenant = { name: "Acme", tier: "enterprise" as const, suspended: false };
    await rig.client.actor(Supervisor, "acme", SUPERVISOR_KEY).configure({ tenant });
    const driver = rig.driver(HOST);
    const isUp = () =>
      eventually(
        async () => {
          const fleet = rig.client.actor(DedicatedFleet, "acme", "shell");
          const [worker] = (await fleet.view({})).place.workers;
          return worker?.phase === "idle" ? worker.worker : (false as const);
        },
        { name: "the fleet is up" },
      );
    const first = await isUp();
    const spec = driver.live.get(first);
    if (!spec) throw new Error("the fleet's worker does not live");
    driver.live.set("wrk_orphan", { ...spec, worker: "wrk_orphan" });
    driver.vanish(first);
    await eventually(async () => (await isUp()) !== first, { name: "it is replaced" });
    await rig.converged();
    expect(driver.stopped).toContain("wrk_orphan");
  });

  it("says why it ended: its job's event and record name the want of memory", async () => {
    rig = await HostedRig.open([HOST]);
    const job = await rig.submit("hold");
    const { worker } = await rig.reaches(job, "running");
    const reason = "it used more than its 2 GiB";
    rig.driver(HOST).exit(worker ?? "", reason, "worker.out_of_memory");
    expect(await rig.ended(job)).toMatchObject({
      state: "interrupted",
      error: { code: "worker.out_of_memory", message: reason },
    });
    expect((await rig.events(job.session)).at(-1)).toMatchObject({
      type: "job.interrupted",
      data: { reason, code: "worker.out_of_memory", will_retry: false },
    });
  });
});

describe("a worker whose node has died", () => {
  const GRACE_MS = 1_500;
  let rig: HostedRig;
  afterEach(() => rig.close());

  /** A job runs on a node that has crashed; the other one owns all actors. */
  const crashUnderJob = async () => {
    rig = await HostedRig.open(["one", "two"], { supervisor: { hostGraceMs: GRACE_MS } });
    const job = await rig.submit("hold");
    const { worker } = await rig.reaches(job, "running");
    const host = rig.driver("one").live.has(worker ?? "") ? "one" : "two";
    await rig.crash(host);
    return { job, host, worker: worker ?? "" };
  };

  it("keeps its job for as long as it answers itself, and ends it where it runs", async () => {
    const { job, worker } = await crashUnderJob();
    const until = systemClock.monotonic() + 2 * GRACE_MS;
    await eventually(() => systemClock.monotonic() > until, { name: "the grace is over, twice" });
    const { job: live } = await rig.session(job.session).liveJob({ job_id: job.job });
    expect(live).toMatchObject({ state: "running", worker, attempt: 1 });
    await rig.cancel(job);
    expect(await rig.ended(job)).toMatchObject({ state: "cancelled" });
  });

  it("loses its job after the grace when it is dead too, and its place gets another on a node that lives", async () => {
    const { job, host, worker } = await crashUnderJob();
    const diedAt = systemClock.monotonic();
    rig.driver(host).vanish(worker);
    expect(await rig.ended(job)).toMatchObject({ state: "interrupted" });
    expect(systemClock.monotonic() - diedAt).toBeGreaterThan(GRACE_MS);
    expect(await rig.ended(await rig.submit("next"))).toMatchObject({ state: "succeeded" });
    const other = host === "one" ? "two" : "one";
    expect(rig.driver(other).made).toHaveLength(1);
  });

  it("loses its job at once when its node is back without it", async () => {
    const { job, host, worker } = await crashUnderJob();
    rig.driver(host).vanish(worker);
    await rig.start(host);
    expect(await rig.ended(job)).toMatchObject({ state: "interrupted" });
    await rig.converged();
  });

  it("gets no second job that nobody there would take: one is enough to have it ended", async () => {
    const { job, host, worker } = await crashUnderJob();
    rig.driver(host).vanish(worker);
    const next = await rig.submit("next");
    expect(await rig.ended(next)).toMatchObject({ state: "succeeded" });
    expect(await rig.ended(job)).toMatchObject({ state: "interrupted" });
    expect((await rig.record(next))?.attempt).toBeLessThanOrEqual(2);
  });
});

describe("a burst of 50 cold requests", () => {
  const BURST = 50;
  const MAX_STARTS = 5;
  let rig: HostedRig;
  afterEach(() => rig.close());

  it("is admitted a few at a time; starts that are slow and fail now and then fail no job", async () => {
    rig = await HostedRig.open([HOST], { capacity: { maxStarts: MAX_STARTS, maxWorkers: 100 } });
    const driver = rig.driver(HOST);
    let starting = 0;
    let most = 0;
    let asked = 0;
    driver.fault = async (operation) => {
      if (operation !== "start") return;
      asked += 1;
      const nth = asked;
      starting += 1;
      most = Math.max(most, starting);
      await systemClock.sleep(5 + (nth % 7) * 5);
      starting -= 1;
      if (nth % 4 === 0) throw new BerthError("driver.failed", "no more of them now");
    };
    const jobs = await Promise.all(
      Array.from({ length: BURST }, (_, n) => rig.submit(`n${n}`, { user: `user-${n}` })),
    );
    const records = await Promise.all(
      jobs.map((job) => eventually(() => rig.ended(job), { within: 40_000, name: job.job })),
    );
    expect(records.map(({ state, attempt }) => ({ state, attempt }))).toEqual(
      jobs.map(() => ({ state: "succeeded", attempt: 1 })),
    );
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(MAX_STARTS);
    expect(asked).toBeGreaterThan(BURST);
    expect(new Set(driver.made).size).toBe(driver.made.length);
    await rig.converged();
    expect(driver.live.size).toBe(BURST);
  }, 60_000);
});

describe("whatever dies, and whatever fails", () => {
  const JOBS = 60;
  const STEP_MS = 30;
  const ENDS = new Set(["job.succeeded", "job.interrupted"]);
  let rig: HostedRig;
  afterEach(() => rig.close());

  /** Ends workers, told or untold, and once a whole node for a while. */
  const disturb = async (random: Random) => {
    for (let n = 0; n < JOBS; n += 1) {
      await systemClock.sleep(STEP_MS);
      const [node, driver] = random.pick([...rig.drivers]);
      const [worker] = [...driver.live.keys()].slice(random.int(0, 2));
      if (worker && random.chance(0.5)) driver.exit(worker);
      else if (worker) driver.vanish(worker);
      if (n !== JOBS / 3) continue;
      await rig.crash(node);
      await systemClock.sleep(random.int(0, 1_500));
      await rig.start(node);
    }
  };

  const submitAll = async () => {
    const jobs = [];
    for (let n = 0; n < JOBS; n += 1) {
      await systemClock.sleep(STEP_MS);
      const tier = n % 2 === 0 ? "free" : "pro";
      jobs.push(await rig.submit(`n${n}`, { tier, user: `user-${n % 7}` }));
    }
    return jobs;
  };

  it.each([1, 2, 3])(
    "each job ends once, and then lives what is on record (seed %s)",
    async (seed) => {
      const random = seededRandom(seed);
      rig = await HostedRig.open(["one", "two"], {
        overrides: { free: { minWorkers: 2, maxWorkers: 4 }, pro: { idleTimeoutMs: 300 } },
        supervisor: { hostGraceMs: 1_000 },
        place: { attachedForMs: 10 },
      });
      for (const driver of rig.drivers.values()) {
        driver.fault = async (operation) => {
          if (operation === "start") await systemClock.sleep(random.int(0, 20));
          if (operation !== "list" && random.chance(0.2))
            throw new BerthError("driver.failed", `the ${operation} failed`);
        };
      }
      const [jobs] = await Promise.all([submitAll(), disturb(random)]);
      for (const job of jobs) {
        await eventually(() => rig.ended(job), { within: 30_000, name: `${job.job} ends` });
        const events = await rig.events(job.session);
        const ends = events.filter(
          ({ type, data }) => ENDS.has(type) && data["will_retry"] !== true,
        );
        expect(ends, events.map(({ type }) => type).join()).toHaveLength(1);
      }
      for (const driver of rig.drivers.values()) driver.fault = () => {};
      await rig.converged();
    },
    60_000,
  );
});
