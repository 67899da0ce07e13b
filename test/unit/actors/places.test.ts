import { beforeEach, describe, expect, it } from "vitest";
import { actorOptions } from "../../../actors/options.ts";
import { dedicatedFleet, sharedPool, userWorker } from "../../../actors/places/places.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { type Recorded, type TurnRig, turnRig } from "../../support/turn.ts";

const tiers = tierTable({
  free: { minWorkers: 1, maxWorkers: 4 },
  pro: { slotsPerWorker: 2, idleTimeoutMs: 5_000 },
  enterprise: { minWorkers: 2, maxWorkers: 3 },
});
const options = actorOptions({ tiers, place: { maxQueued: 3 } });

const of = (recorded: Recorded, type: string) => recorded.tells.filter((t) => t.type === type);
const spec = (recorded: Recorded) =>
  of(recorded, "ensure").map((t) => t.payload["spec"]) as { worker: string }[];

function ticket(n: number, more: object = {}) {
  return {
    job_id: `job_${n}`,
    session_id: `ses_${n}`,
    user: "ann",
    tenant: "acme",
    agent: "echo",
    tier: "pro",
    queued_at: n,
    attempt: 1,
    ...more,
  };
}

describe("a pro user's worker", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(userWorker(options), { kind: "user-worker", tenant: "acme", key: "ann" });
  });
  const enqueue = (n: number) => rig.turn("enqueue", { ticket: ticket(n) });
  const view = () =>
    (rig.turn("view").reply as { place: { queued: number; workers: object[] } }).place;
  const warmUp = () => {
    const [wanted] = spec(enqueue(1));
    const worker = wanted?.worker ?? "";
    return { worker, ready: rig.turn("workerReady", { worker }) };
  };
  const release = (n: number, worker: string) =>
    rig.turn("released", { job_id: `job_${n}`, attempt: 1, worker });

  it("costs nothing while it is cold", () => {
    expect(view()).toMatchObject({ queued: 0, workers: [] });
    expect(rig.turn("warm", {}).tells).toEqual([]);
    expect(rig.reminders.size).toBe(0);
  });

  it("wants one worker of its user for the first job and assigns when it is ready", () => {
    const first = enqueue(1);
    expect(of(first, "ensure")).toMatchObject([
      {
        to: "acme/supervisor/main",
        payload: {
          spec: { user: "ann", tier: "pro", slots: 2, workspace: "user", workspace_key: "u-ann" },
        },
      },
    ]);
    expect(of(enqueue(2), "ensure")).toEqual([]);
    const worker = spec(first)[0]?.worker;
    const ready = rig.turn("workerReady", { worker });
    expect(of(ready, "assign").map((t) => [t.to, t.payload["worker"]])).toEqual([
      ["acme/session/ses_1", worker],
      ["acme/session/ses_2", worker],
    ]);
    expect(of(enqueue(3), "assign")).toEqual([]);
    expect(of(release(1, worker ?? ""), "assign")).toMatchObject([{ to: "acme/session/ses_3" }]);
  });

  it("puts nothing more on a worker that does not report, and has it ended with what is on it", () => {
    const { worker } = warmUp();
    const condemned = rig.turn("condemn", { worker, ticket: ticket(1), reason: "silent" });
    expect(of(condemned, "retire")).toMatchObject([{ payload: { worker, reason: "silent" } }]);
    expect(of(enqueue(2), "assign")).toEqual([]);
    const lost = rig.turn("workerLost", { worker, reason: "silent" });
    expect(of(lost, "lost")).toMatchObject([{ to: "acme/session/ses_1" }]);
    expect(of(lost, "ensure")).toHaveLength(1);
  });

  it("says lost at once of a condemned worker that it does not have", () => {
    const none = rig.turn("condemn", { worker: "wrk_old", ticket: ticket(9), reason: "silent" });
    expect(of(none, "lost")).toMatchObject([
      { to: "acme/session/ses_9", payload: { worker: "wrk_old" } },
    ]);
  });

  it("takes a ticket once, and a released or withdrawn one never", () => {
    const { worker } = warmUp();
    expect(enqueue(1).tells).toEqual([]);
    enqueue(2);
    enqueue(3);
    rig.turn("withdraw", { job_id: "job_3", attempt: 1 });
    expect(of(release(1, worker), "assign")).toEqual([]);
    expect(release(1, worker).tells).toEqual([]);
  });

  it("says who was on a lost worker and gets a new one for the jobs that wait", () => {
    const { worker } = warmUp();
    enqueue(2);
    enqueue(3);
    const lost = rig.turn("workerLost", { worker, reason: "killed" });
    expect(of(lost, "lost").map((t) => [t.to, t.payload])).toEqual([
      ["acme/session/ses_1", { job_id: "job_1", attempt: 1, worker, reason: "killed" }],
      ["acme/session/ses_2", { job_id: "job_2", attempt: 1, worker, reason: "killed" }],
    ]);
    expect(spec(lost)).toHaveLength(1);
    expect(spec(lost)[0]?.worker).not.toBe(worker);
  });

  it("goes after its idle time and keeps a job that comes while it goes for its successor", () => {
    const { worker } = warmUp();
    release(1, worker);
    rig.now += 4_999;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([
      { type: "idleAnswer", payload: { may_go: false, idle_since: rig.now - 4_999 } },
    ]);
    rig.now += 1;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([
      { type: "idleAnswer", payload: { may_go: true } },
    ]);
    expect(enqueue(2).tells).toEqual([]);
    const gone = rig.turn("workerLost", { worker, reason: "idle" });
    const successor = spec(gone)[0]?.worker;
    expect(of(rig.turn("workerReady", { worker: successor }), "assign")).toMatchObject([
      { to: "acme/session/ses_2" },
    ]);
  });

  it("does not go while it is busy or a client is attached", () => {
    const { worker } = warmUp();
    rig.now += 60_000;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([
      { payload: { may_go: false, idle_since: null } },
    ]);
    release(1, worker);
    rig.now += 60_000;
    rig.turn("attached", { user: "ann" });
    rig.now += 1_000;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([
      { payload: { may_go: false, idle_since: null } },
    ]);
  });

  it("takes a client for attached as long as its gateway said", () => {
    const { worker } = warmUp();
    release(1, worker);
    const hour = 3_600_000;
    rig.turn("attached", { user: "ann", holds_ms: hour });
    rig.now += hour - 1;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([
      { payload: { may_go: false, idle_since: null } },
    ]);
    rig.now += 1;
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([{ payload: { may_go: true } }]);
  });

  it("sends a worker away that it does not know", () => {
    expect(rig.turn("workerReady", { worker: "wrk_x" }).tells).toMatchObject([{ type: "retire" }]);
    expect(rig.turn("idleCheck", { worker: "wrk_x" }).tells).toMatchObject([
      { payload: { may_go: true } },
    ]);
  });

  it("waits longer and longer before it replaces workers that cannot start", () => {
    const [first] = spec(enqueue(1));
    expect(spec(rig.turn("workerLost", { worker: first?.worker, reason: "no image" }))).toEqual([]);
    const second = spec(rig.fire("tick"));
    expect(second).toHaveLength(1);
    const at = rig.now;
    rig.turn("workerLost", { worker: second[0]?.worker, reason: "no image" });
    expect(rig.reminders.get("tick")?.at).toBe(at + 2_000);
    expect(spec(rig.fire("tick"))).toHaveLength(1);
  });

  it("asks again for a worker that is neither ready nor lost, and for one that does not go", () => {
    const [wanted] = spec(enqueue(1));
    rig.now += 120_000;
    expect(spec(rig.fire("tick"))).toMatchObject([{ worker: wanted?.worker }]);
  });

  it("reports loads on a tick, not with each job, and then rests", () => {
    const { worker, ready } = warmUp();
    expect(of(ready, "load")).toEqual([]);
    expect(of(rig.fire("tick"), "load")).toMatchObject([
      { payload: { worker, jobs: ["job_1"], idle_since: null } },
    ]);
    release(1, worker);
    expect(of(rig.fire("tick"), "load")).toMatchObject([
      { payload: { jobs: [], idle_since: rig.now - 1_000 } },
    ]);
    expect(rig.reminders.size).toBe(0);
  });

  it("gives the newest ticket back when its queue is full", () => {
    for (const n of [1, 2, 3]) enqueue(n);
    expect(enqueue(4).tells).toMatchObject([
      { to: "acme/user/ann", type: "deferred", payload: { ticket: { job_id: "job_4" } } },
    ]);
    expect(view()).toMatchObject({ queued: 3 });
  });

  it("puts a retried job back where it stood", () => {
    const { worker } = warmUp();
    enqueue(2);
    enqueue(3);
    enqueue(4);
    rig.turn("enqueue", { ticket: ticket(1, { attempt: 2 }) });
    rig.turn("released", { job_id: "job_1", attempt: 1, worker });
    expect(view()).toMatchObject({ queued: 2 });
    expect(JSON.stringify(rig.state["queue"])).not.toContain("job_1");
  });
});

describe("the shared pool", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(sharedPool(options), {
      kind: "shared-pool",
      tenant: PLATFORM_TENANT,
      key: "main",
    });
  });
  const enqueue = (n: number, tenant: string) =>
    rig.turn("enqueue", { ticket: ticket(n, { tenant, tier: "free" }) });

  it("serves sessions of any tenant from workers of the platform", () => {
    const [wanted] = spec(rig.turn("warm"));
    expect(wanted).toMatchObject({ tenant: PLATFORM_TENANT, workspace: "job", slots: 1 });
    expect(wanted).not.toHaveProperty("user");
    rig.turn("workerReady", { worker: wanted?.worker });
    expect(of(enqueue(1, "acme"), "assign")).toMatchObject([{ to: "acme/session/ses_1" }]);
  });

  it("grows with its queue, takes turns over tenants, and shrinks on a tick when it is calm again", () => {
    const first = spec(rig.turn("warm"))[0]?.worker ?? "";
    rig.turn("workerReady", { worker: first });
    enqueue(1, "a");
    const workers = [first, ...spec(enqueue(2, "a")).map((s) => s.worker)];
    expect(workers).toHaveLength(2);
    enqueue(3, "a");
    enqueue(4, "b");
    const next = (n: number, worker: string) =>
      of(rig.turn("released", { job_id: `job_${n}`, attempt: 1, worker }), "assign").map(
        (t) => t.to,
      );
    expect(next(1, first)).toEqual(["a/session/ses_2"]);
    expect(next(2, first)).toEqual(["b/session/ses_4"]);
    expect(next(4, first)).toEqual(["a/session/ses_3"]);
    next(3, first);
    for (const worker of workers.slice(1)) rig.turn("workerReady", { worker });
    let retired: Recorded["tells"] = [];
    while (rig.reminders.has("tick") && retired.length === 0)
      retired = of(rig.fire("tick"), "retire");
    expect(retired).toHaveLength(1);
  });
});

describe("a dedicated fleet", () => {
  it("keeps its minimum, replaces what dies, and serves one agent from the tenant's workspace", () => {
    const rig = turnRig(dedicatedFleet(options), {
      kind: "dedicated-fleet",
      tenant: "acme",
      key: "claude",
    });
    const workers = spec(rig.turn("warm", { agent: "claude" }));
    expect(workers).toHaveLength(2);
    expect(workers[0]).toMatchObject({
      agent: "claude",
      workspace: "tenant",
      workspace_key: "a-claude",
    });
    expect(spec(rig.turn("warm", {}))).toEqual([]);
    for (const { worker } of workers) rig.turn("workerReady", { worker });
    const { worker } = workers[0] ?? { worker: "" };
    expect(rig.turn("idleCheck", { worker }).tells).toMatchObject([{ payload: { may_go: false } }]);
    expect(spec(rig.turn("workerLost", { worker, reason: "killed" }))).toHaveLength(1);
  });

  it("waits longer and longer before it replaces workers that die as soon as they are up", () => {
    const rig = turnRig(dedicatedFleet(options), {
      kind: "dedicated-fleet",
      tenant: "acme",
      key: "claude",
    });
    const up = (recorded: Recorded) => {
      const ids = spec(recorded).map(({ worker }) => worker);
      rig.now += 1;
      for (const worker of ids) rig.turn("workerReady", { worker });
      return ids;
    };
    const [first = "", other = ""] = up(rig.turn("warm", { agent: "claude" }));
    const die = (worker: string) => {
      rig.now += 1;
      return rig.turn("workerLost", { worker, reason: "crash" });
    };
    const [second = ""] = up(die(first));
    expect(second).not.toBe("");
    let dying = second;
    for (const pauseMs of [1_000, 2_000, 4_000]) {
      expect(spec(die(dying))).toEqual([]);
      // What else the fleet does meanwhile brings nothing forward.
      expect(spec(rig.turn("workerReady", { worker: other }))).toEqual([]);
      const at = rig.now;
      let started = rig.fire("tick");
      while (spec(started).length === 0) started = rig.fire("tick");
      expect(rig.now).toBe(at + pauseMs);
      [dying = ""] = up(started);
    }
    // After a quiet time the next one is replaced at once again.
    rig.now += 10 * 60_000;
    expect(spec(die(dying))).toHaveLength(1);
  });

  it("replaces workers at once that die under jobs: those have limits of their own", () => {
    const rig = turnRig(dedicatedFleet(options), {
      kind: "dedicated-fleet",
      tenant: "acme",
      key: "echo",
    });
    let workers = spec(rig.turn("warm", {})).map(({ worker }) => worker);
    for (let n = 0; n < 4; n += 1) {
      for (const worker of workers) rig.turn("workerReady", { worker });
      const job = { tier: "enterprise" };
      const assigned = of(rig.turn("enqueue", { ticket: ticket(n, job) }), "assign");
      const lost = rig.turn("workerLost", {
        worker: assigned[0]?.payload["worker"],
        reason: "oom",
      });
      workers = spec(lost).map(({ worker }) => worker);
      expect(workers).toHaveLength(1);
    }
  });
});
