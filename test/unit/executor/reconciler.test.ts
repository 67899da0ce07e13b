import * as fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import {
  type Desires,
  type Reconciler,
  type ReconcilerOptions,
  startReconciler,
} from "../../../executor/reconciler.ts";
import { BerthError } from "../../../protocols/errors.ts";
import type { WorkerRecord, WorkerSpec } from "../../../protocols/executor.ts";
import { silentLogger } from "../../../runtime/logger.ts";
import { deferred } from "../../support/deferred.ts";
import { DriverDouble, failing } from "../../support/driver-double.ts";
import { ManualClock } from "../../support/manual-clock.ts";

const NODE = "here";
const EVERY = 30_000;

const spec = (worker: string): WorkerSpec => ({
  worker,
  tenant: "acme",
  tier: "pro",
  slots: 1,
  workspace: "user",
  workspace_key: "u-ann",
  cpus: 1,
  memory_bytes: 1,
  storage_bytes: 1,
  processes: 1,
  network: "user",
  internet: false,
});

const recordOf = (id: string, more: Partial<WorkerRecord> = {}): WorkerRecord => ({
  id,
  spec: spec(id),
  host: NODE,
  driver: "double",
  phase: "idle",
  created_at: 0,
  ready_at: 0,
  idle_since: 0,
  idle_deadline: null,
  jobs: [],
  ...more,
});

/** A host with a driver double, and a word on what is wanted that tests change. */
class Rig {
  readonly clock = new ManualClock();
  readonly driver = new DriverDouble();
  readonly records = new Map<string, WorkerRecord>();
  readonly owned = new Set<string>();
  readonly starting = new Set<string>();
  readonly exits: string[] = [];
  readonly counts: Record<string, number> = {};
  passes = 0;
  desires: Desires = {
    records: () => {
      this.passes += 1;
      return Promise.resolve([...this.records.values()]);
    },
    isOwned: ({ worker }) => Promise.resolve(this.owned.has(worker)),
    isWorkspaceWanted: () => Promise.resolve(true),
    reportExit: ({ worker }) => {
      this.exits.push(worker);
      this.records.delete(worker);
      return Promise.resolve();
    },
  };
  #open: Reconciler | undefined;

  async start(more: Partial<ReconcilerOptions> = {}): Promise<Reconciler> {
    this.#open = await startReconciler({
      node: NODE,
      driver: this.driver,
      host: {
        starting: () => [...this.starting],
        remove: (worker) => this.driver.stop(worker),
      },
      desires: this.desires,
      clock: this.clock,
      log: silentLogger,
      metrics: {
        count: (name, labels = {}, by = 1) => {
          const key = [name, ...Object.values(labels)].join(" ");
          this.counts[key] = (this.counts[key] ?? 0) + by;
        },
        gauge() {},
        observe() {},
      },
      random: () => 0.5,
      everyMs: EVERY,
      ...more,
    });
    return this.#open;
  }

  up(worker: string): void {
    this.driver.live.set(worker, spec(worker));
    this.records.set(worker, recordOf(worker));
  }

  async close(): Promise<void> {
    await this.#open?.close();
    expect(this.clock.pending).toBe(0);
  }
}

describe("a reconciler", () => {
  let rig = new Rig();
  afterEach(async () => {
    await rig.close();
    rig = new Rig();
  });

  it("has looked once when it is started: orphans end, the dead are told, what is wanted stays", async () => {
    rig.up("wanted");
    rig.driver.live.set("orphan", spec("orphan"));
    rig.records.set("dead", recordOf("dead"));
    const parts = ["network", "pod", "policy", "sandbox", "something"];
    for (const part of parts) rig.driver.leftovers.add(`${part} of nobody`);
    await rig.start();
    expect([...rig.driver.live.keys()]).toEqual(["wanted"]);
    expect(rig.exits).toEqual(["dead"]);
    expect(rig.counts).toEqual({
      "berth_reconcile_passes_total done": 1,
      "berth_reconcile_removed_total worker": 1,
      "berth_reconcile_removed_total network": 1,
      "berth_reconcile_removed_total pod": 1,
      "berth_reconcile_removed_total policy": 1,
      "berth_reconcile_removed_total sandbox": 1,
      "berth_reconcile_removed_total other": 1,
      berth_reconcile_lost_total: 1,
    });
  });

  it("looks again every half a minute, sooner or later by chance, though nothing told it to", async () => {
    await rig.start({ random: () => 0 });
    rig.up("vanished");
    rig.driver.vanish("vanished");
    await rig.clock.advance(EVERY * 0.75);
    expect(rig.exits).toEqual([]);
    await rig.clock.advance(EVERY * 0.1);
    expect(rig.exits).toEqual(["vanished"]);
  });

  it("looks soon after the driver's word, and once for a thousand of them", async () => {
    await rig.start();
    rig.driver.live.set("orphan", spec("orphan"));
    for (let n = 0; n < 1_000; n += 1) rig.driver.change();
    await rig.clock.advance(1_000);
    expect([...rig.driver.live.keys()]).toEqual([]);
    expect(rig.passes).toBe(2);
    await rig.clock.advance(EVERY / 2);
    expect(rig.passes).toBe(2);
  });

  it("looks once more after a change that came while it looked (C1)", async () => {
    const gate = deferred();
    await rig.start();
    rig.driver.fault = (operation) => (operation === "list" ? gate.promise : undefined);
    rig.driver.change();
    await rig.clock.advance(1_000);
    rig.driver.change();
    rig.driver.fault = () => {};
    gate.resolve();
    await rig.clock.advance(0);
    expect(rig.passes).toBe(2);
    await rig.clock.advance(1_000);
    expect(rig.passes).toBe(3);
  });

  it("keeps an unrecorded worker that its supervisor owns, or that nobody can be asked about (C3)", async () => {
    for (const worker of ["owned", "doubtful"]) rig.driver.live.set(worker, spec(worker));
    rig.owned.add("owned");
    rig.desires = {
      ...rig.desires,
      isOwned: ({ worker }) =>
        worker === "doubtful"
          ? Promise.reject(new BerthError("ask.timeout"))
          : Promise.resolve(rig.owned.has(worker)),
    };
    await rig.start();
    expect([...rig.driver.live.keys()]).toEqual(["owned", "doubtful"]);
    expect(rig.counts).toEqual({ "berth_reconcile_passes_total failed": 1 });
  });

  it("ends the others when one cannot be ended, tries that one again sooner, ever later, and counts it (C3)", async () => {
    for (const worker of ["stuck", "orphan"]) rig.driver.live.set(worker, spec(worker));
    let tries = 0;
    rig.driver.fault = (operation, worker) => {
      if (operation !== "stop" || worker !== "stuck") return;
      tries += 1;
      if (tries < 4) throw new BerthError("driver.failed");
    };
    await rig.start();
    expect([...rig.driver.live.keys()]).toEqual(["stuck"]);
    const at: number[] = [];
    while (rig.driver.live.size > 0) {
      const before = tries;
      await rig.clock.advance(500);
      if (tries > before) at.push(rig.clock.monotonic());
    }
    expect(at).toEqual([3_000, 8_000, 17_000]);
    expect(rig.counts["berth_reconcile_passes_total failed"]).toBe(3);
  });

  it("tells no worker lost while the driver cannot list, and tries again when it says that it is back", async () => {
    rig.up("wanted");
    rig.driver.fault = failing("list", 1);
    await rig.start();
    expect(rig.exits).toEqual([]);
    rig.driver.vanish("wanted");
    rig.driver.change();
    await rig.clock.advance(1_000);
    expect(rig.exits).toEqual(["wanted"]);
  });

  it("gives a pass up that hangs, which then changes nothing, and makes the next (C1)", async () => {
    const gate = deferred();
    rig.driver.live.set("orphan", spec("orphan"));
    rig.desires = { ...rig.desires, isOwned: () => gate.promise.then(() => false) };
    const starting = rig.start({ passMs: 5_000 });
    await rig.clock.advance(5_000);
    await starting;
    rig.up("orphan"); // It has found an owner meanwhile.
    gate.resolve();
    await rig.clock.advance(0);
    expect([...rig.driver.live.keys()]).toEqual(["orphan"]);
    expect(rig.counts).toEqual({ "berth_reconcile_passes_total failed": 1 });
    await rig.clock.advance(3_000);
    expect(rig.counts["berth_reconcile_passes_total done"]).toBe(1);
  });

  it("does not wait for a hanging pass when it is closed", async () => {
    const reconciler = await rig.start();
    rig.driver.fault = () => new Promise(() => {});
    rig.driver.change();
    await rig.clock.advance(1_000);
    await reconciler.close();
  });

  it("does not tell a worker lost whose start is under way here, nor one that was started while it looked", async () => {
    rig.records.set("young", recordOf("young"));
    rig.starting.add("young");
    const late = "late";
    rig.desires = {
      ...rig.desires,
      records: () => {
        rig.up(late);
        return Promise.resolve([...rig.records.values()]);
      },
    };
    await rig.start();
    expect(rig.exits).toEqual([]);
    expect([...rig.driver.live.keys()]).toEqual([late]);
  });

  it("keeps a workspace that nobody can be asked about, and looks at the others all the same (C3)", async () => {
    const usedAt = 0;
    for (const key of ["doubtful", "past", "kept"])
      rig.driver.workspaces.push({ tenant: "acme", key, usedAt });
    rig.desires = {
      ...rig.desires,
      isWorkspaceWanted: ({ key }) =>
        key === "doubtful"
          ? Promise.reject(new BerthError("ask.timeout"))
          : Promise.resolve(key === "kept"),
    };
    await rig.start();
    expect(rig.driver.workspaces.map(({ key }) => key)).toEqual(["doubtful", "kept"]);
    expect(rig.counts["berth_reconcile_passes_total failed"]).toBe(1);
  });

  it("fails when its driver left something, and counts what went all the same (C3)", async () => {
    rig.driver.stuck.add("pod of nobody");
    rig.driver.leftovers.add("network of nobody");
    await rig.start();
    expect(rig.counts).toEqual({
      "berth_reconcile_passes_total failed": 1,
      "berth_reconcile_removed_total network": 1,
    });
  });
});

describe("passes between everything that happens at the same time", () => {
  const DO = fc.array(
    fc.record({
      worker: fc.constantFrom("w1", "w2", "w3"),
      end: fc.constantFrom("retire", "vanish", "stay"),
    }),
    { maxLength: 3 },
  );

  it("end nothing that is wanted, and after two more no orphan is left and no dead one on record (C2)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), DO, async (scheduler, lives) => {
        const rig = new Rig();
        const step = (label: string) => scheduler.schedule(Promise.resolve(), label);
        rig.driver.fault = async (operation, worker) => {
          await step(`${operation} ${worker ?? ""}`);
        };
        const { records, isOwned, reportExit } = rig.desires;
        rig.desires = {
          ...rig.desires,
          records: () => step("read records").then(records),
          isOwned: (live) => step("ask").then(() => isOwned(live)),
          reportExit: async (exit) => {
            await step("report");
            rig.owned.delete(exit.worker);
            await reportExit(exit);
          },
        };
        const own = new Set<string>();
        /** A worker's life as its supervisor leads it: the record follows the intent, and goes before nothing else does. */
        const lead = async ({ worker: id, end }: { worker: string; end: string }, n: number) => {
          const worker = `${id}-${n}`;
          rig.owned.add(worker);
          await step("intent");
          rig.records.set(worker, recordOf(worker, { phase: "starting" }));
          await step("order");
          rig.starting.add(worker);
          await rig.driver.start(spec(worker));
          await step("hello");
          rig.starting.delete(worker);
          expect(rig.driver.live.has(worker), `${worker} was ended while it was wanted`).toBe(true);
          await step("answer");
          rig.records.set(worker, recordOf(worker));
          if (end === "stay") own.add(worker);
          if (end === "vanish") rig.driver.vanish(worker);
          if (end !== "retire") return;
          rig.records.set(worker, recordOf(worker, { phase: "stopping" }));
          await rig.driver.stop(worker);
          rig.owned.delete(worker);
          await step("removed");
          rig.records.delete(worker);
        };
        const pass = async () => (await rig.start()).close();
        rig.driver.live.set("orphan", spec("orphan"));
        const all = Promise.all([...lives.map(lead), pass().then(pass)]);
        await scheduler.waitFor(all);
        await scheduler.waitFor(pass().then(pass));
        expect(new Set(rig.driver.live.keys())).toEqual(own);
        expect(new Set(rig.records.keys())).toEqual(own);
        for (const exit of rig.exits) expect(own).not.toContain(exit);
      }),
      { numRuns: 300 },
    );
  });
});
