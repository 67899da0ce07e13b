/** What every driver promises; run for each by the `.test.ts` files beside it. */
import { describe, expect, it } from "vitest";
import type {
  Driver,
  KeptWorkspace,
  WorkerConnection,
  WorkerExit,
} from "../../executor/drivers/driver.ts";
import type { WorkerSpec } from "../../protocols/executor.ts";
import { eventually } from "../support/eventually.ts";

export interface DriverRig extends AsyncDisposable {
  readonly driver: Driver;
  readonly connection: WorkerConnection;
  /** Another driver over the same back end, as after a restart of the node. */
  reopen(): Promise<Driver>;
  /** Ends the worker from outside, as a crash would. */
  crash(worker: string): Promise<void>;
  /** Workers that said hello, and how often. */
  hellos(worker: string): number;
  /** False: what workers use is told by something that the back end may lack, and lacks here. Default: true. */
  readonly measures?: boolean;
  /** Leaves a mark in the worker's kept workspace, and looks for it. */
  mark(spec: WorkerSpec): Promise<void>;
  hasMark(spec: WorkerSpec): Promise<boolean>;
}

let count = 0;

function specOf(overrides: Partial<WorkerSpec> = {}): WorkerSpec {
  return {
    worker: `wrk-conf-${process.pid}-${++count}`,
    tenant: "acme",
    tier: "pro",
    slots: 2,
    workspace: "user",
    workspace_key: "ann",
    cpus: 1,
    memory_bytes: 256 * 1024 ** 2,
    storage_bytes: 1024 ** 3,
    processes: 256,
    network: "user",
    internet: false,
    ...overrides,
  };
}

export function driverConformance(make: () => Promise<DriverRig>): void {
  const liveIds = async (driver: Driver) => (await driver.list()).map(({ worker }) => worker);

  describe("a driver", () => {
    it("starts a worker that says hello, lists it, and stops it to the last process", async () => {
      await using rig = await make();
      const spec = specOf();
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
      expect(await rig.driver.list()).toEqual([{ worker: spec.worker, spec }]);
      await rig.driver.stop(spec.worker, { keepWorkspace: true });
      expect(await rig.driver.list()).toEqual([]);
    });

    it("starts a worker once, however often and however concurrently it is asked", async () => {
      await using rig = await make();
      const spec = specOf();
      await Promise.all([1, 2, 3].map(() => rig.driver.start(spec, rig.connection)));
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
      expect(await liveIds(rig.driver)).toEqual([spec.worker]);
      await rig.driver.stop(spec.worker, { keepWorkspace: true });
    });

    it("takes a worker that does not exist for stopped", async () => {
      await using rig = await make();
      await rig.driver.stop("wrk-nobody", { keepWorkspace: false });
    });

    it("tells of a crash once, and of a stop never", async () => {
      await using rig = await make();
      const exits: WorkerExit[] = [];
      rig.driver.watch((exit) => exits.push(exit));
      const [stopped, crashed] = [specOf(), specOf()];
      for (const spec of [stopped, crashed]) await rig.driver.start(spec, rig.connection);
      await rig.driver.stop(stopped.worker, { keepWorkspace: true });
      await rig.crash(crashed.worker);
      await eventually(() => exits.length > 0, { name: "exit" });
      expect(exits.map(({ worker, spec }) => [worker, spec])).toEqual([[crashed.worker, crashed]]);
      expect(await rig.driver.list()).toEqual([]);
    });

    it("leaves workers alive when it is disposed, and adopts them when it comes back", async () => {
      await using rig = await make();
      const [kept, lost] = [specOf(), specOf()];
      for (const spec of [kept, lost]) {
        await rig.driver.start(spec, rig.connection);
        await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
      }
      await rig.driver.dispose();
      await rig.crash(lost.worker);
      const again = await rig.reopen();
      const exits: WorkerExit[] = [];
      again.watch((exit) => exits.push(exit));
      await eventually(() => exits.length > 0, { name: "exit that nobody watched" });
      expect(exits.map(({ worker }) => worker)).toEqual([lost.worker]);
      expect(await again.list()).toEqual([{ worker: kept.worker, spec: kept }]);
      await again.start(kept, rig.connection);
      await again.stop(kept.worker, { keepWorkspace: true });
      expect(await again.list()).toEqual([]);
      await again.dispose();
    });

    it("keeps a workspace until it is told otherwise", async () => {
      await using rig = await make();
      const spec = specOf();
      await rig.driver.start(spec, rig.connection);
      await rig.mark(spec);
      await rig.driver.stop(spec.worker, { keepWorkspace: true });
      expect(await rig.hasMark(spec)).toBe(true);
      await rig.driver.removeWorkspace(spec.tenant, spec.workspace_key);
      expect(await rig.hasMark(spec)).toBe(false);
      await rig.driver.removeWorkspace(spec.tenant, spec.workspace_key);
    });

    it("removes a workspace in a sweep when nobody wants it, and never while nobody can say", async () => {
      await using rig = await make();
      const spec = specOf();
      await rig.driver.start(spec, rig.connection);
      await rig.mark(spec);
      const asked: KeptWorkspace[] = [];
      const left: string[] = [];
      const sweep = (answer: () => Promise<boolean>) =>
        rig.driver.sweep({
          workers: new Set([spec.worker]),
          leave: (what) => void left.push(what),
          isWorkspaceWanted: (workspace) => {
            asked.push(workspace);
            return answer();
          },
        });
      await sweep(() => Promise.resolve(false));
      expect(asked).toEqual([]); // A worker uses it.
      await rig.driver.stop(spec.worker, { keepWorkspace: true });
      await sweep(() => Promise.resolve(true));
      expect(left).toEqual([]);
      expect(await sweep(() => Promise.reject(new Error("nobody answers")))).toEqual([]);
      const name = `workspace ${spec.tenant}/${spec.workspace_key}`;
      expect(left).toEqual([name]);
      expect(await rig.hasMark(spec)).toBe(true);
      expect(asked.map(({ tenant, key }) => [tenant, key])).toEqual([
        [spec.tenant, spec.workspace_key],
        [spec.tenant, spec.workspace_key],
      ]);
      const removed = await sweep(() => Promise.resolve(false));
      expect(removed).toEqual([name]);
      expect(await rig.hasMark(spec)).toBe(false);
    });

    it("says what a worker uses, and what it wrote, also when it has ended", async () => {
      await using rig = await make();
      const spec = specOf();
      await rig.driver.start(spec, rig.connection);
      await eventually(() => rig.hellos(spec.worker) > 0, { name: "hello", within: 20_000 });
      const use = (await rig.driver.use()).get(spec.worker);
      if (rig.measures === false) expect(use).toBeUndefined();
      else {
        expect(use?.memory_bytes).toBeGreaterThan(1024 ** 2);
        expect(use?.processes).toBeGreaterThan(0);
      }
      const said = async () => expect(await rig.driver.log(spec.worker)).toContain("worker ready");
      await eventually(said, { name: "its log" });
      await rig.driver.stop(spec.worker, { keepWorkspace: false });
      await said();
      expect((await rig.driver.use()).size).toBe(0);
      expect(await rig.driver.log("wrk-nobody")).toBeUndefined();
    });

    it("refuses names that lead elsewhere", async () => {
      await using rig = await make();
      await expect(rig.driver.removeWorkspace("acme", "../../etc")).rejects.toMatchObject({
        code: "id.invalid",
      });
      const spec = specOf({ worker: "../x" });
      await expect(rig.driver.start(spec, rig.connection)).rejects.toMatchObject({
        code: "id.invalid",
      });
    });
  });
}
