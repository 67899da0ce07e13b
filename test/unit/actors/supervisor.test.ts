import { beforeEach, describe, expect, it } from "vitest";
import { capacityActor } from "../../../actors/capacity/capacity.ts";
import { actorOptions } from "../../../actors/options.ts";
import { supervisorActor } from "../../../actors/supervisor/supervisor.ts";
import { PLATFORM_TENANT } from "../../../protocols/ids.ts";
import { tierTable } from "../../../protocols/tiers.ts";
import { type Recorded, type TurnRig, turnRig } from "../../support/turn.ts";

const tiers = tierTable({ pro: { idleTimeoutMs: 5_000, workspaceKeptMs: 60_000 } });
const GRACE = 75_000;
const options = actorOptions({
  tiers,
  supervisor: {
    maxStarts: 2,
    maxStops: 2,
    sweepMs: 30_000,
    hostGraceMs: GRACE,
    fleetAgents: ["shell", "echo"],
  },
  capacity: { maxWorkers: 2, maxStarts: 1, startTimeoutMs: 10_000 },
});
const place = { kind: "user-worker", tenant: "acme", key: "ann" };
const worker = "wrk_1";
const spec = (id = worker) => ({
  worker: id,
  tenant: "acme",
  user: "ann",
  tier: "pro",
  slots: 3,
  workspace: "user",
  workspace_key: "u-ann",
  cpus: 2,
  memory_bytes: 1,
  storage_bytes: 1,
});
const told = (recorded: Recorded) => recorded.tells.map((t) => `${t.to} ${t.type}`);
const phases = (recorded: Recorded) =>
  recorded.puts.map((put) =>
    put.mode === "remove" ? "removed" : (put.value as { phase: string }).phase,
  );
const CAPACITY = `${PLATFORM_TENANT}/capacity/main`;
const PLACE = "acme/user-worker/ann";

describe("a tenant's supervisor", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(supervisorActor(options), { kind: "supervisor", tenant: "acme", key: "main" });
  });
  /** The first turn of a worker; then its host is chosen, while it waits for its grant. */
  const ensure = (id = worker, host = "node-1") => {
    const wanted = rig.turn("ensure", { spec: spec(id), place });
    const effect = effectOf(wanted, "worker.choose-host");
    if (effect) rig.turn("hostChosen", { effect, output: { host } });
    return wanted;
  };
  const grant = (id = worker) => rig.turn("granted", { worker: id }).effects[0]?.id;
  const started = (effect: string | undefined) =>
    rig.turn("started", { effect, output: { host: "node-1", driver: "process" } });
  const bringUp = (id = worker) => {
    ensure(id);
    return started(grant(id));
  };
  const effectOf = (recorded: Recorded, tool: string) =>
    recorded.effects.find((effect) => effect.tool === tool)?.id;

  it("records its intent first, asks the gate, and only then starts", () => {
    const wanted = ensure();
    expect(phases(wanted)).toEqual(["wanted"]);
    expect(told(wanted)).toEqual([`${CAPACITY} acquire`]);
    expect(wanted.effects).toMatchObject([
      { tool: "worker.choose-host", input: { spec: { worker }, home: null } },
    ]);
    const starting = rig.turn("granted", { worker });
    expect(phases(starting)).toEqual(["starting"]);
    expect(starting.effects).toMatchObject([
      { tool: "worker.start", input: { spec: { worker }, host: "node-1" } },
    ]);
    expect(starting.puts).toMatchObject([{ value: { host: "node-1" } }]);
    const ready = started(starting.effects[0]?.id);
    expect(phases(ready)).toEqual(["idle"]);
    expect(told(ready)).toEqual([`${CAPACITY} settled`, `${PLACE} workerReady`]);
    expect(rig.reminders.get(`idle-${worker}`)?.at).toBe(rig.now + 5_000);
  });

  it("starts a worker once, however often it is asked or granted, and repeats what a place may have missed", () => {
    ensure();
    expect(ensure().tells).toEqual([]);
    const effect = grant();
    expect(rig.turn("granted", { worker }).effects).toEqual([]);
    started(effect);
    expect(told(ensure())).toEqual([`${PLACE} workerReady`]);
    expect(started(effect).tells).toEqual([]);
  });

  it("gives a grant back for a worker that nobody wants any more", () => {
    ensure();
    expect(told(rig.turn("retire", { worker, reason: "" }))).toEqual([
      `${CAPACITY} release`,
      `${PLACE} workerLost`,
    ]);
    expect(told(rig.turn("granted", { worker }))).toEqual([`${CAPACITY} release`]);
  });

  it("tries a failed start again after a pause through the gate, then gives it up and clears away", () => {
    ensure();
    const error = { code: "driver.failed", message: "no image" };
    const failed = rig.turn("started", { effect: grant(), error });
    expect(told(failed)).toEqual([`${CAPACITY} release`]);
    expect(phases(failed)).toEqual(["wanted"]);
    expect(told(rig.fire(`retry-${worker}`))).toEqual([`${CAPACITY} acquire`]);
    const given = rig.turn("started", { effect: grant(), error });
    const stopEffect = effectOf(given, "worker.stop");
    expect(told(given)).toEqual([]);
    const gone = rig.turn("stopped", { effect: stopEffect, output: {} });
    expect(gone.tells).toMatchObject([
      { to: CAPACITY, type: "release" },
      { to: PLACE, type: "workerLost", payload: { reason: "no image" } },
    ]);
    expect(phases(gone)).toEqual(["removed"]);
    // A start that died half may have made its workspace.
    expect([...rig.reminders.values()].map((due) => due.type)).toEqual(["workspaceDue"]);
  });

  it("does not repeat a start that can never succeed", () => {
    ensure();
    const error = { code: "agent.unavailable", message: "" };
    expect(effectOf(rig.turn("started", { effect: grant(), error }), "worker.stop")).toBeDefined();
  });

  it("stops a worker that was retired while it started, as soon as the start is over", () => {
    ensure();
    const effect = grant();
    expect(rig.turn("retire", { worker, reason: "no longer wanted" }).effects).toEqual([]);
    const over = started(effect);
    expect(told(over)).toEqual([`${CAPACITY} settled`]);
    expect(over.effects).toMatchObject([{ tool: "worker.stop", input: { host: "node-1" } }]);
  });

  it("tells the place at once when a worker dies, and once", () => {
    bringUp();
    const dead = rig.turn("exited", { worker, reason: "SIGKILL" });
    expect(dead.tells).toMatchObject([
      { to: CAPACITY, type: "release" },
      { to: PLACE, type: "workerLost", payload: { worker, reason: "SIGKILL" } },
    ]);
    expect(rig.turn("exited", { worker, reason: "SIGKILL" }).tells).toEqual([]);
  });

  it("takes a worker that dies while it starts for a failed start", () => {
    ensure();
    const effect = grant();
    expect(phases(rig.turn("exited", { worker, reason: "crash" }))).toEqual(["wanted"]);
    expect(started(effect).tells).toEqual([]);
  });

  it("retires in every state without a fault", () => {
    expect(rig.turn("retire", { worker, reason: "" }, place).tells).toMatchObject([
      { to: PLACE, type: "workerLost" },
    ]);
    bringUp();
    rig.turn("retire", { worker, reason: "" });
    expect(rig.turn("retire", { worker, reason: "" }).effects).toEqual([]);
  });

  it("stops an idle worker after its CPU was quiet and its place agreed", () => {
    bringUp();
    const check = rig.fire(`idle-${worker}`);
    const verify = effectOf(check, "worker.verify");
    const asked = rig.turn("verified", {
      effect: verify,
      output: { lost: [], cpu_ms: { [worker]: 100 } },
    });
    expect(told(asked)).toEqual([`${PLACE} idleCheck`]);
    const stopping = rig.turn("idleAnswer", { worker, idle_since: 1, may_go: true });
    expect(stopping.effects).toMatchObject([
      { tool: "worker.stop", input: { host: "node-1", reason: "idle", keep_workspace: true } },
    ]);
    const gone = rig.turn("stopped", { effect: effectOf(stopping, "worker.stop"), output: {} });
    expect(told(gone)).toEqual([`${CAPACITY} release`, `${PLACE} workerLost`]);
  });

  it("does not ask the place while the worker's agents use CPU", () => {
    bringUp();
    const read = (cpuMs: number) => {
      const effect = effectOf(rig.fire(`idle-${worker}`), "worker.verify");
      return rig.turn("verified", { effect, output: { lost: [], cpu_ms: { [worker]: cpuMs } } });
    };
    read(0);
    rig.turn("idleAnswer", { worker, idle_since: null, may_go: false });
    expect(told(read(4_000))).toEqual([]);
    expect(rig.reminders.get(`idle-${worker}`)?.at).toBe(rig.now + 5_000);
  });

  it("looks again when the time-out has passed since the place's last activity", () => {
    bringUp();
    rig.now += 3_000;
    rig.turn("idleAnswer", { worker, idle_since: rig.now - 1_000, may_go: false });
    expect(rig.reminders.get(`idle-${worker}`)?.at).toBe(rig.now + 4_000);
    rig.turn("idleAnswer", { worker, idle_since: rig.now - 90_000, may_go: false });
    expect(rig.reminders.get(`idle-${worker}`)?.at).toBe(rig.now + 5_000);
  });

  it("sweeps while it has workers, finds those that vanished, and rests after", () => {
    bringUp();
    const effect = effectOf(rig.fire("sweep"), "worker.verify");
    const lost = rig.turn("verified", { effect, output: { lost: [worker], cpu_ms: {} } });
    expect(told(lost)).toContain(`${PLACE} workerLost`);
    expect(rig.fire("sweep").effects).toEqual([]);
    expect(rig.reminders.has("sweep")).toBe(false);
  });

  it("orders a stop that failed again, and gives the worker up in the end", () => {
    bringUp();
    const first = effectOf(rig.turn("retire", { worker, reason: "enough" }), "worker.stop");
    const error = { code: "driver.failed", message: "" };
    expect(rig.turn("stopped", { effect: first, error }).tells).toEqual([]);
    const second = effectOf(rig.fire(`retry-${worker}`), "worker.stop");
    expect(told(rig.turn("stopped", { effect: second, error }))).toContain(`${PLACE} workerLost`);
  });

  it("has a worker's host chosen once, so that a start tried again meets what the first has left (5)", () => {
    ensure();
    const error = { code: "ask.timeout", message: "no answer" };
    rig.turn("started", { effect: grant(), error });
    rig.fire(`retry-${worker}`);
    const again = rig.turn("granted", { worker });
    expect(again.effects).toMatchObject([{ tool: "worker.start", input: { host: "node-1" } }]);
  });

  it("starts once both host and grant are there, whichever comes first", () => {
    const wanted = rig.turn("ensure", { spec: spec(), place });
    expect(rig.turn("granted", { worker }).effects).toEqual([]);
    const effect = effectOf(wanted, "worker.choose-host");
    expect(rig.turn("hostChosen", { effect, output: { host: "node-1" } }).effects).toMatchObject([
      { tool: "worker.start", input: { host: "node-1" } },
    ]);
    expect(rig.turn("hostChosen", { effect, output: { host: "node-2" } }).effects).toEqual([]);
  });

  it("takes a choice without a host for a failed start, but only when it was the worker's turn", () => {
    const none = { code: "driver.unavailable", message: "no node" };
    const wanted = rig.turn("ensure", { spec: spec(), place });
    const first = effectOf(wanted, "worker.choose-host");
    expect(rig.turn("hostChosen", { effect: first, error: none }).tells).toEqual([]);
    const second = effectOf(rig.turn("granted", { worker }), "worker.choose-host");
    expect(told(rig.turn("hostChosen", { effect: second, error: none }))).toEqual([
      `${CAPACITY} release`,
    ]);
    expect(told(rig.fire(`retry-${worker}`))).toEqual([`${CAPACITY} acquire`]);
    const third = effectOf(rig.turn("granted", { worker }), "worker.choose-host");
    const gone = rig.turn("hostChosen", { effect: third, error: none });
    expect(told(gone)).toEqual([`${CAPACITY} release`, `${PLACE} workerLost`]);
  });

  it("brings a worker back to the host that holds its workspace", () => {
    const home = (recorded: Recorded) => recorded.effects[0]?.input["home"];
    ensure(worker, "node-7");
    rig.turn("started", { effect: grant(), output: { host: "node-7", driver: "process" } });
    rig.turn("exited", { worker, reason: "" });
    expect(home(ensure("wrk_2", "node-8"))).toBe("node-7");
    expect(home(ensure("wrk_3"))).toBe("node-8");
  });

  it("remembers the host of a workspace that is kept for good", () => {
    const kept = (id: string) => ({
      ...spec(id),
      tier: "enterprise",
      workspace: "tenant",
      workspace_key: "a-shell",
    });
    const wanted = rig.turn("ensure", { spec: kept(worker), place });
    rig.turn("hostChosen", { effect: wanted.effects[0]?.id, output: { host: "node-7" } });
    rig.turn("started", { effect: grant(), output: { host: "node-7", driver: "process" } });
    rig.turn("exited", { worker, reason: "" });
    const next = rig.turn("ensure", { spec: kept("wrk_2"), place });
    expect(next.effects).toMatchObject([{ input: { home: "node-7" } }]);
    expect([...rig.reminders.values()].map((due) => due.type)).not.toContain("workspaceDue");
  });

  it("tells how a worker ended, where its host knows", () => {
    bringUp();
    const dead = rig.turn("exited", { worker, reason: "killed", code: "worker.out_of_memory" });
    expect(dead.tells[1]).toMatchObject({
      type: "workerLost",
      payload: { worker, reason: "killed", code: "worker.out_of_memory" },
    });
  });

  const sweepFinds = (output: object) => {
    const effect = effectOf(rig.fire("sweep"), "worker.verify");
    return rig.turn("verified", { effect, output: { lost: [], cpu_ms: {}, ...output } });
  };

  it("keeps a worker whose host is away until the grace is over, and then calls it lost (6)", () => {
    bringUp();
    expect(sweepFinds({ away: [worker] }).tells).toEqual([]);
    const since = rig.now;
    expect(sweepFinds({ away: [worker] }).tells).toEqual([]);
    expect(sweepFinds({ away: [worker] }).tells).toEqual([]);
    expect(rig.reminders.get("sweep")?.at).toBe(since + GRACE);
    const lost = sweepFinds({ away: [worker] });
    expect(rig.now).toBe(since + GRACE);
    expect(lost.tells).toMatchObject([
      { to: CAPACITY, type: "release" },
      { to: PLACE, type: "workerLost", payload: { worker, code: "worker.lost" } },
    ]);
  });

  it("begins the grace anew for a worker that has answered meanwhile, itself or by its host (6)", () => {
    bringUp();
    sweepFinds({ away: [worker] });
    sweepFinds({ cpu_ms: { [worker]: 5 } });
    const since = rig.now + 30_000;
    for (let sweeps = 0; sweeps < 3; sweeps += 1)
      expect(sweepFinds({ away: [worker] }).tells).toEqual([]);
    expect(rig.reminders.get("sweep")?.at).toBe(since + GRACE);
  });

  it("loses a worker at once that its host says is gone, however long the host was away (6)", () => {
    bringUp();
    sweepFinds({ away: [worker] });
    expect(told(sweepFinds({ lost: [worker] }))).toContain(`${PLACE} workerLost`);
  });

  const stopFinds = (recorded: Recorded, output: object) =>
    rig.turn("stopped", { effect: effectOf(recorded, "worker.stop"), output });

  it("does not wait for an absent host to stop a worker that runs nothing", () => {
    bringUp();
    const stopping = rig.turn("retire", { worker, reason: "idle" });
    expect(told(stopFinds(stopping, { away: true }))).toContain(`${PLACE} workerLost`);
  });

  it("waits with the end of a worker that may run a job until its host is back or the grace is over (6)", () => {
    for (const isBack of [true, false]) {
      bringUp();
      rig.turn("load", { worker, jobs: ["job_1"], idle_since: null });
      let stopping = rig.turn("retire", { worker, reason: "it does not report" });
      const since = rig.now;
      for (let tries = 0; tries < 3; tries += 1) {
        expect(stopFinds(stopping, { away: true }).tells).toEqual([]);
        stopping = rig.fire(`retry-${worker}`);
      }
      expect(rig.now).toBe(since + GRACE);
      const gone = stopFinds(stopping, isBack ? {} : { away: true });
      expect(told(gone)).toContain(`${PLACE} workerLost`);
    }
  });

  it("removes a workspace when it was unused for as long as the tier keeps it", () => {
    bringUp();
    rig.turn("exited", { worker, reason: "" });
    const [name] = [...rig.reminders].find(([, due]) => due.type === "workspaceDue") ?? [""];
    expect(rig.reminders.get(name)?.at).toBe(rig.now + 60_000);
    const removal = rig.fire(name);
    expect(removal.effects).toMatchObject([
      {
        tool: "workspace.remove",
        input: { host: "node-1", tenant: "acme", workspace_key: "u-ann" },
      },
    ]);
    ensure("wrk_2");
    expect(rig.turn("granted", { worker: "wrk_2" }).effects).toEqual([]);
    const removed = rig.turn("workspaceRemoved", { effect: removal.effects[0]?.id, output: {} });
    expect(removed.effects).toMatchObject([
      { tool: "worker.start", input: { spec: { worker: "wrk_2" } } },
    ]);
  });

  it("keeps a workspace whose user came back", () => {
    bringUp();
    rig.turn("exited", { worker, reason: "" });
    bringUp("wrk_2");
    expect([...rig.reminders.values()].map((due) => due.type)).not.toContain("workspaceDue");
  });

  it("wants a workspace that is in use, will be, or waits for its end, and says nothing of others", () => {
    const wanted = (workspace_key = "u-ann") =>
      (rig.turn("workspaceWanted", { workspace_key }).reply as { wanted: boolean | null }).wanted;
    expect(wanted()).toBeNull();
    ensure();
    expect(wanted()).toBe(true);
    started(grant());
    rig.turn("exited", { worker, reason: "" });
    expect(wanted()).toBe(true);
    const [name] = [...rig.reminders].find(([, due]) => due.type === "workspaceDue") ?? [""];
    const removal = rig.fire(name);
    expect(wanted()).toBe(true);
    rig.turn("workspaceRemoved", { effect: removal.effects[0]?.id, output: {} });
    expect(wanted()).toBeNull();
    expect(wanted("u-bob")).toBeNull();
  });

  it("forgets no workspace of a tenant whose tier keeps them for good", () => {
    rig.turn("configure", { tenant: { name: "Acme", tier: "enterprise", suspended: false } });
    expect(rig.turn("workspaceWanted", { workspace_key: "a-shell" }).reply).toEqual({
      wanted: true,
    });
  });

  it("says which workers are its own, from the intent to the end", () => {
    const owns = () => rig.turn("owns", { workers: [worker, "wrk_x", "toString"] }).reply;
    expect(owns()).toEqual({ owned: [] });
    ensure();
    expect(owns()).toEqual({ owned: [worker] });
    rig.turn("retire", { worker, reason: "" });
    expect(owns()).toEqual({ owned: [] });
  });

  it("takes the record away of a worker that a host tells of and that is not its own", () => {
    const { puts, tells } = rig.turn("exited", { worker: "wrk_ghost", reason: "gone" });
    expect(puts).toMatchObject([{ bucket: "workers", key: "wrk_ghost", mode: "remove" }]);
    expect(tells).toEqual([]);
  });

  it("stores its tenant and brings the fleets of an enterprise tenant up", () => {
    const tenant = { name: "Acme", tier: "enterprise", suspended: false };
    const made = rig.turn("configure", { tenant });
    expect(made.puts).toMatchObject([
      { bucket: "tenants", key: "acme", value: { id: "acme", tier: "enterprise" } },
    ]);
    expect(told(made)).toEqual([
      "acme/dedicated-fleet/shell warm",
      "acme/dedicated-fleet/echo warm",
    ]);
    const { created_at } = (made.reply as { tenant: { created_at: number } }).tenant;
    rig.now += 10;
    const changed = rig.turn("configure", { tenant: { ...tenant, tier: "pro" } });
    expect(changed.reply).toMatchObject({ tenant: { created_at, tier: "pro" } });
    expect(changed.tells).toEqual([]);
  });

  it("shows loads and the idle deadline", () => {
    bringUp();
    expect(rig.turn("load", { worker, jobs: ["j"], idle_since: null }).puts).toMatchObject([
      { value: { phase: "busy", jobs: ["j"], idle_deadline: null } },
    ]);
    rig.turn("load", { worker, jobs: [], idle_since: 1_000 });
    expect(rig.turn("view").reply).toMatchObject({
      workers: [{ phase: "idle", idle_deadline: 6_000 }],
    });
  });
});

describe("capacity", () => {
  let rig: TurnRig;
  beforeEach(() => {
    rig = turnRig(capacityActor(options), {
      kind: "capacity",
      tenant: PLATFORM_TENANT,
      key: "main",
    });
  });
  const acquire = (id: string, tier = "pro", tenant = "acme") =>
    told(rig.turn("acquire", { worker: id, tier, tenant, user: "" }));

  it("lets so many start at once, and so many live, and says to whom", () => {
    expect(acquire("w1")).toEqual(["acme/supervisor/main granted"]);
    expect(acquire("w2")).toEqual([]);
    expect(told(rig.turn("settled", { worker: "w1" }))).toEqual(["acme/supervisor/main granted"]);
    expect(acquire("w3", "free", PLATFORM_TENANT)).toEqual([]);
    rig.turn("settled", { worker: "w2" });
    expect(rig.turn("view").reply).toEqual({ running: 2, starting: 0, waiting: 1, limit: 2 });
    expect(told(rig.turn("release", { worker: "w1" }))).toEqual([
      `${PLATFORM_TENANT}/supervisor/main granted`,
    ]);
  });

  it("grants again what was granted, and queues nothing twice", () => {
    acquire("w1");
    expect(acquire("w1")).toEqual(["acme/supervisor/main granted"]);
    acquire("w2");
    acquire("w2");
    expect(rig.turn("view").reply).toMatchObject({ running: 1, waiting: 1 });
    rig.turn("release", { worker: "w2" });
    expect(rig.turn("view").reply).toMatchObject({ waiting: 0 });
  });

  it("lets the higher tier start first", () => {
    acquire("w1");
    acquire("w2", "free", "small");
    acquire("w3", "enterprise", "big");
    expect(told(rig.turn("settled", { worker: "w1" }))).toEqual(["big/supervisor/main granted"]);
  });

  it("is not held up by a start that nobody settles", () => {
    acquire("w1");
    acquire("w2");
    expect(told(rig.fire("tick"))).toEqual(["acme/supervisor/main granted"]);
  });
});
