/** A tenant that is suspended, resumed, or moved to another tier: what becomes of its jobs and workers. */
import { beforeEach, describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import { dedicatedFleet, userWorker } from "../../../actors/places/places.ts";
import { supervisorActor } from "../../../actors/supervisor/supervisor.ts";
import { tenantUsersTool } from "../../../actors/tools/tenant-users.ts";
import { userActor } from "../../../actors/user/user.ts";
import { usersOfTenant } from "../../../protocols/actors/supervisor.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { systemClock } from "../../../runtime/clock.ts";
import { MemoryBroker } from "../../../runtime/memory/broker.ts";
import { connectMemory } from "../../../runtime/memory/transport.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { type Recorded, type TurnRig, turnRig } from "../../support/turn.ts";

const options = actorOptions({
  tiers: tierTable({ pro: { concurrentJobs: 1 }, enterprise: { minWorkers: 2, maxWorkers: 3 } }),
});
const of = (recorded: Recorded, type: string) =>
  recorded.tells.filter((tell) => tell.type === type).map(({ payload, to }) => ({ to, payload }));
const fleet = { kind: "dedicated-fleet", tenant: "acme", key: "shell" };
const personal = { kind: "user-worker", tenant: "acme", key: "ann" };

describe("a tenant's supervisor", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(supervisorActor(options), { kind: "supervisor", tenant: "acme", key: "main" });
  });
  const put = (tier: string, suspended = false) =>
    rig.turn("configure", { tenant: { name: "A", tier, suspended } });
  const ensure = (worker: string, tier: string, place: typeof fleet) =>
    rig.turn("ensure", {
      spec: {
        worker,
        tenant: "acme",
        tier,
        slots: 1,
        workspace: "tenant",
        workspace_key: "w",
        cpus: 1,
        memory_bytes: 1,
        storage_bytes: 1,
      },
      place,
    });
  const effect = (recorded: Recorded) =>
    recorded.effects.find(({ tool }) => tool === usersOfTenant.name);

  it("tells each user of a suspension, page by page, and all once more a moment later", () => {
    put("pro");
    const suspended = put("pro", true);
    const first = effect(suspended)!;
    expect(first.input).toEqual({ tenant: "acme", after: "" });
    const page = rig.turn("usersFound", {
      effect: first.id,
      output: { users: ["ann", "bob"], next: "bob" },
    });
    expect(of(page, "stand")).toEqual([
      { to: "acme/user/ann", payload: { suspended: true } },
      { to: "acme/user/bob", payload: { suspended: true } },
    ]);
    expect(effect(page)!.input).toEqual({ tenant: "acme", after: "bob" });
    expect(effect(rig.fire("tellUsers"))!.input).toEqual({ tenant: "acme", after: "" });
  });

  it("tells what holds then, when it was resumed before its users were found", () => {
    put("pro", true);
    const resumed = put("pro", false);
    expect(rig.reminders.has("tellUsers")).toBe(false);
    const found = rig.turn("usersFound", {
      effect: effect(resumed)!.id,
      output: { users: ["ann"], next: null },
    });
    expect(of(found, "stand")).toEqual([{ to: "acme/user/ann", payload: { suspended: false } }]);
  });

  it("looks again when users could not be found", () => {
    const suspended = put("pro", true);
    rig.turn("usersFound", {
      effect: effect(suspended)!.id,
      error: { code: "broker.unavailable", message: "" },
    });
    expect(effect(rig.fire("tellUsers"))).toBeDefined();
  });

  it("lets places rest while it is suspended, and no longer", () => {
    put("enterprise");
    ensure("wrk_1", "enterprise", fleet);
    const rest = (resting: boolean) => [{ to: "acme/dedicated-fleet/shell", payload: { resting } }];
    expect(of(put("enterprise", true), "rest")).toEqual(rest(true));
    expect(of(put("enterprise", true), "rest")).toEqual([]);
    const resumed = put("enterprise", false);
    expect(of(resumed, "rest")).toEqual(rest(false));
    expect(of(resumed, "warm").length).toBe(1);
  });

  it("lets places of an earlier tier rest, also those that want a worker only afterwards", () => {
    put("enterprise");
    ensure("wrk_1", "enterprise", fleet);
    const moved = put("pro");
    expect(of(moved, "rest")).toEqual([
      { to: "acme/dedicated-fleet/shell", payload: { resting: true } },
    ]);
    expect(effect(moved)).toBeUndefined();
    const other = { ...fleet, key: "echo" };
    expect(of(ensure("wrk_2", "enterprise", other), "rest").length).toBe(1);
    expect(of(ensure("wrk_3", "enterprise", other), "rest")).toEqual([]);
    expect(of(ensure("wrk_4", "pro", personal), "rest")).toEqual([]);
    expect(
      of(put("enterprise"), "rest").map(({ to, payload }) => [to, payload["resting"]]),
    ).toEqual([
      ["acme/dedicated-fleet/shell", false],
      ["acme/dedicated-fleet/echo", false],
      ["acme/user-worker/ann", true],
    ]);
  });
});

describe("a place that rests", () => {
  const workers = (recorded: Recorded) =>
    of(recorded, "ensure").map(({ payload }) => (payload["spec"] as { worker: string }).worker);

  it("lets idle workers go at once, wants no minimum, and has it again when it works again", () => {
    const rig = turnRig(dedicatedFleet(options), fleet);
    const wanted = workers(rig.turn("warm", {}));
    expect(wanted.length).toBe(2);
    for (const worker of wanted) rig.turn("workerReady", { worker });
    const rested = rig.turn("rest", { resting: true });
    expect(of(rested, "retire").map(({ payload }) => payload["worker"])).toEqual(wanted);
    for (const worker of wanted) {
      expect(workers(rig.turn("workerLost", { worker, reason: "stopped" }))).toEqual([]);
    }
    rig.now += 3_600_000;
    expect(workers(rig.turn("rest", { resting: false })).length).toBe(2);
  });

  it("runs what it has to its end", () => {
    const rig = turnRig(userWorker(options), personal);
    const ticket = {
      ...{ job_id: "job_1", session_id: "ses_1", user: "ann", tenant: "acme", agent: "echo" },
      ...{ tier: "pro", queued_at: 1, attempt: 1 },
    };
    const [worker = ""] = workers(rig.turn("enqueue", { ticket }));
    rig.turn("rest", { resting: true });
    const ready = rig.turn("workerReady", { worker });
    expect(of(ready, "assign").length).toBe(1);
    expect(of(ready, "retire")).toEqual([]);
    const released = rig.turn("released", { job_id: "job_1", attempt: 1, worker });
    expect(of(released, "retire").map(({ payload }) => payload["worker"])).toEqual([worker]);
  });
});

describe("a user of a suspended tenant", () => {
  const id = (prefix: string, n: number | string) => `${prefix}_${String(n).padStart(26, "0")}`;
  const order = (n: number) => ({
    job: {
      id: id("job", n),
      session_id: id("ses", n),
      agent: "echo",
      tier: "pro",
      prompt: "x",
      timeout_ms: null,
    },
    new_session: {},
  });

  it("cancels what runs and what waits, takes nothing, and takes jobs again afterwards", () => {
    const rig = turnRig(userActor(options), { kind: "user", tenant: "acme", key: "ann" });
    rig.turn("submit", order(1));
    rig.turn("submit", order(2));
    const told = rig.turn("stand", { suspended: true });
    expect(of(told, "cancel")).toEqual(
      ["1", "2"].map((n) => ({
        to: `acme/session/${id("ses", n)}`,
        payload: { job_id: id("job", n), by: "tenant.suspended" },
      })),
    );
    expect(() => rig.turn("submit", order(3))).toThrow(/suspended/);
    // A job that was accepted before is accepted still.
    expect(rig.turn("submit", order(1)).reply).toMatchObject({ position: 0 });
    rig.turn("stand", { suspended: false });
    expect(rig.turn("submit", order(3)).reply).toMatchObject({ position: 0 });
  });
});

it("users of a tenant are found by their jobs, each once, a page at a time", async () => {
  const { buckets } = connectMemory(new MemoryBroker({ clock: systemClock }));
  const names = Array.from({ length: 450 }, (_, n) => `u${String(n).padStart(3, "0")}`);
  for (const user of names) {
    await buckets.put("jobs", `acme.${user}.job_1`, new Uint8Array());
    await buckets.put("jobs", `acme.${user}.job_2`, new Uint8Array());
  }
  await buckets.put("jobs", "other.zoe.job_1", new Uint8Array());
  let readings = 0;
  const counted: typeof buckets = {
    ...buckets,
    keys(...given) {
      readings += 1;
      return buckets.keys(...given);
    },
  };
  const clock = new ManualClock();
  const run = tenantUsersTool({ buckets: counted, clock })[usersOfTenant.name]!;
  const read = async (after: string) => {
    const call = { signal: new AbortController().signal, caller: fleet, effect: "e" };
    return usersOfTenant.output.parse(await run({ tenant: "acme", after }, call));
  };
  const walk = async () => {
    const seen: string[] = [];
    for (let after: string | null = ""; after !== null; ) {
      const page: Awaited<ReturnType<typeof read>> = await read(after);
      expect(page.users.length).toBeLessThanOrEqual(200);
      seen.push(...page.users);
      after = page.next;
    }
    return seen;
  };
  expect(await walk()).toEqual(names);
  expect(readings).toBe(1);
  // A walk that begins sees who came meanwhile; one that rested too long does, too.
  await buckets.put("jobs", "acme.u999.job_1", new Uint8Array());
  expect(await walk()).toEqual([...names, "u999"]);
  expect(readings).toBe(2);
  await read("");
  await clock.advance(60_000);
  await buckets.put("jobs", "acme.u199x.job_1", new Uint8Array());
  expect((await read("u199")).users[0]).toBe("u199x");
});
