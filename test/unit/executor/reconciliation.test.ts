import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decideReconciliation, unrecorded } from "../../../executor/decide-reconciliation.ts";
import type { WorkerRecord, WorkerSpec } from "../../../protocols/executor.ts";

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

const record = (id: string, more: Partial<WorkerRecord> = {}): WorkerRecord => ({
  id,
  spec: spec(id),
  host: "here",
  driver: "double",
  phase: "idle",
  created_at: 0,
  ready_at: 0,
  idle_since: 0,
  idle_deadline: null,
  jobs: [],
  ...more,
});

const NONE: ReadonlySet<string> = new Set();
const scene = (more: Partial<Parameters<typeof decideReconciliation>[0]>) =>
  decideReconciliation({
    node: "here",
    before: NONE,
    records: [],
    owned: NONE,
    after: more.before ?? NONE,
    ...more,
  });

describe("what a host does about a difference", () => {
  it("ends what nobody has on record, and nothing that somebody may own (W3)", () => {
    const before = new Set(["orphan", "owned", "recorded"]);
    const records = [record("recorded")];
    expect(unrecorded(before, records)).toEqual(["orphan", "owned"]);
    expect(scene({ before, records, owned: new Set(["owned"]) })).toEqual({
      end: ["orphan"],
      lost: [],
    });
  });

  it("ends what is on record for another host, and keeps what has no host yet (W1, W2)", () => {
    const before = new Set(["double", "young"]);
    const records = [
      record("double", { host: "there" }),
      record("young", { host: null, phase: "starting" }),
    ];
    expect(scene({ before, records }).end).toEqual(["double"]);
  });

  it("tells what was up here and is not, but nothing of another host, nor what starts or stops (W4)", () => {
    const records = [
      record("gone"),
      record("busy", { phase: "busy" }),
      record("elsewhere", { host: "there" }),
      record("starting", { phase: "starting" }),
      record("wanted", { phase: "wanted", host: null }),
      record("stopping", { phase: "stopping" }),
      record("up"),
    ];
    const { lost } = scene({ records, after: new Set(["up"]) });
    expect(lost.map(({ id }) => id)).toEqual(["gone", "busy"]);
  });

  it("does not take for lost what was started after the first look", () => {
    expect(scene({ records: [record("new")], after: new Set(["new"]) })).toEqual({
      end: [],
      lost: [],
    });
  });
});

/** What supervisors have in their records, and what lives where; a record may lag behind by one change. */
interface World {
  readonly owned: Map<string, { host: string | null; phase: WorkerRecord["phase"] }>;
  readonly live: Map<string, Set<string>>;
}

const HOSTS = ["a", "b"] as const;
const ids = ["w1", "w2", "w3", "w4"] as const;
const owner = fc.option(
  fc.record({
    host: fc.option(fc.constantFrom(...HOSTS)),
    phase: fc.constantFrom<WorkerRecord["phase"]>("wanted", "starting", "idle", "busy", "stopping"),
  }),
);
const worlds = fc
  .record({
    owners: fc.tuple(owner, owner, owner, owner),
    live: fc.tuple(fc.subarray([...ids]), fc.subarray([...ids])),
  })
  .map(({ owners, live }): World => {
    const entries = ids.flatMap((id, n) => {
      const found = owners[n];
      // What is up has a host.
      const isUp = found?.phase === "idle" || found?.phase === "busy";
      return found ? [[id, isUp ? { ...found, host: found.host ?? "a" } : found] as const] : [];
    });
    return {
      owned: new Map(entries),
      live: new Map(HOSTS.map((host, n) => [host, new Set<string>(live[n])])),
    };
  });

/** One pass of a host, in which every step succeeds. `unrecordedYet`: owned workers whose record is not there yet. */
function pass(world: World, node: string, unrecordedYet: ReadonlySet<string>): string[] {
  const live = world.live.get(node) ?? new Set();
  const records = [...world.owned]
    .filter(([id]) => !unrecordedYet.has(id))
    .map(([id, known]) => record(id, known));
  const owned = new Set(unrecorded(live, records).filter((id) => world.owned.has(id)));
  const decided = decideReconciliation({ node, before: live, records, owned, after: live });
  for (const worker of decided.end) live.delete(worker);
  for (const { id } of decided.lost) world.owned.delete(id);
  return [...decided.end];
}

describe("passes over any mix of wanted and present", () => {
  it("leave no orphan, no double and nothing that is up by its record and is not", () => {
    fc.assert(
      fc.property(worlds, fc.subarray([...HOSTS], { minLength: 2 }), (world, order) => {
        for (const node of [...order, ...order]) pass(world, node, NONE);
        for (const [node, live] of world.live) {
          for (const worker of live) {
            const known = world.owned.get(worker);
            expect(known, `${worker} is an orphan`).toBeDefined();
            expect([null, node]).toContain(known?.host);
          }
        }
        for (const [id, { host, phase }] of world.owned) {
          if (phase === "idle" || phase === "busy")
            expect(world.live.get(host ?? "")?.has(id), `${id} lives`).toBe(true);
        }
      }),
    );
  });

  it("end nothing that its owner wants on that host, also while its record is late", () => {
    fc.assert(
      fc.property(worlds, fc.subarray([...ids]), (world, late) => {
        for (const node of HOSTS) {
          for (const worker of pass(world, node, new Set(late))) {
            const known = world.owned.get(worker);
            if (known) expect([null, node]).not.toContain(known.host);
          }
        }
      }),
    );
  });

  it("change nothing once they have converged", () => {
    fc.assert(
      fc.property(worlds, (world) => {
        for (const node of HOSTS) pass(world, node, NONE);
        const before = structuredClone(world);
        for (const node of HOSTS) expect(pass(world, node, NONE)).toEqual([]);
        expect(world).toEqual(before);
      }),
    );
  });
});
